//! `claude-peers status`: prints the state of the broker. It never starts one.

use std::process::ExitCode;

use clap::Args;

use crate::cli::common::NOT_RUNNING;
use crate::cli::error::CliError;
use crate::cli::output::{Out, ago};
use crate::client::status::{BrokerState, BrokerStatus, ServiceUnused};
use crate::client::{Client, ClientError};
use crate::endpoint::broker_lock::{Holder, Whereabouts};
use crate::endpoint::localhost;
use crate::protocol::health::{Detail, Health, Started};
use crate::text::terminal_line;

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
) -> Result<ExitCode, CliError> {
    let status = BrokerStatus::of(client).await?;
    if arguments.json {
        out.json(&status)?;
    } else {
        print(&status, out)?;
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

fn print(status: &BrokerStatus, out: &mut Out) -> Result<(), CliError> {
    let broker = status.broker.as_ref();
    match (&status.health, status.state) {
        (Some(Health { protocol, detail: Some(detail), .. }), _) => {
            running(detail, *protocol, out)?;
        }
        (_, BrokerState::Ready) => {
            out.line("broker    ready; it starts on the first connection")?;
            settings(status, out)?;
        }
        (_, BrokerState::Opening) => {
            let pid = broker.map(|h| h.pid).unwrap_or_default();
            let what = status.opening.as_deref().unwrap_or_default();
            out.line(format!("broker    process {pid} is {what}; the broker is ready after that"))?;
            settings(status, out)?;
        }
        (_, BrokerState::Silent) => {
            out.line(broker.map_or_else(String::new, silent))?;
            settings(status, out)?;
        }
        (_, BrokerState::Unknown) => {
            let who = broker.map(Holder::described).unwrap_or_default();
            out.line(format!("broker    running as {who}, but not reachable from here"))?;
            settings(status, out)?;
        }
        _ => {
            out.line(
                "broker    not running; it starts with the next session or with `claude-peers peers`",
            )?;
            settings(status, out)?;
        }
    }
    if let Some(other) = &status.other_localhost {
        let other = terminal_line(other, 2_000);
        out.line(format!("          WARNING: {other}. {}", localhost::ADVICE))?;
    }
    if let Some(ServiceUnused { reason, hint }) = &status.service_unused {
        let hint = hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        out.line(format!("service   not used: {reason}{hint}"))?;
    }
    Ok(())
}

/// Describes a broker that does not answer.
///
/// Only a process that is proven to be a broker of this user here can be stopped from here.
fn silent(holder: &Holder) -> String {
    let who = holder.described();
    match holder.whereabouts() {
        Whereabouts::Here => {
            format!("broker    {who} does not answer; `claude-peers kill-broker` stops it")
        }
        _ => format!(
            "broker    {who} has the lock and does not answer; it cannot be stopped from here"
        ),
    }
}

fn settings(status: &BrokerStatus, out: &mut Out) -> Result<(), CliError> {
    out.line(format!("socket    {}", status.socket))?;
    out.line(format!("port      127.0.0.1:{}", status.port))?;
    out.line(format!("database  {}", status.database))?;
    Ok(())
}

fn running(detail: &Detail, protocol: u32, out: &mut Out) -> Result<(), CliError> {
    let how = match detail.started {
        Started::Fallback => "started by a session or a command",
        Started::Systemd => "started by systemd",
        Started::Launchd => "started by launchd",
        Started::Foreground => "started by hand",
        Started::Unknown => "started in a way unknown to this version",
    };
    out.line(format!(
        "broker    running ({how}) since {}, for {}",
        detail.started_at,
        ago(detail.started_at)
    ))?;
    out.line(format!("version   {}, protocol {protocol}, process {}", detail.version, detail.pid))?;
    out.line(format!("socket    {}", detail.socket))?;
    match &detail.tcp.problem {
        None => out.line(format!("port      127.0.0.1:{}", detail.tcp.port))?,
        Some(problem) => out.line(format!(
            "port      127.0.0.1:{} is not open ({problem}); sessions do not need it",
            detail.tcp.port
        ))?,
    }
    out.line(format!("database  {}", detail.database))?;
    if let Some(moved) = &detail.database_moved_to {
        out.line(format!(
            "          WARNING: the database was damaged and was moved to {moved}; a new, empty one is in use"
        ))?;
    }
    for warning in detail.database_problem.iter().chain(&detail.database_note) {
        out.line(format!("          WARNING: {warning}"))?;
    }
    out.line(format!("peers     {} live", detail.peers))?;
    out.line(format!("backlog   {} unread", detail.backlog))?;
    Ok(())
}
