//! Probes: throw-away peers by which `doctor` sends a message the whole way.
//!
//! No listing shows a probe, no other peer can write to it, and it has no name. It writes to itself only. Its messages bear negative numbers, so that the
//! order of all others, which never goes back, does not know of them. One row more than before it
//! came would be a ghost, so everything of it is deleted: the one exception to the rule that no
//! peer and no message ever is.

use std::time::Duration;

use rusqlite::params;

use crate::broker::core::{Caller, Tx};
use crate::broker::registry::keys::{create_peer, known_instance};
use crate::broker::registry::listing::peer;
use crate::broker::store::Fault;
use crate::protocol::peers::{PeerKind, Register, Registered, Unregistered};
use crate::protocol::{ApiError, ErrorCode, InstanceId};

/// A probe lives for milliseconds. One that is older was killed.
const PROBE_LIFETIME: Duration = Duration::from_secs(60);

/// Makes a probe known; the same instance may do so any number of times.
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

/// The number of a probe's next message.
pub fn next_number(tx: &Tx<'_>) -> Result<i64, Fault> {
    Ok(tx
        .db
        .prepare_cached("SELECT min(coalesce(min(seq), 0), 0) - 1 FROM messages")?
        .query_row([], |row| row.get(0))?)
}

/// Ends a probe.
///
/// # Errors
///
/// [`ErrorCode::Forbidden`] for a session: its mailbox waits for its return.
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

/// Probes whose doctor died before it could end them.
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

/// Everything of a probe. Gives the number of its messages.
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
