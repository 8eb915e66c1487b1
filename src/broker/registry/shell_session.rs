//! Which session a command line runs inside: the command line speaks as that session.
//!
//! There are two sources: the session's id in the shell's environment, which is wrong once the client
//! process shows another session, and the processes above the shell, one of which is the session's
//! client. Both are claims of a process of the same user, and no proof.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::broker::live::presence::Presence;
use crate::broker::registry::keys::{peer_of_session_id, still_runs};
use crate::broker::registry::windows;
use crate::broker::store::Fault;
use crate::protocol::{PeerId, ProcessId, ShellSession};
use crate::sys::process;

/// Returns the peer of the session in whose shell a command line runs.
///
/// `None` if the session has no peer here, or has ended, or is ambiguous.
pub fn peer_of_shell(
    db: &Connection,
    inside: &ShellSession,
    presence: &Presence,
) -> Result<Option<PeerId>, Fault> {
    let is_live = |id: &PeerId| presence.lock().is_live_or_arriving(id);
    let own =
        inside.session.as_deref().map(|session| peer_of_session_id(db, session)).transpose()?;
    let own = own.flatten();
    for process in &inside.above {
        let mut live = peers_of_client(db, process)?;
        live.retain(is_live);
        if let Some(own) = own.as_ref().filter(|own| live.contains(own)) {
            return Ok(Some(own.clone()));
        }
        // The client process shows another session than the one that started the shell.
        if let Some(shown) = peer_shown_by(db, process)? {
            return Ok(Some(shown));
        }
        match live.as_slice() {
            [only] if shows_single_session(db, process, only)? => return Ok(Some(only.clone())),
            [] | [_] => {}
            // A client of several sessions: only the shell's environment tells which one it is.
            _ => break,
        }
    }
    match own {
        Some(own) if is_live(&own) || client_still_runs(db, &own)? => Ok(Some(own)),
        _ => Ok(None),
    }
}

/// Returns whether a client process shows the session of this one peer and no other.
///
/// Claude Code shows one session at a time; other clients are assumed to.
fn shows_single_session(db: &Connection, process: &ProcessId, id: &PeerId) -> Result<bool, Fault> {
    let kind: String = db
        .prepare_cached("SELECT kind FROM peers WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))?;
    Ok(kind == "client" || process::runs_as(process, "claude"))
}

/// Returns the peers whose last client process is this one.
fn peers_of_client(db: &Connection, process: &ProcessId) -> Result<Vec<PeerId>, Fault> {
    Ok(db
        .prepare_cached(
            "SELECT id FROM peers WHERE client_process = ?1 AND kind IN ('session', 'client')",
        )?
        .query_map([process.to_string()], |row| Ok(PeerId::from_text(row.get::<_, String>(0)?)))?
        .collect::<rusqlite::Result<_>>()?)
}

/// Returns the peer of the session that a client process shows, as its hooks reported.
fn peer_shown_by(db: &Connection, process: &ProcessId) -> Result<Option<PeerId>, Fault> {
    let session: Option<String> = db
        .prepare_cached("SELECT session FROM clients WHERE process = ?1")?
        .query_row([process.to_string()], |row| row.get(0))
        .optional()?;
    match session {
        Some(session) => windows::peer_for(db, &session, Some(process)),
        None => Ok(None),
    }
}

/// Returns whether the peer's last client process still runs, so that the peer is likely to return.
fn client_still_runs(db: &Connection, id: &PeerId) -> Result<bool, Fault> {
    let process: Option<String> = db
        .prepare_cached("SELECT client_process FROM peers WHERE id = ?1")?
        .query_row(params![id.as_str()], |row| row.get(0))?;
    Ok(process.is_some_and(|process| still_runs(&process)))
}
