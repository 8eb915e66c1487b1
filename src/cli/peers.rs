//! `claude-peers peers`: who is here.

use std::process::ExitCode;

use clap::Args;

use super::error::Failure;
use super::output::{Out, ago, aside, cell};
use super::scope::{Place, ScopeArgument};
use crate::client::Client;
use crate::protocol::peers::{ListPeers, Peer, Reachability};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Which peers: all on this machine, those in this directory, or those in this git repository
    #[arg(long, value_enum, default_value = "machine")]
    scope: ScopeArgument,
    /// Away peers, too: those with mail, or with a name of their own
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
    let Place { directory, repo } = Place::here(scope).await?;
    let request = ListPeers { scope, all: arguments.all, directory, repo };
    let list = client.peers(&request).await?;
    if arguments.json {
        out.json(&list)?;
        return Ok(ExitCode::SUCCESS);
    }
    let header = ["ID", "NAME", "STATE", "UNREAD", "DIRECTORY", "SUMMARY"];
    out.table(&header, list.peers.iter().map(row).collect())?;
    if list.away > 0 {
        let line = format!("{} away (--all shows them)", list.away);
        // A program that reads the table should find nothing but the table.
        if out.is_terminal() {
            out.line(line)?;
        } else {
            out.flush()?;
            aside(&line);
        }
    }
    Ok(ExitCode::SUCCESS)
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
