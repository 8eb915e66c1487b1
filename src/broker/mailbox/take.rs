//! Receiving by asking: take, confirm, and the receipt of pushes.

use rusqlite::{OptionalExtension as _, params};

use crate::broker::core::{Caller, Tx};
use crate::broker::mailbox::lease::{
    TAKE_LEASE, WAIT, delivery, earlier_offers, is_awaited, mark_read, record,
};
use crate::broker::mailbox::{push, wake};
use crate::broker::registry;
use crate::broker::store::Fault;
use crate::protocol::mailbox::{Confirm, Noted, OwnUnread, Take, Taken, Written};
use crate::protocol::messages::{MessageState, Via};
use crate::protocol::{InstanceId, MessageId, PeerId, Timestamp};

/// How many of the caller's own unread messages are named.
const OWN_UNREAD: usize = 10;

/// Offers the caller all that is unread, oldest first.
///
/// An explicit question wins over any lease: what a channel pushed is given again, marked. Only
/// what another call waits for, or took after it waited, is left to that one.
///
/// # Errors
///
/// If the database fails.
pub fn take(
    tx: &mut Tx<'_>,
    caller: &Caller,
    receiver: &str,
    request: &Take,
) -> Result<Taken, Fault> {
    wake::note_stir(tx, &caller.peer)?;
    let via = caller.via();
    let mut unread: Vec<(i64, i64)> = tx
        .db
        .prepare_cached(
            "SELECT seq, length(CAST(text AS BLOB)) FROM messages
             WHERE recipient = ?1 AND state IN ('queued', 'offered')
               AND (lease_until IS NULL OR lease_until <= ?2
                    OR lease_by NOT LIKE ?3 || '%' OR lease_by = ?4)
             ORDER BY seq",
        )?
        .query_map(params![caller.peer.as_str(), tx.now.millis(), WAIT, receiver], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    if tx.state.live.waiters.has_any_of(&caller.peer) {
        let mut free = Vec::new();
        for (seq, size) in unread {
            if !is_awaited(tx, &caller.peer, seq)? {
                free.push((seq, size));
            }
        }
        unread = free;
    }
    let budget = i64::try_from(request.max_bytes).ok().filter(|b| *b > 0).unwrap_or(i64::MAX);
    let mut used = 0i64;
    let mut messages = Vec::new();
    for (seq, size) in &unread {
        used = used.saturating_add(*size);
        if used > budget && !messages.is_empty() {
            break;
        }
        let mut delivery = delivery(tx, *seq)?;
        (delivery.already_pushed, delivery.repeat) = earlier_offers(tx, *seq, receiver)?;
        record(tx, *seq, receiver, via, Some(tx.now.plus(TAKE_LEASE)))?;
        messages.push(delivery);
    }
    let (own_unread, own_unread_total) = own_unread(tx, &caller.peer)?;
    let remaining = (unread.len() - messages.len()) as u64;
    let owner = Some(registry::party(tx, &caller.peer)?);
    Ok(Taken { messages, remaining, own_unread, own_unread_total, owner })
}

fn own_unread(tx: &Tx<'_>, peer: &PeerId) -> Result<(Vec<OwnUnread>, u64), Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT m.id, m.recipient, p.name, m.sent_at, m.state, m.offered_at, m.offered_via
         FROM messages m INDEXED BY messages_unread JOIN peers p ON p.id = m.recipient
         WHERE m.sender = ?1 AND m.state IN ('queued', 'offered') ORDER BY m.seq DESC",
    )?;
    let mut rows = statement.query([peer.as_str()])?;
    let mut newest = Vec::new();
    let mut total = 0;
    while let Some(row) = rows.next()? {
        total += 1;
        if newest.len() < OWN_UNREAD {
            newest.push(OwnUnread {
                id: MessageId::from_text(row.get::<_, String>(0)?),
                to_id: PeerId::from_text(row.get::<_, String>(1)?),
                to_name: row.get(2)?,
                sent_at: Timestamp::from_millis(row.get(3)?),
                state: MessageState::from_word(&row.get::<_, String>(4)?),
                offered_at: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_millis),
                offered_via: row.get::<_, Option<String>>(6)?.map(|word| Via::from_word(&word)),
            });
        }
    }
    Ok((newest, total))
}

/// These stood in a result that went out to the model, or on the person's terminal: read.
///
/// # Errors
///
/// If the database fails.
pub fn confirm(tx: &mut Tx<'_>, caller: &Caller, request: &Confirm) -> Result<Noted, Fault> {
    let via = caller.via();
    let mut noted = 0;
    for id in &request.ids {
        noted += u64::from(mark_read(tx, &caller.peer, id, via)?);
    }
    Ok(Noted { noted })
}

/// A receiver has written these pushes to its client. That is an offer, never a read; it makes
/// room in its window for the next.
///
/// # Errors
///
/// If the database fails.
pub fn written(
    tx: &mut Tx<'_>,
    caller: &Caller,
    instance: &InstanceId,
    request: &Written,
) -> Result<Noted, Fault> {
    let mut noted = 0;
    for id in &request.ids {
        let seq: Option<i64> = tx
            .db
            .prepare_cached("SELECT seq FROM messages WHERE id = ?1 AND recipient = ?2")?
            .query_row(params![id.as_str(), caller.peer.as_str()], |row| row.get(0))
            .optional()?;
        let Some(seq) = seq else { continue };
        noted += tx
            .db
            .prepare_cached(
                "UPDATE offers SET written_at = ?3
                 WHERE message = ?1 AND receiver = ?2 AND via = 'channel' AND written_at IS NULL",
            )?
            .execute(params![seq, instance.as_str(), tx.now.millis()])?;
        if let Some(stream) = tx.state.live.presence.lock().stream_mut(instance) {
            stream.in_flight.remove(&seq);
        }
    }
    push::push_waiting(tx, &caller.peer)?;
    Ok(Noted { noted: noted as u64 })
}
