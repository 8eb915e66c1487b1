//! `claude-peers statusline`: one line about the session, for the status line of Claude Code.
//!
//! The client runs it often, and draws nothing until it ends. So it asks a broker that runs, for a short
//! time, and starts none; and whatever goes wrong, it prints what it knows and succeeds.

use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use crate::cli::common::ask_running;
use crate::cli::error::CliError;
use crate::cli::output::look::Ink;
use crate::cli::output::{Out, cell};
use crate::config::Config;
use crate::protocol::brief::{Brief, BriefStatus};
use crate::sys::subprocess::run_on_thread;

/// How long the broker may take.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long the client may take to write what it tells.
const INPUT_PATIENCE: Duration = Duration::from_millis(50);

/// The most bytes that are read.
const MOST: u64 = 256 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "\
In Claude Code's settings.json (`claude-peers setup claude --statusline` adds it):
  \"statusLine\": { \"type\": \"command\", \"command\": \"claude-peers statusline\" }

It reads the JSON that Claude Code writes to a status line's standard input, takes a few milliseconds, \
and never starts a broker.")]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What Claude Code tells a status line, as far as it concerns us.
#[derive(Debug, Default, Deserialize)]
struct Input {
    #[serde(default)]
    session_id: Option<String>,
}

pub fn run(arguments: &Arguments, config: Config, out: &mut Out) -> Result<ExitCode, CliError> {
    let session = input().session_id.or_else(|| config.claude.session.clone());
    let request = Brief { session };
    // A broker that is only ready to start says nothing.
    let status = ask_running(config, PATIENCE, async |client| client.brief(&request).await.ok());
    if arguments.json {
        out.json(&status)?;
    } else {
        let line = status.as_ref().map_or_else(|| "peers: –".to_owned(), line);
        let unread = status.as_ref().is_some_and(|status| status.unread > 0);
        out.inked(if unread { Ink::Attention } else { Ink::Dim }, line)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads what the client tells, if it does so at once.
fn input() -> Input {
    if std::io::stdin().is_terminal() {
        return Input::default();
    }
    let read = run_on_thread("input", || {
        let mut text = Vec::new();
        let read = std::io::stdin().lock().take(MOST).read_to_end(&mut text);
        read.ok().and_then(|_| serde_json::from_slice(&text).ok())
    });
    let told = read.ok().and_then(|told| told.recv_timeout(INPUT_PATIENCE).ok());
    told.flatten().unwrap_or_default()
}

/// Returns "backend · 3 peers (1 near) · 2 unread".
fn line(status: &BriefStatus) -> String {
    let mut parts = Vec::new();
    match &status.name {
        Some(name) => parts.push(cell(name, 40)),
        None if status.id.is_none() => parts.push("not a peer yet".to_owned()),
        None => {}
    }
    let peers = match status.live {
        1 => "1 peer".to_owned(),
        live => format!("{live} peers"),
    };
    parts.push(match status.near {
        0 => peers,
        near => format!("{peers} ({near} near)"),
    });
    if status.unread > 0 {
        parts.push(format!("{} unread", status.unread));
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::PeerId;

    #[test]
    fn the_line_says_what_matters_and_no_more() {
        let status = |live, near, unread| BriefStatus {
            id: Some(PeerId::from_text("abc12345")),
            name: Some("backend".to_owned()),
            live,
            near,
            unread,
        };
        assert_eq!(line(&status(0, 0, 0)), "backend · 0 peers");
        assert_eq!(line(&status(3, 1, 2)), "backend · 3 peers (1 near) · 2 unread");
        let hostile = BriefStatus { name: Some("a\u{1b}[31m\nb".to_owned()), ..status(1, 0, 0) };
        assert!(!line(&hostile).contains(['\u{1b}', '\n']));
        let unknown = BriefStatus { id: None, name: None, ..status(1, 0, 0) };
        assert_eq!(line(&unknown), "not a peer yet · 1 peer");
    }
}
