//! `claude-peers peers`: who is here.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::error::Failure;
use super::output::{Out, ago, aside, cell};
use crate::client::Client;
use crate::git;
use crate::protocol::peers::{ListPeers, Peer, Reachability, Scope};

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

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScopeArgument {
    Machine,
    Directory,
    Repo,
}

pub async fn run(
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let mut request = ListPeers { all: arguments.all, ..ListPeers::default() };
    let here = || std::env::current_dir().and_then(std::fs::canonicalize);
    match arguments.scope {
        ScopeArgument::Machine => {}
        ScopeArgument::Directory => {
            request.scope = Scope::Directory;
            request.directory = Some(here()?.to_string_lossy().into_owned());
        }
        ScopeArgument::Repo => {
            request.scope = Scope::Repo;
            let repository = git::repository(&here()?).await;
            request.repo = repository.map(|found| found.common_dir.to_string_lossy().into_owned());
        }
    }
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
