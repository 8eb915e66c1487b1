//! Offers and leases: the record of which receiver was handed a message, and how long the message
//! is kept from all others.

use std::time::Duration;

use rusqlite::params;

use crate::broker::core::{LONGEST_LEASE, Receiver, Tx};
use crate::broker::live::waiters::IncomingMessage;
use crate::broker::mailbox::sequence::seq_of;
use crate::broker::registry;
use crate::broker::store::Fault;
use crate::protocol::bounds::{MAX_LABEL, MAX_PATH, MAX_SUMMARY};
use crate::protocol::mailbox::Delivery;
use crate::protocol::messages::Via;
use crate::protocol::{InstanceId, MessageId, PeerId, Timestamp};

/// The lease of a push over a proven channel.
pub const PUSH_LEASE: Duration = Duration::from_secs(60);

/// The lease of what a tool or a command line took, until its result was sent.
pub const TAKE_LEASE: Duration = Duration::from_secs(30);

/// The lease of what a hook showed, until there is evidence.
pub const HOOK_LEASE: Duration = Duration::from_secs(60);

const _: () = assert!(
    PUSH_LEASE.as_secs() <= LONGEST_LEASE.as_secs()
        && TAKE_LEASE.as_secs() <= LONGEST_LEASE.as_secs()
        && HOOK_LEASE.as_secs() <= LONGEST_LEASE.as_secs()
);

