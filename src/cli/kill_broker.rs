//! `claude-peers kill-broker`: stops the broker, and only the broker.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::io::Errno;
use serde_json::json;

use crate::cli::database_state::{Before, Fate, Mail};
use crate::cli::error::Failure;
use crate::cli::output::Out;
use crate::client::Client;
use crate::config::Config;
use crate::endpoint::broker_lock::{ELSEWHERE_HINT, Holder, Whereabouts, unknown_hint};
use crate::endpoint::socket::holder;
use crate::endpoint::typescript;
use crate::protocol::health::Started;
use crate::service::systemd;
use crate::sys::listening::{Listening, listening, may_use_sockets};
use crate::sys::subprocess::in_background;

/// How long a broker may take to end by itself, and then by SIGTERM.
const POLITE: Duration = Duration::from_secs(5);
const FIRM: Duration = Duration::from_secs(3);

/// How long it may take to answer the order to stop.
const ANSWER: Duration = Duration::from_secs(2);

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
    let config = client.config().clone();
    let running = holder(&config);
    // In a sandbox, say: the broker's lock may be hidden, and what its socket says is no verdict.
    if let Some(error) = barred(&config, running.as_ref()) {
        return Err(Failure::new(format!("the broker cannot be asked to stop from here: {error}"))
            .hint(unknown_hint(error, &config.paths.socket)));
    }
    let Some(running) = running else {
        return none_runs(&config, arguments.json, out);
    };
    let before = Before::of(&client).await;
    let sessions = stop(client, &config, &running).await?;
    let fate = before.after(&config);
    if let Mail::Lost = fate.mail {
        return Err(lost(&fate, &running));
    }
    if arguments.json {
        let (note, saved) = match &fate.mail {
            Mail::Kept { note } => (note.as_ref(), None),
            Mail::Saved(path) => (None, Some(path)),
            Mail::Lost => (None, None),
        };
        let mut said = json!({ "stopped": true, "was_running": true, "process": running.pid });
        if let Some(note) = note {
            said["note"] = json!(note);
        }
        if let Some(path) = saved {
            said["saved_in"] = json!(path);
        }
        out.json(&said)?;
        return Ok(ExitCode::SUCCESS);
    }
    out.line(format!("Stopped the broker (process {}). {}", running.pid, tell(&fate)))?;
    if let Some(manager) = match running.started {
        Started::Systemd => Some("systemd"),
        Started::Launchd => Some("launchd"),
        _ => None,
    } {
        out.line(format!(
            "{manager} still listens: its socket brings the broker back on the next connection."
        ))?;
    }
    if sessions > 0 {
        out.line(format!("{sessions} running sessions start it again at once, as they need it."))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Why nothing can be said to a broker from here. Where none holds the lock, no connection is
/// tried, which would start the service.
fn barred(config: &Config, running: Option<&Holder>) -> Option<Errno> {
    match running.map(|_| listening(&config.paths.socket)) {
        Some(Listening::Unknown(error)) => Some(error),
        Some(_) => None,
        None => may_use_sockets().err(),
    }
}

/// What became of peers and mail.
fn tell(fate: &Fate) -> String {
    let database = fate.database.display();
    match &fate.mail {
        Mail::Kept { note: None } => {
            format!("Nothing is lost: peers and mail are in {database}.")
        }
        Mail::Kept { note: Some(note) } => {
            format!("Peers and mail are in {database}. Beware: {note}.")
        }
        Mail::Saved(path) => format!(
            "Its database {database} is not there any more: what it held is in {}.",
            path.display()
        ),
        Mail::Lost => format!("Its database {database} is not there any more."),
    }
}

fn lost(fate: &Fate, running: &Holder) -> Failure {
    Failure::new(format!(
        "the broker (process {}) is stopped, and its database {} is not there: peers and mail are lost",
        running.pid,
        fate.database.display()
    ))
    .hint("The next broker begins with an empty one; a backup can be put in its place before that.")
}

/// There is nothing to stop; but another program's broker may be what is meant.
fn none_runs(config: &Config, json: bool, out: &mut Out) -> Result<ExitCode, Failure> {
    let port = config.port.value;
    let other = typescript::broker_at(port);
    if json {
        let mut said = json!({ "stopped": false, "was_running": false });
        if let Some(owner) = &other {
            said["other"] = json!({ "port": port, "processes": owner.processes });
        }
        out.json(&said)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(owner) = other else {
        out.line("No broker is running.")?;
        return Ok(ExitCode::SUCCESS);
    };
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
    Ok(ExitCode::SUCCESS)
}

/// First an order, then SIGTERM, then SIGKILL. Gives the number of sessions that were live.
async fn stop(client: Client, config: &Config, running: &Holder) -> Result<u64, Failure> {
    let client = client.without_start();
    let health = tokio::time::timeout(ANSWER, client.health()).await;
    let sessions = match &health {
        Ok(Ok(health)) => health.detail.as_ref().map_or(0, |detail| detail.peers),
        _ => 0,
    };
    // A service manager that runs it should know that it was stopped on purpose.
    if running.started == Started::Systemd
        && running.whereabouts() == Whereabouts::Here
        && stop_service(running.pid).await
        && is_gone(config, running, FIRM).await
    {
        return Ok(sessions);
    }
    let ordered = matches!(tokio::time::timeout(ANSWER, client.shutdown()).await, Ok(Ok(_)));
    if ordered && is_gone(config, running, POLITE).await {
        return Ok(sessions);
    }
    // Signals are for a process that is proven to be it.
    if running.ask_to_stop() && is_gone(config, running, FIRM).await {
        return Ok(sessions);
    }
    if running.kill() && is_gone(config, running, FIRM).await {
        return Ok(sessions);
    }
    if running.whereabouts() != Whereabouts::Here {
        return Err(Failure::new(format!(
            "the broker is {}, which is not signalled from here",
            running.described()
        ))
        .hint(ELSEWHERE_HINT));
    }
    Err(Failure::new(format!("the broker (process {}) does not end", running.pid))
        .hint("It may wait for a disk that hangs; look at it with `ps` and end it by hand."))
}

/// Stops the service through systemd; false where the broker is none: one that another program
/// activated is not the service, which may serve other settings and goes on.
async fn stop_service(pid: u32) -> bool {
    let stop = move || {
        systemd::show(systemd::SERVICE).is_ok_and(|service| service.main_pid == pid)
            && systemd::systemctl_within(POLITE, &["stop", systemd::SERVICE]).is_ok()
    };
    in_background("systemctl", stop).await.unwrap_or(false)
}

async fn is_gone(config: &Config, running: &Holder, limit: Duration) -> bool {
    let since = Instant::now();
    while holder(config).is_some_and(|now| now.is_same(running)) {
        if since.elapsed() > limit {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}
