//! Which peer a hook speaks for: it knows the session that its client shows now.

use rusqlite::{OptionalExtension as _, params};

use super::identity::{bind, last_of_process, session_key, still_runs};
use crate::broker::engine::Tx;
use crate::broker::store::Fault;
use crate::process::{self, Process};
use crate::protocol::{PeerId, Timestamp};
use crate::unheard::Word;

/// The peer of the session that a hook speaks for. What it says of its client is remembered, also
/// where there is no peer yet: a server that registers later finds its session by it.
///
/// # Errors
///
/// If the database fails.
pub fn peer_of_hook(
    tx: &Tx<'_>,
    session: &str,
    client: Option<&Process>,
) -> Result<Option<PeerId>, Fault> {
    if let Some(client) = client {
        remember(tx, client, session, tx.now)?;
    }
    let key = session_key(session);
    let known: Option<String> = tx
        .db
        .prepare_cached("SELECT peer FROM keys WHERE key = ?1")?
        .query_row([&key], |row| row.get(0))
        .optional()?;
    match (known.map(PeerId::from_text), client) {
        (Some(id), Some(client)) => of_window(tx, id, client),
        (Some(id), None) => Ok(Some(id)),
        // After /clear the window shows a new session. The peer is the same.
        (None, Some(client)) => {
            let peer = last_of_process(tx, client)?;
            if let Some(id) = &peer {
                bind(tx, &key, id)?;
            }
            Ok(peer)
        }
        (None, None) => Ok(None),
    }
}

/// The peer of a window that shows the session of `known`. Who resumes a session that is open in
/// another window is a new peer, and the mail stays with the first.
fn of_window(tx: &Tx<'_>, known: PeerId, client: &Process) -> Result<Option<PeerId>, Fault> {
    let holder: Option<String> = tx
        .db
        .prepare_cached("SELECT client_process FROM peers WHERE id = ?1")?
        .query_row([known.as_str()], |row| row.get(0))?;
    let Some(holder) = holder.filter(|holder| *holder != client.to_string()) else {
        return Ok(Some(known));
    };
    let is_live = |id: &PeerId| tx.companion.connected.presence.lock().is_claimed(id);
    if let Some(own) = last_of_process(tx, client)?.filter(is_live) {
        return Ok(Some(own));
    }
    // This window's own server is still to come. A server behind a wrapper may have named that one
    // as its client, and then it is this window's: so the holder must be Claude Code for certain.
    let elsewhere = is_claude(&holder) && still_runs(&holder) && is_live(&known);
    Ok((!elsewhere).then_some(known))
}

/// Whether a process in its text form runs here, and goes by Claude Code's name.
fn is_claude(process: &str) -> bool {
    Process::parse(process).is_some_and(|process| process.runs_as("claude"))
}

/// The session that a client's hooks said it shows, if they spoke.
///
/// # Errors
///
/// If the database fails.
pub fn session_of(tx: &Tx<'_>, client: &Process) -> Result<Option<String>, Fault> {
    Ok(tx
        .db
        .prepare_cached("SELECT session FROM clients WHERE process = ?1")?
        .query_row([client.to_string()], |row| row.get(0))
        .optional()?)
}

/// Remembers what hooks said while no broker ran, unless they said otherwise since.
///
/// # Errors
///
/// If the database fails.
pub fn hear(tx: &Tx<'_>, words: &[Word]) -> Result<(), Fault> {
    for word in words {
        // A hook of a container named it by the number that it has there.
        let client = process::below(&word.client).unwrap_or_else(|| word.client.clone());
        let word = Word { client, ..word.clone() };
        if still_runs(&word.client.to_string()) && !has_spoken_since(tx, &word)? {
            remember(tx, &word.client, &word.session, word.said_at)?;
        }
    }
    Ok(())
}

fn has_spoken_since(tx: &Tx<'_>, word: &Word) -> Result<bool, Fault> {
    let since = params![word.client.to_string(), word.said_at.millis()];
    Ok(tx
        .db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM clients WHERE process = ?1 AND said_at > ?2)",
        )?
        .query_row(since, |row| row.get(0))?)
}

fn remember(tx: &Tx<'_>, client: &Process, session: &str, at: Timestamp) -> Result<(), Fault> {
    tx.db
        .prepare_cached(
            "INSERT INTO clients (process, session, said_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (process) DO UPDATE SET session = excluded.session, said_at = excluded.said_at",
        )?
        .execute(params![client.to_string(), session, at.millis()])?;
    Ok(())
}

/// Clients that have ended say nothing more.
///
/// # Errors
///
/// If the database fails.
pub fn forget_ended_clients(tx: &Tx<'_>) -> Result<(), Fault> {
    let processes: Vec<String> = tx
        .db
        .prepare_cached("SELECT process FROM clients")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for process in processes.iter().filter(|process| !still_runs(process)) {
        tx.db.prepare_cached("DELETE FROM clients WHERE process = ?1")?.execute([process])?;
    }
    Ok(())
}
