//! Which session a command line runs inside, so that it speaks as that one.
//!
//! Two things tell it: the session's id in the shell's environment, which is wrong once the window
//! shows another session, and the processes above the shell, of which one is the session's client.
//! Between processes of one user this is what they say, and no proof.

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::broker::live::presence::Presence;
use crate::broker::registry::keys::{peer_of_session_id, still_runs};
use crate::broker::store::Fault;
use crate::protocol::{Inside, PeerId, ProcessId};
use crate::sys::process;

/// The peer of the session around a command line; `None` if that has none here, or has ended, or
/// it cannot be told which it is.
///
/// # Errors
///
/// If the database fails.
pub fn peer_around(
    db: &Connection,
    inside: &Inside,
    presence: &Presence,
) -> Result<Option<PeerId>, Fault> {
    let is_live = |id: &PeerId| presence.lock().is_live_or_arriving(id);
    let own =
        inside.session.as_deref().map(|session| peer_of_session_id(db, session)).transpose()?;
    let own = own.flatten();
    for process in &inside.above {
        let mut live = held_by(db, process)?;
        live.retain(is_live);
        if let Some(own) = own.as_ref().filter(|own| live.contains(own)) {
            return Ok(Some(own.clone()));
        }
        // The window has moved on from the session that the shell was started in.
        if let Some(shown) = shown_by(db, process)? {
            return Ok(Some(shown));
        }
        match live.as_slice() {
            [only] if shows_one(db, process, only)? => return Ok(Some(only.clone())),
            [] | [_] => {}
            // A client of several sessions: the shell's own word is all there is.
            _ => break,
        }
    }
    match own {
        Some(own) if is_live(&own) || has_client(db, &own)? => Ok(Some(own)),
        _ => Ok(None),
    }
}

/// Whether a client process is known to show the session of this one peer and no other: Claude Code
/// does, and other clients do as far as anybody can tell.
fn shows_one(db: &Connection, process: &ProcessId, id: &PeerId) -> Result<bool, Fault> {
    let kind: String = db
        .prepare_cached("SELECT kind FROM peers WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))?;
    Ok(kind == "client" || process::runs_as(process, "claude"))
}

/// The peers that a client process held last.
fn held_by(db: &Connection, process: &ProcessId) -> Result<Vec<PeerId>, Fault> {
    Ok(db
        .prepare_cached(
            "SELECT id FROM peers WHERE client_process = ?1 AND kind IN ('session', 'client')",
        )?
        .query_map([process.to_string()], |row| Ok(PeerId::from_text(row.get::<_, String>(0)?)))?
        .collect::<rusqlite::Result<_>>()?)
}

/// The peer of the session that a client's hooks said it shows.
fn shown_by(db: &Connection, process: &ProcessId) -> Result<Option<PeerId>, Fault> {
    let session: Option<String> = db
        .prepare_cached("SELECT session FROM clients WHERE process = ?1")?
        .query_row([process.to_string()], |row| row.get(0))
        .optional()?;
    match session {
        Some(session) => peer_of_session_id(db, &session),
        None => Ok(None),
    }
}

/// Whether the client that held a peer last is known to run, so that it is away for a moment only.
fn has_client(db: &Connection, id: &PeerId) -> Result<bool, Fault> {
    let process: Option<String> = db
        .prepare_cached("SELECT client_process FROM peers WHERE id = ?1")?
        .query_row(params![id.as_str()], |row| row.get(0))?;
    Ok(process.is_some_and(|process| still_runs(&process)))
}
