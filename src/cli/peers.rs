//! `claude-peers peers`: lists the sessions.

use std::process::ExitCode;

use clap::Args;

use crate::cli::error::CliError;
use crate::cli::legend;
use crate::cli::output::look::Ink;
use crate::cli::output::table::{Cell, Column};
use crate::cli::output::{Out, cell};
use crate::cli::scope::{ScopeArgument, ScopeContext};
use crate::cli::shell_session;
use crate::client::Client;
use crate::protocol::peers::{Activity, EndedSession, ListPeers, Peer, PeerList, Reachability};

#[derive(Debug, Args)]
#[command(after_help = legend::of_peers())]
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

/// What a person is told where there is no session.
pub const NOBODY: &str = "No sessions yet. Start Claude Code, set it up first if that is not done \
    (claude-peers setup), or watch two sessions talk: claude-peers demo";

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
            out.messages().note(&format!(
                "This command acts for the session {} ({}).",
                cell(name, 60),
                me.id
            ));
        }
        None if shell_session::is_inside(client.config()) => {
            shell_session::note_unknown(out.messages());
        }
        None => {}
    }
    if arguments.json {
        out.json(&list)?;
        return Ok(ExitCode::SUCCESS);
    }
    if list.peers.is_empty() && list.ended.is_empty() && out.is_terminal() {
        out.wrapped(0, if list.away == 0 { NOBODY } else { "No sessions are running." })?;
        if list.away > 0 {
            out.wrapped(0, away(&list))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let rows = list.peers.iter().map(|peer| row(peer, Row::Full, out));
    let rows = rows.chain(list.ended.iter().map(|session| ended(session, out))).collect();
    out.table(&COLUMNS, rows)?;
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
        out.wrapped(0, line)?;
    } else {
        out.flush()?;
        out.messages().note(line);
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

const COLUMNS: [Column; 8] = [
    Column::whole("ID").from_width(110),
    Column::text("NAME", 12),
    Column::whole("STATE"),
    Column::whole("VIA"),
    Column::whole("SINCE").from_width(130),
    Column::whole("UNREAD").right(),
    Column::path("DIRECTORY", 16),
    Column::text("SUMMARY", 16),
];

/// Returns the row of a session that has ended, with the command that resumes it.
fn ended(session: &EndedSession, out: &Out) -> Vec<Cell> {
    let resume = match &session.session {
        Some(id) => format!("[claude --resume {}] {}", cell(id, 60), session.summary),
        None => session.summary.clone(),
    };
    vec![
        session.id.to_string().into(),
        cell(session.name.as_deref().unwrap_or_default(), 60).into(),
        Cell::inked("ended", Ink::Dim),
        Reachability::Ended.short().into(),
        out.when(session.since).into(),
        "0".into(),
        cell(&out.path(&session.cwd), 200).into(),
        cell(&resume, 300).into(),
    ]
}

/// The columns of a list of live peers beside other things.
pub const SHORT_COLUMNS: [Column; 5] = [
    Column::text("NAME", 12),
    Column::whole("STATE"),
    Column::whole("VIA"),
    Column::path("DIRECTORY", 16),
    Column::text("SUMMARY", 16),
];

/// Which columns a row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// Those of [`COLUMNS`].
    Full,
    /// Those of [`SHORT_COLUMNS`].
    Short,
}

/// Returns the row of a peer.
pub fn row(peer: &Peer, row: Row, out: &Out) -> Vec<Cell> {
    let state = match peer.reach {
        Reachability::Ended => Cell::inked("ended", Ink::Dim),
        _ if peer.live => match peer.activity {
            Activity::Waiting => Cell::inked("waiting", Ink::Attention),
            Activity::Unknown => Cell::inked("live", Ink::Good),
            known => Cell::inked(known.as_str(), Ink::Good),
        },
        // The command line needs no process to get its mail.
        Reachability::Inbox => "-".into(),
        _ => Cell::inked("away", Ink::Dim),
    };
    let unread = peer.unread.to_string();
    let name = Cell::inked(cell(peer.name.as_deref().unwrap_or_default(), 60), Ink::Strong);
    // A directory with spaces shifts only the summary, which is the last column.
    let directory = cell(&out.path(&peer.cwd), 200).into();
    let summary = cell(&peer.summary, 200).into();
    if row == Row::Short {
        return vec![name, state, peer.reach.short().into(), directory, summary];
    }
    vec![
        peer.id.to_string().into(),
        name,
        state,
        peer.reach.short().into(),
        out.when(peer.since).into(),
        if peer.unread > 0 { Cell::inked(unread, Ink::Attention) } else { unread.into() },
        directory,
        summary,
    ]
}