/// Loads what waiters need to know of a message.
pub fn load_incoming(tx: &Tx<'_>, seq: i64) -> Result<IncomingMessage, Fault> {
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

/// Whether a waiter is about to take this message to `peer`.
pub fn is_reserved(tx: &Tx<'_>, peer: &PeerId, seq: i64) -> Result<bool, Fault> {
    if !tx.state.with_waiters(peer, |waiters| waiters.has_any_of(peer)) {
        return Ok(false);
    }
    let message = load_incoming(tx, seq)?;
    Ok(tx.state.with_waiters(peer, |waiters| waiters.is_reserved(peer, &message)))
}

/// Whether this message to `peer` is the reply that a waiter waits for.
pub fn is_awaited(tx: &Tx<'_>, peer: &PeerId, seq: i64) -> Result<bool, Fault> {
    if !tx.state.with_waiters(peer, |waiters| waiters.has_any_of(peer)) {
        return Ok(false);
    }
    let message = load_incoming(tx, seq)?;
    Ok(tx.state.with_waiters(peer, |waiters| waiters.is_awaited_reply(peer, &message)))
}

/// Whether a lease of this receiver binds, as long as it has not run out.
///
/// The lease of an instance binds while its stream is open. That of a hook is also ended by the
/// session's next event.
pub fn binds(tx: &Tx<'_>, receiver: &Receiver) -> bool {
    match receiver {
        Receiver::Hook(_) | Receiver::Waiter(_) => true,
        Receiver::Instance(id) => tx.state.live.presence.lock().stream(id).is_some(),
        Receiver::Cli => false,
    }
}

/// Returns the unread messages to a peer, oldest first, without those under a binding lease and
/// those that a waiter has reserved.
pub fn unreserved(tx: &Tx<'_>, peer: &PeerId) -> Result<Vec<i64>, Fault> {
    let mut free = Vec::new();
    for seq in unleased(tx, peer)? {
        if !is_reserved(tx, peer, seq)? {
            free.push(seq);
        }
    }
    Ok(free)
}

/// Returns the unread messages to a peer, oldest first, without those under a binding lease.
pub fn unleased(tx: &Tx<'_>, peer: &PeerId) -> Result<Vec<i64>, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT seq, CASE WHEN lease_until > ?2 THEN lease_by END FROM messages
         WHERE recipient = ?1 AND state IN ('queued', 'offered') ORDER BY seq",
    )?;
    let rows: Vec<(i64, Option<Receiver>)> = statement
        .query_map(params![peer.as_str(), tx.now.millis()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let is_free = |by: &Option<Receiver>| by.as_ref().is_none_or(|by| !binds(tx, by));
    Ok(rows.into_iter().filter(|(_, by)| is_free(by)).map(|(seq, _)| seq).collect())
}

/// Returns whether a channel of this receiver has written the message, and whether another receiver
/// or another way was offered it.
pub fn earlier_offers(tx: &Tx<'_>, seq: i64, receiver: &Receiver) -> Result<(bool, bool), Fault> {
    Ok(tx
        .db
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE receiver = ?2 AND via = 'channel' AND is_written) > 0,
                    count(*) FILTER (WHERE receiver <> ?2 OR via <> 'channel') > 0
             FROM all_offers WHERE message = ?1",
        )?
        .query_row(params![seq, receiver], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Records an offer, and the lease that goes with it.
pub fn record_offer(
    tx: &Tx<'_>,
    seq: i64,
    receiver: &Receiver,
    via: Via,
    lease: Option<Timestamp>,
) -> Result<(), Fault> {
    tx.db
        .prepare_cached(
            "INSERT INTO offers (message, receiver, via, offered_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET offered_at = excluded.offered_at",
        )?
        .execute(params![seq, receiver, via.as_str(), tx.now.millis()])?;
    tx.db
        .prepare_cached(
            "UPDATE messages SET state = 'offered', offered_at = ?2, offered_via = ?3,
                                 lease_until = ?4, lease_by = CASE WHEN ?4 IS NULL THEN NULL ELSE ?5 END
             WHERE seq = ?1 AND state IN ('queued', 'offered')",
        )?
        .execute(params![
            seq,
            tx.now.millis(),
            via.as_str(),
            lease.map(Timestamp::millis),
            receiver
        ])?;
    Ok(())
}

/// Records the push of a message that was never offered, and the lease that goes with it: in the row of
/// the message itself.
pub fn record_first_push(
    tx: &Tx<'_>,
    seq: i64,
    instance: &InstanceId,
    lease: Option<Timestamp>,
) -> Result<(), Fault> {
    tx.db
        .prepare_cached(
            "UPDATE messages SET state = 'offered', offered_at = ?2, offered_via = 'channel',
                                 pushed_to = ?3, pushed_at = ?2, push_written = 0,
                                 lease_until = ?4, lease_by = CASE WHEN ?4 IS NULL THEN NULL ELSE ?3 END
             WHERE seq = ?1 AND state = 'queued'",
        )?
        .execute(params![
            seq,
            tx.now.millis(),
            instance.as_str(),
            lease.map(Timestamp::millis)
        ])?;
    Ok(())
}

/// Loads what a receiver is handed of a message. Whether it is a repeat, and whether it was already
/// pushed, is for the caller to fill in.
pub fn load_delivery(tx: &Tx<'_>, seq: i64) -> Result<Delivery, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT id, sender, sender_name, sender_summary, sender_cwd, sent_at, text, reply_to
         FROM messages WHERE seq = ?1",
    )?;
    let delivery = statement.query_row([seq], |row| {
        Ok(Delivery {
            id: MessageId::from_text(row.get::<_, String>(0)?),
            from_id: PeerId::from_text(row.get::<_, String>(1)?),
            from_name: registry::short_any(row, 2, MAX_LABEL)?,
            from_summary: registry::short(row, 3, MAX_SUMMARY)?,
            from_cwd: registry::short(row, 4, MAX_PATH)?,
            sent_at: Timestamp::from_millis(row.get(5)?),
            text: row.get(6)?,
            reply_to: row.get::<_, Option<String>>(7)?.map(MessageId::from_text),
            repeat: false,
            already_pushed: false,
        })
    })?;
    Ok(delivery)
}

/// Marks a message to `peer` as read, because there is evidence. Late evidence counts too.
///
/// Returns whether the message was not read before.
pub fn mark_read(tx: &Tx<'_>, peer: &PeerId, id: &MessageId, via: Via) -> Result<bool, Fault> {
    let Some(seq) = seq_of(tx, id)? else { return Ok(false) };
    let changed = tx
        .db
        .prepare_cached(
            "UPDATE messages SET state = 'read', read_at = ?3, read_via = ?4, lease_until = NULL, lease_by = NULL
             WHERE seq = ?1 AND recipient = ?2 AND state <> 'read'",
        )?
        .execute(params![seq, peer.as_str(), tx.now.millis(), via.as_str()])?;
    failpoint!("broker.evidence.marked");
    Ok(changed > 0)
}
