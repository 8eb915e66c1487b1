//! `claude-peers status`: prints the state of the broker. It never starts one.

use std::process::ExitCode;

use clap::Args;

use crate::cli::common::NOT_RUNNING;
use crate::cli::error::CliError;
use crate::cli::output::Out;
use crate::cli::output::look::Ink;
use crate::client::status::{BrokerState, BrokerStatus, ServiceUnused};
use crate::client::{Client, ClientError};
use crate::endpoint::broker_lock::{Holder, Whereabouts};
use crate::endpoint::localhost;
use crate::protocol::health::{Detail, Health, Started};
use crate::text::terminal_line;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Also show the settings of the running broker
    #[arg(long, short)]
    verbose: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(
    arguments: &Arguments,
    client: Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let status = BrokerStatus::of(client).await?;
    if arguments.json {
        out.json(&status)?;
    } else {
        print(&status, arguments.verbose, out)?;
    }
    if let Some(unknown) = status.unknown {
        return Err(ClientError::from(unknown).into());
    }
    Ok(match status.state {
        BrokerState::Running | BrokerState::Ready => ExitCode::SUCCESS,
        BrokerState::Opening | BrokerState::Silent | BrokerState::Unknown => ExitCode::FAILURE,
        BrokerState::Stopped => ExitCode::from(NOT_RUNNING),
    })
}

fn print(status: &BrokerStatus, verbose: bool, out: &mut Out) -> Result<(), CliError> {
    let broker = status.broker.as_ref();
    let is_told = match (&status.health, status.state) {
        (Some(Health { protocol, detail: Some(detail), .. }), _) => {
            running(detail, *protocol, verbose, out)?;
            true
        }
        (_, BrokerState::Ready) => {
            out.field(Ink::Good, "broker", "ready; it starts on the first connection")?;
            false
        }
        (_, BrokerState::Opening) => {
            let pid = broker.map(|h| h.pid).unwrap_or_default();
            let what = status.opening.as_deref().unwrap_or_default();
            let text = format!("process {pid} is {what}; the broker is ready after that");
            out.field(Ink::Attention, "broker", text)?;
            false
        }
        (_, BrokerState::Silent) => {
            out.field(Ink::Bad, "broker", broker.map_or_else(String::new, silent))?;
            false
        }
        (_, BrokerState::Unknown) => {
            let who = broker.map(Holder::described).unwrap_or_default();
            let text = format!("running as {who}, but not reachable from here");
            out.field(Ink::Attention, "broker", text)?;
            false
        }
        _ => {
            let text = "not running; it starts with the next session or with `claude-peers peers`";
            out.field(Ink::Dim, "broker", text)?;
            false
        }
    };
    if !is_told {
        out.field(Ink::Dim, "socket", &status.socket)?;
        out.field(Ink::Dim, "port", format!("127.0.0.1:{}", status.port))?;
        out.field(Ink::Dim, "database", &status.database)?;
    }
    if let Some(other) = &status.other_localhost {
        let other = terminal_line(other, 2_000);
        warning(format!("{other}. {}", localhost::ADVICE), out)?;
    }
    if let Some(ServiceUnused { reason, hint }) = &status.service_unused {
        let hint = hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        out.field(Ink::Attention, "service", format!("not used: {reason}{hint}"))?;
    }
    Ok(())
}

fn warning(text: impl AsRef<str>, out: &mut Out) -> Result<(), CliError> {
    out.field(Ink::Attention, "", format!("WARNING: {}", text.as_ref()))?;
    Ok(())
}

/// Describes a broker that does not answer.
///
/// Only a process that is proven to be a broker of this user here can be stopped from here.
fn silent(holder: &Holder) -> String {
    let who = holder.described();
    match holder.whereabouts() {
        Whereabouts::Here => {
            format!("{who} does not answer; `claude-peers kill-broker` stops it")
        }
        _ => format!("{who} has the lock and does not answer; it cannot be stopped from here"),
    }
}

fn running(detail: &Detail, protocol: u32, verbose: bool, out: &mut Out) -> Result<(), CliError> {
    let how = match detail.started {
        Started::Fallback => "started by a session or a command",
        Started::Systemd => "started by systemd",
        Started::Launchd => "started by launchd",
        Started::Foreground => "started by hand",
        Started::Unknown => "started in a way unknown to this version",
    };
    let since = out.when(detail.started_at);
    out.field(Ink::Good, "broker", format!("running ({how}) since {since}"))?;
    let version = format!("{}, protocol {protocol}, process {}", detail.version, detail.pid);
    out.field(Ink::Dim, "version", version)?;
    out.field(Ink::Dim, "socket", &detail.socket)?;
    let port = detail.tcp.port;
    match &detail.tcp.problem {
        None => out.field(Ink::Dim, "port", format!("127.0.0.1:{port}"))?,
        Some(problem) => out.field(
            Ink::Attention,
            "port",
            format!("127.0.0.1:{port} is not open ({problem}); sessions do not need it"),
        )?,
    }
    out.field(Ink::Dim, "database", &detail.database)?;
    if let Some(moved) = &detail.database_moved_to {
        warning(
            format!(
                "the database was damaged and was moved to {moved}; a new, empty one is in use"
            ),
            out,
        )?;
    }
    for problem in detail.database_problem.iter().chain(&detail.database_note) {
        warning(problem, out)?;
    }
    out.field(Ink::Dim, "peers", format!("{} live", detail.peers))?;
    let unread = format!("{} unread", detail.backlog);
    let ink = if detail.backlog > 0 { Ink::Attention } else { Ink::Dim };
    out.field(ink, "backlog", unread)?;
    if verbose {
        for setting in &detail.settings {
            let text = format!("{} = {} ({})", setting.name, setting.value, setting.source);
            out.field(Ink::Dim, "setting", text)?;
        }
    }
    Ok(())
}
