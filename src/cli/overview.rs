//! `claude-peers` without a command: what is going on, in at most a screen, and the next sensible step.
//! It never starts a broker.

use std::process::ExitCode;

use crate::cli::error::CliError;
use crate::cli::output::look::Ink;
use crate::cli::output::{Out, ago, cell};
use crate::cli::peers::{self, Row};
use crate::client::status::{ANSWER_TIMEOUT, BrokerState, BrokerStatus};
use crate::client::{Client, ClientError};
use crate::config::Environment;
use crate::protocol::peers::{ListPeers, Peer, PeerList, Reachability};
use crate::setup::{Client as AgentProgram, Host, Options, State};

/// The lines of the overview beside its table of peers and what is said of peers with mail.
const OTHER_LINES: usize = 11;

/// The most peers with mail of which is said why they have not read it.
const MAX_WAITING: usize = 4;

pub async fn run(
    client: Client,
    environment: &Environment,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let client = client.without_start();
    let status = BrokerStatus::of(client.clone()).await?;
    let list = match status.state {
        BrokerState::Running => Some(peers(&client).await?),
        _ => None,
    };
    broker(&status, out)?;
    if let Some(list) = &list {
        sessions(list, out)?;
    }
    out.line("")?;
    let step = next_step(&status, list.as_ref(), environment);
    out.field(Ink::Strong, "next", step)?;
    out.field(Ink::Dim, "help", "claude-peers --help")?;
    Ok(ExitCode::SUCCESS)
}

async fn peers(client: &Client) -> Result<PeerList, ClientError> {
    let request = ListPeers { all: true, ..ListPeers::default() };
    let asked = tokio::time::timeout(ANSWER_TIMEOUT, client.peers(&request)).await;
    asked.unwrap_or(Err(ClientError::Silent))
}

fn broker(status: &BrokerStatus, out: &mut Out) -> Result<(), CliError> {
    let (ink, text) = match status.state {
        BrokerState::Running => {
            let detail = status.health.as_ref().and_then(|health| health.detail.as_ref());
            let since = detail.map(|detail| format!(" since {}", out.when(detail.started_at)));
            let problem = detail.and_then(|detail| detail.database_problem.as_ref());
            match problem {
                Some(problem) => (Ink::Bad, format!("running, but {problem}")),
                None => (Ink::Good, format!("running{}", since.unwrap_or_default())),
            }
        }
        BrokerState::Ready => (Ink::Good, "ready; it starts on the first connection".to_owned()),
        BrokerState::Opening => {
            let what = status.opening.as_deref().unwrap_or("opening its database");
            (Ink::Attention, format!("starting: it is {what}"))
        }
        BrokerState::Silent => (Ink::Bad, "does not answer".to_owned()),
        BrokerState::Stopped => (Ink::Dim, "not running".to_owned()),
        BrokerState::Unknown => (Ink::Attention, "not reachable from here".to_owned()),
    };
    out.field(ink, "broker", text)?;
    Ok(())
}

fn sessions(list: &PeerList, out: &mut Out) -> Result<(), CliError> {
    let live: Vec<&Peer> = list.peers.iter().filter(|peer| peer.live).collect();
    let away = list.peers.iter().filter(|peer| !peer.live && is_session(peer)).count();
    let count = format!("{} live, {away} away", live.len());
    out.field(if live.is_empty() { Ink::Dim } else { Ink::Good }, "peers", count)?;
    if list.waiting > 0 {
        let messages = if list.waiting == 1 { "message" } else { "messages" };
        let text = format!("{} unread {messages} for you: claude-peers inbox", list.waiting);
        out.field(Ink::Attention, "inbox", text)?;
    }
    let waiting: Vec<&Peer> =
        list.peers.iter().filter(|peer| peer.unread > 0 && is_session(peer)).collect();
    for peer in waiting.iter().take(MAX_WAITING) {
        out.field(Ink::Attention, "unread", unread(peer))?;
    }
    if let Some(more) = waiting.len().checked_sub(MAX_WAITING).filter(|more| *more > 0) {
        out.field(Ink::Attention, "", format!("and {more} more with unread messages"))?;
    }
    if live.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let room = out.look().height.saturating_sub(OTHER_LINES + 2 * waiting.len().min(MAX_WAITING));
    let shown = live.len().min(room.max(3));
    // The line that counts the rest takes the place of one of them.
    let shown = if shown < live.len() { shown - 1 } else { shown };
    let rows = live.iter().take(shown).map(|peer| peers::row(peer, Row::Short, out)).collect();
    out.table(&peers::SHORT_COLUMNS, rows)?;
    if shown < live.len() {
        let more = live.len() - shown;
        out.inked(Ink::Dim, format!("and {more} more: claude-peers peers"))?;
    }
    Ok(())
}

fn is_session(peer: &Peer) -> bool {
    peer.reach != Reachability::Inbox
}

/// Says who has mail, and why it has not been read.
fn unread(peer: &Peer) -> String {
    let name = cell(peer.called(), 40);
    let age = peer.oldest_unread.map(|oldest| format!(", the oldest {} old", ago(oldest)));
    let why = match peer.reach.known() {
        Reachability::Ended => "it has ended, and cannot come back",
        Reachability::Away => "it is away; they wait until it returns",
        Reachability::Tools => "it sees them when it calls a claude-peers tool",
        Reachability::Hooks => "its hooks show them at its next step",
        Reachability::ChannelPresumed => "pushed; not known whether it shows pushes",
        _ => "pushed, and not confirmed yet",
    };
    format!("{name}: {}{}; {why}", peer.unread, age.unwrap_or_default())
}

/// Returns the one thing to do now.
fn next_step(status: &BrokerStatus, list: Option<&PeerList>, environment: &Environment) -> String {
    match status.state {
        BrokerState::Silent => return "claude-peers kill-broker  (no message is lost)".to_owned(),
        BrokerState::Opening => {
            return "wait; claude-peers status shows when it is ready".to_owned();
        }
        BrokerState::Unknown => return "claude-peers doctor".to_owned(),
        BrokerState::Running | BrokerState::Ready | BrokerState::Stopped => {}
    }
    let live = list.map_or(0, |list| list.peers.iter().filter(|peer| peer.live).count());
    if list.is_some_and(|list| list.waiting > 0) {
        return "claude-peers inbox".to_owned();
    }
    if live == 0 && !is_set_up(environment) {
        return "claude-peers setup  (registers claude-peers with Claude Code and other clients)"
            .to_owned();
    }
    let first = list.and_then(|list| list.peers.iter().find(|peer| peer.live));
    match first.and_then(|peer| peer.name.as_deref()) {
        Some(name) => format!("claude-peers send {} \"TEXT\"", cell(name, 40)),
        None => "start Claude Code in two terminals; claude-peers peers then lists them".to_owned(),
    }
}

/// Whether any agent program is set up, as its files tell. What cannot be read is not.
fn is_set_up(environment: &Environment) -> bool {
    let Ok(host) = Host::load(environment) else { return false };
    let options = Options { hooks: true, permission: true, sandbox: true, status_line: false };
    AgentProgram::ALL.into_iter().any(|program| {
        let found = program.look(&host, options);
        matches!(found.state, State::SetUp | State::Partly)
    })
}
