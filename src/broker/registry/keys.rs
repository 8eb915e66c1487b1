//! The base of the registry's other files: the keys that identify a returning peer, its client
//! process, and whether it may return.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::broker::core::Tx;
use crate::broker::store::Fault;
use crate::protocol::peers::{CLAUDE_CODE, PeerKind, Register};
use crate::protocol::{ApiError, ErrorCode, PeerId, ProcessId, Timestamp};
use crate::sys::process;
use crate::sys::process::ProcessStatus;

/// How long an ended session without mail keeps its automatic name.
const GRACE: Duration = Duration::from_secs(60);

/// Returns the key of a Claude Code session.
pub fn session_key(session: &str) -> String {
    format!("session:{session}")
}

/// Returns the peer that is known by a key.
pub fn peer_of_key(db: &Connection, key: &str) -> Result<Option<PeerId>, Fault> {
    let known: Option<String> = db
        .prepare_cached("SELECT peer FROM keys WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    Ok(known.map(PeerId::from_text))
}

/// Returns the peer of a Claude Code session.
pub fn peer_of_session_id(db: &Connection, session: &str) -> Result<Option<PeerId>, Fault> {
    peer_of_key(db, &session_key(session))
}

/// Makes a peer known by a key.
pub fn bind_key(tx: &Tx<'_>, key: &str, id: &PeerId) -> Result<(), Fault> {
    tx.db
        .prepare_cached("INSERT INTO keys (key, peer, bound_at) VALUES (?1, ?2, ?3)")?
        .execute(params![key, id.as_str(), tx.now.millis()])?;
    Ok(())
}

/// Inserts a peer of this kind under an id that was never used.
pub fn create_peer(tx: &Tx<'_>, kind: PeerKind) -> Result<PeerId, Fault> {
    let id = loop {
        let id = tx.state.live.sources.ids.peer();
        let taken: bool = tx
            .db
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM peers WHERE id = ?1 OR name = ?1)")?
            .query_row([id.as_str()], |row| row.get(0))?;
        if !taken {
            break id;
        }
    };
    tx.db
        .prepare_cached(
            "INSERT INTO peers (id, kind, created_at, seen_at) VALUES (?1, ?2, ?3, ?3)",
        )?
        .execute(params![id.as_str(), kind.as_str(), tx.now.millis()])?;
    Ok(id)
}

/// Returns the peer of an instance that has registered before.
///
/// # Errors
///
/// [`ErrorCode::Forbidden`] if it registered with another secret.
pub fn known_instance(tx: &Tx<'_>, request: &Register) -> Result<Option<PeerId>, Fault> {
    let known: Option<(String, String)> = tx
        .db
        .prepare_cached("SELECT peer, secret FROM receivers WHERE instance = ?1")?
        .query_row([request.instance.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match known {
        Some((_, secret)) if secret != request.secret => {
            Err(ApiError::new(ErrorCode::Forbidden, "this instance registered with another secret")
                .into())
        }
        Some((peer, _)) => Ok(Some(PeerId::from_text(peer))),
        None => Ok(None),
    }
}

/// Returns the session that a client process shows, by the last report of its hooks; `None` before
/// the first.
pub fn session_of(tx: &Tx<'_>, client: &ProcessId) -> Result<Option<String>, Fault> {
    Ok(tx
        .db
        .prepare_cached("SELECT session FROM clients WHERE process = ?1")?
        .query_row([client.to_string()], |row| row.get(0))
        .optional()?)
}

/// Returns the peer that a client process was last, if the client is Claude Code.
pub fn last_of_process(tx: &Tx<'_>, client: &ProcessId) -> Result<Option<PeerId>, Fault> {
    let id: Option<String> = tx
        .db
        .prepare_cached(
            "SELECT id FROM peers
             WHERE client_process = ?1 AND (kind = 'session' OR kind = 'client' AND client_name = ?2)
             ORDER BY seen_at DESC LIMIT 1",
        )?
        .query_row([client.to_string().as_str(), CLAUDE_CODE], |row| row.get(0))
        .optional()?;
    Ok(id.map(PeerId::from_text))
}

/// Returns whether a process, given in its text form, still runs.
///
/// A process that cannot be looked up counts as running; a process of an earlier boot has ended.
pub fn still_runs(process: &str) -> bool {
    let status = process.parse().map(|process| process::status(&process));
    !matches!(status, Ok(ProcessStatus::Gone | ProcessStatus::OtherBoot))
}

/// Returns the client process that a peer had last, in its text form.
pub fn client_process_of(tx: &Tx<'_>, id: &PeerId) -> Result<Option<String>, Fault> {
    Ok(tx
        .db
        .prepare_cached("SELECT client_process FROM peers WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))?)
}

/// Returns the same as far as it is known, whatever the database says.
fn client_process(tx: &Tx<'_>, id: &PeerId) -> Option<String> {
    client_process_of(tx, id).ok().flatten()
}

/// Returns the client process that a peer had last, as far as it is known.
///
/// # Errors
///
/// If the database fails.
pub fn client_of_peer(tx: &Tx<'_>, id: &PeerId) -> Result<Option<ProcessId>, Fault> {
    Ok(client_process_of(tx, id)?.and_then(|process| process.parse().ok()))
}

/// Returns whether the client process of a peer runs, so that its session may reconnect at any time.
pub fn owner_may_return(tx: &Tx<'_>, id: &PeerId) -> bool {
    client_process(tx, id).is_some_and(|process| still_runs(&process))
}

/// Returns whether the client process of a peer is known to have ended.
pub fn owner_is_gone(tx: &Tx<'_>, id: &PeerId) -> bool {
    client_process(tx, id).is_some_and(|process| !still_runs(&process))
}

/// Returns whether the grace period of a peer last seen at `seen_at` (Unix milliseconds) is over.
///
/// Peers that are away because the previous broker stopped have it from this broker's start on.
pub fn is_past_grace(tx: &Tx<'_>, seen_at: i64) -> bool {
    let since = Timestamp::from_millis(seen_at).max(tx.state.started_at);
    tx.now.since(since) > GRACE
}

/// Returns whether a peer is live, or has registered and is about to open its stream.
pub fn is_live_or_arriving(tx: &Tx<'_>, peer: &PeerId) -> bool {
    tx.state.live.presence.lock().is_live_or_arriving(peer)
}

/// Returns whether a peer is live or may return.
///
/// A session can be resumed at any time; a peer that is known by its process ends with that process.
pub fn may_return(tx: &Tx<'_>, id: &PeerId) -> Result<bool, Fault> {
    let (kind, process): (String, Option<String>) = tx
        .db
        .prepare_cached("SELECT kind, client_process FROM peers WHERE id = ?1")?
        .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(match PeerKind::from_word(&kind) {
        PeerKind::Legacy | PeerKind::Absorbed | PeerKind::Probe | PeerKind::System => false,
        PeerKind::Client => process.is_none_or(|process| still_runs(&process)),
        PeerKind::Session | PeerKind::Cli | PeerKind::Unknown => true,
    })
}

/// Returns whether a peer is away and cannot return, so that a successor may take it over.
pub fn cannot_return(tx: &Tx<'_>, id: &PeerId) -> Result<bool, Fault> {
    Ok(!is_live_or_arriving(tx, id) && !may_return(tx, id)?)
}
