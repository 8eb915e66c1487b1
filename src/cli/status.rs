//! `claude-peers status`: how the broker is. It never starts one.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::cli::common::NOT_RUNNING;
use crate::cli::error::Failure;
use crate::cli::output::{Out, ago};
use crate::client::{Client, ClientError, StartError};
use crate::config::Config;
use crate::endpoint::broker_lock::{Holder, Whereabouts};
use crate::endpoint::socket;
use crate::endpoint::socket::holder;
use crate::protocol::health::{Detail, Health, Started};
use crate::service;
use crate::sys::socket_owner;

/// How long a healthy broker may take to answer.
const LIMIT: Duration = Duration::from_secs(3);

#[derive(Debug, Args)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How the broker is, as `--json` prints it.
#[derive(Serialize)]
struct Report {
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<u32>,
    /// What it does before it can serve.
    #[serde(skip_serializing_if = "Option::is_none")]
    busy: Option<String>,
    socket: String,
    database: String,
    port: u16,
    /// Why it is not the service that serves, or would.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_service: Option<NotUsed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
}

/// Why the service is not used, and what to do about it.
#[derive(Serialize)]
struct NotUsed {
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It answers.
    Running,
    /// A service manager listens and starts it on the first connection.
    Ready,
    /// A process holds the lock and does something that takes long before it serves.
    Busy,
    /// A process holds the lock and does not answer.
    Silent,
    /// Nothing listens.
    Stopped,
    /// It cannot be found out from here: in a sandbox, say.
    Unknown,
}

pub async fn run(
    arguments: &Arguments,
    client: Client,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let config = socket::settled(client.config());
    let held_by = holder(&config);
    let (mut health, mut cannot_look) = (None, None);
    let state = match &held_by {
        Some(Holder { busy: Some(_), .. }) => State::Busy,
        Some(_) => match ask(client).await {
            Ok(answer) => {
                health = Some(answer);
                State::Running
            }
            Err(
                ClientError::Silent
                | ClientError::Broken(_)
                | ClientError::NotRunning
                | ClientError::OutOfReach(_),
            ) => State::Silent,
            Err(ClientError::Start(unknown @ StartError::CannotLook { .. })) => {
                cannot_look = Some(unknown);
                State::Unknown
            }
            Err(error) => return Err(error.into()),
        },
        None if is_awaited(&config) => State::Ready,
        None => State::Stopped,
    };
    let report = Report {
        state,
        process: held_by.as_ref().map(|h| h.pid),
        busy: held_by.as_ref().and_then(|h| h.busy.clone()),
        socket: config.paths.socket.display().to_string(),
        database: config.database_path().display().to_string(),
        port: config.port.value,
        no_service: match state {
            State::Ready | State::Unknown => None,
            _ => not_used(&config, held_by.as_ref()),
        },
        health,
    };
    if arguments.json {
        out.json(&report)?;
    } else {
        print(&report, held_by.as_ref(), out)?;
    }
    if let Some(unknown) = cannot_look {
        return Err(ClientError::from(unknown).into());
    }
    Ok(match state {
        State::Running | State::Ready => ExitCode::SUCCESS,
        State::Busy | State::Silent | State::Unknown => ExitCode::FAILURE,
        State::Stopped => ExitCode::from(NOT_RUNNING),
    })
}

/// Whether a service manager listens, found out without a connection, which would start the broker.
fn is_awaited(config: &Config) -> bool {
    if cfg!(target_os = "macos") {
        // The path tells nothing: a broker that was killed leaves it as well.
        let status = service::manager(config).status();
        return status.is_ok_and(|status| matches!(status.state, service::State::Ready));
    }
    socket_owner::is_there(&config.paths.socket)
}

/// The broker's health, if it says it in time. It is not started.
pub async fn ask(client: Client) -> Result<Health, ClientError> {
    let client = client.without_start();
    tokio::time::timeout(LIMIT, client.health()).await.unwrap_or(Err(ClientError::Silent))
}

