//! Several client processes that show one session: each keeps a peer of its own.
//!
//! The first has the peer of the session. Each other one is a *window*: its peer is known by the
//! session and the client process together, so that it comes back to that peer whatever restarts, and
//! whatever has become of the first. A window whose client process has ended is continued by the next
//! client process that shows the session beside another.
//!
//! A client process that runs keeps its peer also while it has no stream: it may be suspended, or be
//! about to reconnect to a broker that was restarted. Of a process in another pid namespace it is not
//! known whether it runs. It keeps its peer only while it has a stream; otherwise a session that ended
//! there could never be resumed.

use rusqlite::{Connection, OptionalExtension as _};

use crate::broker::core::Tx;
use crate::broker::registry::keys::{is_live_or_arriving, session_key, still_runs};
use crate::broker::store::Fault;
use crate::protocol::{PeerId, ProcessId};
use crate::sys::process;

/// What the keys of the windows of a session begin with.
fn windows_of(session: &str) -> String {
    format!("window:{session}:")
}

/// Returns the key of a client process that shows a session beside another one.
pub fn window_key(session: &str, client: &ProcessId) -> String {
    format!("{}{client}", windows_of(session))
}

/// A peer that shows a session, and the client process that it has, if any.
pub struct Owned {
    pub peer: PeerId,
    pub client: Option<String>,
}

/// Returns the peer with a key, and its client process.
fn owned(db: &Connection, key: &str) -> Result<Option<Owned>, Fault> {
    Ok(db
        .prepare_cached(
            "SELECT p.id, p.client_process FROM keys k JOIN peers p ON p.id = k.peer WHERE k.key = ?1",
        )?
        .query_row([key], |row| {
            Ok(Owned { peer: PeerId::from_text(row.get::<_, String>(0)?), client: row.get(1)? })
        })
        .optional()?)
}

/// Returns the peer that a client process has for a session: its own window's, if it has one and does
/// not have the session's own peer, else the session's.
pub fn owned_for(
    db: &Connection,
    session: &str,
    client: Option<&ProcessId>,
) -> Result<Option<Owned>, Fault> {
    let first = owned(db, &session_key(session))?;
    let (Some(client), Some(owner)) = (client, &first) else { return Ok(first) };
    if owner.client.as_deref() == Some(client.to_string().as_str()) {
        return Ok(first);
    }
    Ok(owned(db, &window_key(session, client))?.or(first))
}

/// Returns only the peer of [`owned_for`].
pub fn peer_for(
    db: &Connection,
    session: &str,
    client: Option<&ProcessId>,
) -> Result<Option<PeerId>, Fault> {
    Ok(owned_for(db, session, client)?.map(|owned| owned.peer))
}

/// Returns whether `owner`, the client process of a peer in its text form, is known to run and is
/// another than `client`.
///
/// A server may have taken a wrapper of its client for the client itself. A process above `client` is
/// such a wrapper, unless it runs as Claude Code.
pub fn runs_beside(owner: &str, client: Option<&ProcessId>) -> bool {
    let Ok(owner) = owner.parse::<ProcessId>() else { return false };
    let Some(client) = client else { return process::is_alive(&owner) };
    if owner == *client || !process::is_alive(&owner) {
        return false;
    }
    let is_above = process::is_alive(client) && process::ancestors(client.pid).contains(&owner.pid);
    !is_above || process::runs_as(&owner, "claude")
}

/// Returns the peer of a window of this session whose client process has ended, if there is one.
pub fn ended_window(tx: &Tx<'_>, session: &str) -> Result<Option<PeerId>, Fault> {
    let begin = windows_of(session);
    // Every key that begins so is less than this, as ';' follows ':'.
    let end = format!("{};", begin.strip_suffix(':').unwrap_or(&begin));
    let mut statement = tx.db.prepare_cached(
        "SELECT k.key, p.id, p.client_process FROM keys k JOIN peers p ON p.id = k.peer
         WHERE k.key > ?1 AND k.key < ?2 ORDER BY k.bound_at DESC",
    )?;
    let windows: Vec<(String, String, Option<String>)> = statement
        .query_map([&begin, &end], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (key, id, owner) in windows {
        // A longer session id may begin like this one.
        let client = key.strip_prefix(&begin).filter(|client| client.parse::<ProcessId>().is_ok());
        let ended = |process: &str| !still_runs(process);
        let id = PeerId::from_text(id);
        if client.is_some_and(ended)
            && owner.as_deref().is_none_or(ended)
            && !is_live_or_arriving(tx, &id)
        {
            return Ok(Some(id));
        }
    }
    Ok(None)
}
