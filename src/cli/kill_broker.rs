//! `claude-peers kill-broker`: stops the broker, and only the broker.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::error::Failure;
use crate::cli::output::Out;
use crate::client::Client;
use crate::client::control;
use crate::client::control::{StopError, StopOutcome, Stopped};
use crate::client::database_state::{MailLocation, MailStatus};
use crate::sys::socket_owner::Owner;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(
    arguments: &Arguments,
    client: Client,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let port = client.config().port;
    let outcome = control::stop_broker(client).await?;
    if arguments.json {
        out.json(&as_json(&outcome, port))?;
        return Ok(ExitCode::SUCCESS);
    }
    match outcome {
        StopOutcome::NotRunning { typescript: None } => out.line("No broker is running.")?,
        StopOutcome::NotRunning { typescript: Some(owner) } => typescript(&owner, port, out)?,
        StopOutcome::Stopped(stopped) => print(&stopped, out)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(outcome: &StopOutcome, port: u16) -> Value {
    match outcome {
        StopOutcome::NotRunning { typescript } => {
            let mut report = json!({ "stopped": false, "was_running": false });
            if let Some(owner) = typescript {
                report["other"] = json!({ "port": port, "processes": owner.processes });
            }
            report
        }
        StopOutcome::Stopped(stopped) => {
            let mut report =
                json!({ "stopped": true, "was_running": true, "process": stopped.pid });
            match &stopped.mail.location {
                MailLocation::Kept { note: Some(note) } => report["note"] = json!(note),
                MailLocation::Saved(path) => report["saved_in"] = json!(path),
                MailLocation::Kept { note: None } | MailLocation::Lost => {}
            }
            report
        }
    }
}

fn print(stopped: &Stopped, out: &mut Out) -> Result<(), Failure> {
    let Stopped { pid, sessions, manager, mail } = stopped;
    out.line(format!("Stopped the broker (process {pid}). {}", describe(mail)))?;
    if let Some(manager) = manager {
        out.line(format!(
            "{manager} still listens: its socket brings the broker back on the next connection."
        ))?;
    }
    if *sessions > 0 {
        out.line(format!("{sessions} running sessions start it again at once, as they need it."))?;
    }
    Ok(())
}

/// Describes what became of peers and messages.
fn describe(mail: &MailStatus) -> String {
    let database = mail.database.display();
    match &mail.location {
        MailLocation::Kept { note: None } => {
            format!("Nothing is lost: peers and mail are in {database}.")
        }
        MailLocation::Kept { note: Some(note) } => {
            format!("Peers and mail are in {database}. Beware: {note}.")
        }
        MailLocation::Saved(path) => format!(
            "Its database {database} is not there any more: what it held is in {}.",
            path.display()
        ),
        MailLocation::Lost => format!("Its database {database} is not there any more."),
    }
}

/// No broker of ours runs, but the one of the TypeScript claude-peers may be meant.
fn typescript(owner: &Owner, port: u16, out: &mut Out) -> Result<(), Failure> {
    out.line(format!(
        "No broker of this program is running. That of the TypeScript claude-peers is: {owner} \
         has port {port}."
    ))?;
    let kill = match owner.processes.as_slice() {
        [] => "the kill-broker of that program".to_owned(),
        processes => {
            let numbers: Vec<String> = processes.iter().map(u32::to_string).collect();
            format!("that program's kill-broker, or `kill {}`,", numbers.join(" "))
        }
    };
    out.line(format!("It is another program's, so it was left alone: {kill} ends it."))?;
    Ok(())
}

impl From<StopError> for Failure {
    fn from(error: StopError) -> Self {
        Self::new(error.to_string()).hint(error.hint())
    }
}
