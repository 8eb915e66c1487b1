//! Probes: temporary peers with which `doctor` sends a message the whole way.
//!
//! No list shows a probe, no other peer can send to it, and it has no name. A probe sends messages to
//! itself only. Their sequence numbers are negative, so they do not affect the order of all other
//! messages, which only grows. At its end everything of a probe is deleted: the one exception to the
//! rule that no peer and no message ever is.

use std::time::Duration;

use rusqlite::params;

use crate::broker::core::{Caller, Tx};
use crate::broker::registry::keys::{create_peer, known_instance};
use crate::broker::registry::listing::peer;
use crate::broker::store::Fault;
use crate::protocol::peers::{PeerKind, Register, Registered, Unregistered};
use crate::protocol::{ApiError, ErrorCode, InstanceId};

/// The age at which a probe counts as killed. A probe normally lives for milliseconds.
const PROBE_LIFETIME: Duration = Duration::from_secs(60);

/// Registers a probe. The same instance may register any number of times.
pub fn register(tx: &mut Tx<'_>, request: &Register) -> Result<Registered, Fault> {
    sweep(tx)?;
    let id = match known_instance(tx, request)? {
        Some(id) => id,
        None => create_peer(tx, PeerKind::Probe)?,
    };
    tx.db
        .prepare_cached(
            "INSERT INTO receivers (instance, peer, secret, channel, registered_at)
             VALUES (?1, ?2, ?3, 'absent', ?4) ON CONFLICT (instance) DO NOTHING",
        )?
        .execute(params![
            request.instance.as_str(),
            id.as_str(),
            request.secret,
            tx.now.millis()
        ])?;
    Ok(Registered { peer: peer(tx, &id)?, notes: Vec::new(), undescribed: false, profile: None })
}

/// Returns the sequence number of a probe's next message.
pub fn next_number(tx: &Tx<'_>) -> Result<i64, Fault> {
    Ok(tx
        .db
        .prepare_cached("SELECT min(coalesce(min(seq), 0), 0) - 1 FROM messages")?
        .query_row([], |row| row.get(0))?)
}

/// Deletes a probe with its messages.
///
/// # Errors
///
/// [`ErrorCode::Forbidden`] for a session, whose mailbox is kept for its return.
pub fn unregister(
    tx: &mut Tx<'_>,
    caller: &Caller,
    instance: &InstanceId,
) -> Result<Unregistered, Fault> {
    if !caller.probe {
        let error = ApiError::new(ErrorCode::Forbidden, "only a probe can be unregistered");
        return Err(error.hint("A session ends by closing its stream.").into());
    }
    Ok(Unregistered { messages: delete(tx, caller.peer.as_str(), instance.as_str())? })
}

/// Deletes probes whose `doctor` was killed before it could unregister them.
fn sweep(tx: &Tx<'_>) -> Result<(), Fault> {
    let before = tx.now.millis() - i64::try_from(PROBE_LIFETIME.as_millis()).unwrap_or(i64::MAX);
    let left: Vec<(String, String)> = tx
        .db
        .prepare_cached(
            "SELECT p.id, r.instance FROM peers p JOIN receivers r ON r.peer = p.id
             WHERE p.kind = 'probe' AND r.registered_at < ?1",
        )?
        .query_map([before], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (peer, instance) in left {
        delete(tx, &peer, &instance)?;
    }
    Ok(())
}

/// Deletes everything of a probe, and returns the number of its messages.
fn delete(tx: &Tx<'_>, peer: &str, instance: &str) -> Result<u64, Fault> {
    tx.db
        .prepare_cached(
            "DELETE FROM offers WHERE message IN
                 (SELECT seq FROM messages WHERE seq < 0 AND recipient = ?1)",
        )?
        .execute([peer])?;
    let messages = tx
        .db
        .prepare_cached("DELETE FROM messages WHERE seq < 0 AND recipient = ?1")?
        .execute([peer])?;
    tx.db.prepare_cached("DELETE FROM answers WHERE caller = ?1")?.execute([instance])?;
    tx.db.prepare_cached("DELETE FROM receivers WHERE peer = ?1")?.execute([peer])?;
    tx.db.prepare_cached("DELETE FROM peers WHERE id = ?1")?.execute([peer])?;
    Ok(messages as u64)
}
