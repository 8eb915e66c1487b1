//! `claude-peers peers`: who is here.

use std::process::ExitCode;

use clap::Args;

use crate::cli::error::Failure;
use crate::cli::output::{Out, ago, aside, cell};
use crate::cli::scope::{Place, ScopeArgument};
use crate::cli::shell_session;
use crate::client::Client;
use crate::protocol::peers::{EndedSession, ListPeers, Peer, PeerList, Reachability};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Which peers: all on this machine, those in this directory, or those in this git repository
    #[arg(long, value_enum, default_value = "machine")]
    scope: ScopeArgument,
    /// Away peers, too: those with mail, or with a name that you chose; and sessions that have ended
    /// and can be resumed
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
) -> Result<ExitCode, Failure> {
    let scope = arguments.scope.into();
    let Place { directory, repo } = Place::here(scope, client.config()).await?;
    let request = ListPeers { scope, all: arguments.all, directory, repo };
    let list = client.peers(&request).await?;
    match &list.me {
        Some(me) => {
            let name = me.name.as_deref().unwrap_or("-");
            aside(&format!("This command line speaks as {} ({}).", cell(name, 60), me.id));
        }
        None if shell_session::is_inside(client.config()) => shell_session::note_cli(),
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
        beside("Sessions that ended earlier are not shown.", out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A program that reads the table should find nothing but the table.
fn beside(line: &str, out: &mut Out) -> Result<(), Failure> {
    if out.is_terminal() {
        out.line(line)?;
    } else {
        out.flush()?;
        aside(line);
    }
    Ok(())
}

fn away(list: &PeerList) -> String {
    let waits = match list.away_unread {
        None => String::new(),
        Some(0) => ", without mail".to_owned(),
        Some(1) => ", 1 message waits for them".to_owned(),
        Some(count) => format!(", {count} messages wait for them"),
    };
    format!("{} away{waits} (--all shows them)", list.away)
}

/// One that has ended, and how it comes back.
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
        // Directories with spaces would shift the columns that follow; only the summary may.
        cell(&peer.cwd, 200),
        cell(&peer.summary, 200),
    ]
}