/// The running broker knows why a client had to start it; else the files tell.
fn not_used(config: &Config, held_by: Option<&Holder>) -> Option<NotUsed> {
    let now = service::manager(config).availability().err();
    let (reason, hint) = match held_by {
        Some(Holder { started: Started::Systemd | Started::Launchd, .. }) => return None,
        Some(Holder { fallback_reason: Some(reason), .. }) => {
            let hint = match now {
                None => Some("`claude-peers service start` hands over to it".to_owned()),
                Some(now) if now.to_string() == *reason => now.hint(),
                Some(_) => Some("`claude-peers doctor` tells more".to_owned()),
            };
            (reason.clone(), hint)
        }
        _ => now.map(|now| (now.to_string(), now.hint()))?,
    };
    Some(NotUsed { reason, hint })
}

fn print(report: &Report, held_by: Option<&Holder>, out: &mut Out) -> Result<(), Failure> {
    match (&report.health, report.state) {
        (Some(Health { protocol, detail: Some(detail), .. }), _) => {
            running(detail, *protocol, out)?;
        }
        (_, State::Ready) => {
            out.line("broker    ready, starts on the first connection")?;
            settings(report, out)?;
        }
        (_, State::Busy) => {
            let pid = held_by.map(|h| h.pid).unwrap_or_default();
            let what = report.busy.as_deref().unwrap_or_default();
            out.line(format!("broker    process {pid} is {what}; then it serves"))?;
            settings(report, out)?;
        }
        (_, State::Silent) => {
            out.line(held_by.map_or_else(String::new, silent))?;
            settings(report, out)?;
        }
        (_, State::Unknown) => {
            let who = held_by.map(Holder::described).unwrap_or_default();
            out.line(format!("broker    {who} holds its lock; it cannot be asked from here"))?;
            settings(report, out)?;
        }
        _ => {
            out.line(
                "broker    not running; the first session, or `claude-peers peers`, starts it",
            )?;
            settings(report, out)?;
        }
    }
    if let Some(NotUsed { reason, hint }) = &report.no_service {
        let hint = hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        out.line(format!("service   not used: {reason}{hint}"))?;
    }
    Ok(())
}

/// Only what is proven to be our process here can be ended from here.
fn silent(holder: &Holder) -> String {
    let who = holder.described();
    match holder.whereabouts() {
        Whereabouts::Here => {
            format!("broker    {who} does not answer; `claude-peers kill-broker` ends it")
        }
        _ => format!("broker    {who} has the lock and does not answer; it is not ended from here"),
    }
}

fn settings(report: &Report, out: &mut Out) -> Result<(), Failure> {
    out.line(format!("socket    {}", report.socket))?;
    out.line(format!("port      127.0.0.1:{}", report.port))?;
    out.line(format!("database  {}", report.database))?;
    Ok(())
}

fn running(detail: &Detail, protocol: u32, out: &mut Out) -> Result<(), Failure> {
    let how = match detail.started {
        Started::Fallback => "started by a client",
        Started::Systemd => "started by systemd",
        Started::Launchd => "started by launchd",
        Started::Foreground => "started by hand",
        Started::Unknown => "started in a way that this version does not know",
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
            "port      127.0.0.1:{} is not served ({problem}); sessions do not need it",
            detail.tcp.port
        ))?,
    }
    out.line(format!("database  {}", detail.database))?;
    if let Some(moved) = &detail.database_moved_to {
        out.line(format!(
            "          WARNING: it was damaged; the damaged one was moved to {moved}"
        ))?;
    }
    for said in detail.database_problem.iter().chain(&detail.database_note) {
        out.line(format!("          WARNING: {said}"))?;
    }
    out.line(format!("peers     {} live", detail.peers))?;
    out.line(format!("backlog   {} unread", detail.backlog))?;
    Ok(())
}
