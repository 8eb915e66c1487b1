//! Offers and leases: the record of which receiver was handed a message, and how long the message
//! is reserved for it.

use std::time::Duration;

use rusqlite::params;

use crate::broker::core::Tx;
use crate::broker::live::waiters::IncomingMessage;
use crate::broker::store::Fault;
use crate::protocol::mailbox::Delivery;
use crate::protocol::{InstanceId, MessageId, PeerId, Timestamp};

/// How long a push over a proven channel keeps a message from all other ways.
pub const CHANNEL_LEASE: Duration = Duration::from_secs(60);

/// How long what a tool took is kept from all other ways until the tool's result is out.
pub const TAKE_LEASE: Duration = Duration::from_secs(30);

/// How long a message that a hook showed is kept from all other ways until there is evidence.
pub const HOOK_LEASE: Duration = Duration::from_secs(60);

/// How the name of a hook as a receiver begins; the session's id follows.
pub const HOOK: &str = "hook:";

/// How the name of a call of the command line that waited begins, as a receiver. All command lines
/// are one peer, so what one of them took is kept from the others until it has shown it.
pub const WAIT: &str = "wait:";

/// Who a mail of `peer` is for, as far as waiters care.
pub fn mail(tx: &Tx<'_>, seq: i64) -> Result<IncomingMessage, Fault> {
    Ok(tx.db.prepare_cached("SELECT sender, reply_to FROM messages WHERE seq = ?1")?.query_row(
        [seq],
        |row| {
            Ok(IncomingMessage {
                sender: PeerId::from_text(row.get::<_, String>(0)?),
                reply_to: row.get::<_, Option<String>>(1)?.map(MessageId::from_text),
                seq,
            })
        },
    )?)
}

/// Whether a waiter is about to take this message of `peer`.
pub fn is_held(tx: &Tx<'_>, peer: &PeerId, seq: i64) -> Result<bool, Fault> {
    let waiters = &tx.state.live.waiters;
    Ok(waiters.has_any_of(peer) && waiters.is_reserved(peer, &mail(tx, seq)?))
}

/// Whether this message of `peer` is the answer that a waiter waits for.
pub fn is_awaited(tx: &Tx<'_>, peer: &PeerId, seq: i64) -> Result<bool, Fault> {
    let waiters = &tx.state.live.waiters;
    Ok(waiters.has_any_of(peer) && waiters.is_awaited_reply(peer, &mail(tx, seq)?))
}

/// Whether a lease still binds: it does as long as its holder lives. A hook's ends by its time, or
/// by the session's next event; that of a command line that waited, by its time.
pub fn binds(tx: &Tx<'_>, holder: &str) -> bool {
    holder.starts_with(HOOK)
        || holder.starts_with(WAIT)
        || tx.state.live.presence.lock().stream(&InstanceId::from_text(holder)).is_some()
}

/// The unread messages of a peer that nobody holds, oldest first: neither by a lease, nor because a
/// waiter is about to take them.
///
/// # Errors
///
/// If the database fails.
pub fn unheld(tx: &Tx<'_>, peer: &PeerId) -> Result<Vec<i64>, Fault> {
    let mut free = Vec::new();
    for seq in unleased(tx, peer)? {
        if !is_held(tx, peer, seq)? {
            free.push(seq);
        }
    }
    Ok(free)
}

/// The unread messages of a peer that no lease binds, oldest first.
///
/// # Errors
///
/// If the database fails.
pub fn unleased(tx: &Tx<'_>, peer: &PeerId) -> Result<Vec<i64>, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT seq, CASE WHEN lease_until > ?2 THEN lease_by END FROM messages
         WHERE recipient = ?1 AND state IN ('queued', 'offered') ORDER BY seq",
    )?;
    let rows: Vec<(i64, Option<String>)> = statement
        .query_map(params![peer.as_str(), tx.now.millis()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let free = |holder: &Option<String>| holder.as_deref().is_none_or(|holder| !binds(tx, holder));
    Ok(rows.into_iter().filter(|(_, holder)| free(holder)).map(|(seq, _)| seq).collect())
}

/// Whether a channel of this receiver had it, and whether anybody else did.
pub fn earlier_offers(tx: &Tx<'_>, seq: i64, receiver: &str) -> Result<(bool, bool), Fault> {
    Ok(tx
        .db
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE receiver = ?2 AND via = 'channel' AND written_at IS NOT NULL) > 0,
                    count(*) FILTER (WHERE receiver <> ?2 OR via <> 'channel') > 0
             FROM offers WHERE message = ?1",
        )?
        .query_row(params![seq, receiver], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Records an offer, and the lease that goes with it.
pub fn record(
    tx: &Tx<'_>,
    seq: i64,
    receiver: &str,
    via: &str,
    lease: Option<Timestamp>,
) -> Result<(), Fault> {
    tx.db
        .prepare_cached(
            "INSERT INTO offers (message, receiver, via, offered_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET offered_at = excluded.offered_at",
        )?
        .execute(params![seq, receiver, via, tx.now.millis()])?;
    tx.db
        .prepare_cached(
            "UPDATE messages SET state = 'offered', offered_at = ?2, offered_via = ?3,
                                 lease_until = ?4, lease_by = CASE WHEN ?4 IS NULL THEN NULL ELSE ?5 END
             WHERE seq = ?1 AND state IN ('queued', 'offered')",
        )?
        .execute(params![seq, tx.now.millis(), via, lease.map(Timestamp::millis), receiver])?;
    Ok(())
}

/// What a receiver needs of a message.
pub fn delivery(tx: &Tx<'_>, seq: i64) -> Result<Delivery, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT id, sender, sender_name, sender_summary, sender_cwd, sent_at, text, reply_to
         FROM messages WHERE seq = ?1",
    )?;
    let delivery = statement.query_row([seq], |row| {
        Ok(Delivery {
            id: MessageId::from_text(row.get::<_, String>(0)?),
            from_id: PeerId::from_text(row.get::<_, String>(1)?),
            from_name: row.get(2)?,
            from_summary: row.get(3)?,
            from_cwd: row.get(4)?,
            sent_at: Timestamp::from_millis(row.get(5)?),
            text: row.get(6)?,
            reply_to: row.get::<_, Option<String>>(7)?.map(MessageId::from_text),
            repeat: false,
            already_pushed: false,
        })
    })?;
    Ok(delivery)
}

/// There is evidence that `peer` had this message. Late evidence counts, too.
pub fn mark_read(tx: &Tx<'_>, peer: &PeerId, id: &MessageId, via: &str) -> Result<bool, Fault> {
    let changed = tx
        .db
        .prepare_cached(
            "UPDATE messages SET state = 'read', read_at = ?3, read_via = ?4, lease_until = NULL, lease_by = NULL
             WHERE id = ?1 AND recipient = ?2 AND state <> 'read'",
        )?
        .execute(params![id.as_str(), peer.as_str(), tx.now.millis(), via])?;
    Ok(changed > 0)
}
