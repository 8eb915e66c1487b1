//! How much waits for a peer.

use rusqlite::params;

use crate::broker::core::Tx;
use crate::broker::store::Fault;
use crate::protocol::PeerId;

/// Messages of peers without evidence of having been read.
pub fn unread(tx: &Tx<'_>, peer: &PeerId) -> Result<u64, Fault> {
    let unread: i64 = tx
        .db
        .prepare_cached("SELECT unread FROM peers WHERE id = ?1")?
        .query_row([peer.as_str()], |row| row.get(0))?;
    Ok(u64::try_from(unread).unwrap_or(0))
}

/// A peer's backlog, as others see it: unread, and not on its way by a channel that works.
pub fn backlog(tx: &Tx<'_>, peer: &PeerId) -> Result<u64, Fault> {
    let leased: i64 = tx
        .db
        .prepare_cached(
            "SELECT count(*) FROM messages
             WHERE recipient = ?1 AND lease_until > ?2 AND sender <> 'broker'",
        )?
        .query_row(params![peer.as_str(), tx.now.millis()], |row| row.get(0))?;
    Ok(unread(tx, peer)?.saturating_sub(u64::try_from(leased).unwrap_or(0)))
}

/// The same, and what the broker has to tell it.
pub fn waiting(tx: &Tx<'_>, peer: &PeerId) -> Result<u64, Fault> {
    let notices: i64 = tx
        .db
        .prepare_cached(
            "SELECT count(*) FROM messages INDEXED BY messages_notices
             WHERE recipient = ?1 AND sender = 'broker' AND state IN ('queued', 'offered')
               AND (lease_until IS NULL OR lease_until <= ?2)",
        )?
        .query_row(params![peer.as_str(), tx.now.millis()], |row| row.get(0))?;
    Ok(backlog(tx, peer)?.saturating_add(u64::try_from(notices).unwrap_or(0)))
}
