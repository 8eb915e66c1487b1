//! `claude-peers kill-broker`: stops the broker, and only the broker.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::CliError;
use crate::cli::output::Out;
use crate::client::Client;
use crate::client::control;
use crate::client::control::{StopError, StopOutcome, Stopped};
use crate::client::database_state::{MailLocation, MailStatus};
use crate::sys::socket_owner::Owner;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Print only what fails
    #[arg(short, long, conflicts_with = "json")]
    quiet: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(
    arguments: &Arguments,
    client: Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    if arguments.quiet {
        out.hush();
    }
    let port = client.config().port;
    let outcome = control::stop_broker(client).await?;
    if arguments.json {
        out.json(&as_json(&outcome, port))?;
        return Ok(ExitCode::SUCCESS);
    }
    match outcome {
        StopOutcome::NotRunning { typescript: None } => out.wrapped(0, "No broker is running.")?,
        StopOutcome::NotRunning { typescript: Some(owner) } => typescript(&owner, port, out)?,
        StopOutcome::Stopped(stopped) => print(&stopped, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(outcome: &StopOutcome, port: u16) -> Value {
    match outcome {
        StopOutcome::NotRunning { typescript } => {
            let other = typescript.as_ref();
            json!({
                "stopped": false, "was_running": false, "pid": null, "note": null, "saved_in": null,
                "other": other.map(|owner| json!({ "port": port, "pids": owner.processes })),
            })
        }
        StopOutcome::Stopped(stopped) => {
            let (note, saved_in) = match &stopped.mail.location {
                MailLocation::Kept { note } => (note.as_ref(), None),
                MailLocation::Saved(path) => (None, Some(path)),
                MailLocation::Lost => (None, None),
            };
            json!({
                "stopped": true, "was_running": true, "pid": stopped.pid, "note": note,
                "saved_in": saved_in, "other": null,
            })
        }
    }
}

fn print(stopped: &Stopped, out: &mut Out) -> Result<(), CliError> {
    let Stopped { pid, sessions, manager, mail } = stopped;
    out.wrapped(0, format!("Stopped the broker (process {pid}). {}", describe(mail)))?;
    if let Some(manager) = manager {
        out.wrapped(
            0,
            format!("{manager} still listens, and starts the broker again on the next connection."),
        )?;
    }
    if *sessions > 0 {
        let (sessions_need, start) =
            if *sessions == 1 { ("session needs", "starts") } else { ("sessions need", "start") };
        out.wrapped(
            0,
            format!(
                "{sessions} running {sessions_need} the broker and {start} a new one immediately."
            ),
        )?;
    }
    Ok(())
}

/// Describes what became of peers and messages.
fn describe(mail: &MailStatus) -> String {
    let database = mail.database.display();
    match &mail.location {
        MailLocation::Kept { note: None } => {
            format!("Nothing is lost: peers and messages are in {database}.")
        }
        MailLocation::Kept { note: Some(note) } => {
            format!("Peers and messages are in {database}. Note: {note}.")
        }
        MailLocation::Saved(path) => format!(
            "Its database {database} is gone; its contents were saved in {}.",
            path.display()
        ),
        MailLocation::Lost => format!("Its database {database} is gone."),
    }
}

/// Reports the broker of the TypeScript claude-peers: the user may mean that one.
fn typescript(owner: &Owner, port: u16, out: &mut Out) -> Result<(), CliError> {
    out.wrapped(0, format!(
        "No broker of this program is running, but the broker of the TypeScript claude-peers is: \
         {owner} has port {port}."
    ))?;
    let kill = match owner.processes.as_slice() {
        [] => "run that program's kill-broker".to_owned(),
        processes => {
            let numbers: Vec<String> = processes.iter().map(u32::to_string).collect();
            format!("run that program's kill-broker, or `kill {}`", numbers.join(" "))
        }
    };
    out.wrapped(
        0,
        format!("It belongs to another program and was not stopped. To stop it, {kill}."),
    )?;
    Ok(())
}

impl From<StopError> for CliError {
    fn from(error: StopError) -> Self {
        Self::new(error.to_string()).hint(error.hint())
    }
}
