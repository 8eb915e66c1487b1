//! `claude-peers peers`: lists the sessions.

use std::process::ExitCode;

use clap::Args;

use crate::cli::error::CliError;
use crate::cli::output::{Out, ago, cell, note};
use crate::cli::scope::{ScopeArgument, ScopeContext};
use crate::cli::shell_session;
use crate::client::Client;
use crate::protocol::peers::{EndedSession, ListPeers, Peer, PeerList, Reachability};

#[derive(Debug, Args)]
pub struct Arguments {
    /// List all sessions on this machine, in this directory, or in this git repository
    #[arg(long, value_enum, default_value = "machine")]
    scope: ScopeArgument,
    /// Also list sessions that are away (not running, but with unread messages or a name that you
    /// chose), and ended sessions that can be resumed
    #[arg(long)]
    all: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let scope = arguments.scope.into();
    let ScopeContext { directory, repo } = ScopeContext::here(scope, client.config()).await?;
    let request = ListPeers { scope, all: arguments.all, directory, repo, ..ListPeers::default() };
    let list = client.peers(&request).await?;
    match &list.me {
        Some(me) => {
            let name = me.name.as_deref().unwrap_or("-");
            note(&format!("This command acts for the session {} ({}).", cell(name, 60), me.id));
        }
        None if shell_session::is_inside(client.config()) => shell_session::note_unknown(),
        None => {}
    }
    if arguments.json {
        out.json(&list)?;
        return Ok(ExitCode::SUCCESS);
    }
    let header = ["ID", "NAME", "STATE", "UNREAD", "DIRECTORY", "SUMMARY"];
    out.table(&header, list.peers.iter().map(row).chain(list.ended.iter().map(ended)).collect())?;
    if list.away > 0 {
        beside(&away(&list), out)?;
    }
    if list.more_ended {
        beside("More sessions have ended earlier; they are not shown.", out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a line below the table, on standard error if a program reads the table.
fn beside(line: &str, out: &mut Out) -> Result<(), CliError> {
    if out.is_terminal() {
        out.line(line)?;
    } else {
        out.flush()?;
        note(line);
    }
    Ok(())
}

fn away(list: &PeerList) -> String {
    let (peers, them) = if list.away == 1 { ("peer is", "it") } else { ("peers are", "them") };
    let unread = match list.away_unread {
        None => String::new(),
        Some(0) => ", without unread messages".to_owned(),
        Some(1) => ", with 1 unread message".to_owned(),
        Some(count) => format!(", with {count} unread messages"),
    };
    format!("{} {peers} away{unread} (--all lists {them})", list.away)
}

/// Returns the row of a session that has ended, with the command that resumes it.
fn ended(session: &EndedSession) -> Vec<String> {
    let resume = match &session.session {
        Some(id) => format!("[claude --resume {}] {}", cell(id, 60), session.summary),
        None => session.summary.clone(),
    };
    vec![
        session.id.to_string(),
        cell(session.name.as_deref().unwrap_or_default(), 60),
        format!("ended,{}", ago(session.since)),
        "0".to_owned(),
        cell(&session.cwd, 200),
        cell(&resume, 300),
    ]
}

fn row(peer: &Peer) -> Vec<String> {
    let state = match peer.reach {
        Reachability::ChannelProven => "live,push",
        Reachability::ChannelPresumed => "live,push?",
        Reachability::Hooks => "live,hooks",
        Reachability::Tools => "live,tools",
        Reachability::Inbox => "inbox",
        Reachability::Ended => "ended",
        Reachability::Away | Reachability::Unknown => "away",
    };
    let state = if peer.live { state.to_owned() } else { format!("{state},{}", ago(peer.since)) };
    vec![
        peer.id.to_string(),
        cell(peer.name.as_deref().unwrap_or_default(), 60),
        state,
        peer.unread.to_string(),
        // A directory with spaces shifts only the summary, which is the last column.
        cell(&peer.cwd, 200),
        cell(&peer.summary, 200),
    ]
}
