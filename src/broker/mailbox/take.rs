//! Taking on request, confirmation of what was taken, and the receipt of pushes.

use rusqlite::params;

use crate::broker::core::{Caller, Receiver, Tx};
use crate::broker::mailbox::lease::{
    TAKE_LEASE, earlier_offers, is_awaited, load_delivery, mark_read, record_offer,
};
use crate::broker::mailbox::sequence::seq_of;
use crate::broker::mailbox::{push, wake};
use crate::broker::registry;
use crate::broker::store::Fault;
use crate::protocol::mailbox::{Confirm, Noted, OwnUnread, Take, Taken, Written};
use crate::protocol::messages::{MessageState, Via};
use crate::protocol::{InstanceId, MessageId, PeerId, Timestamp};
use crate::text::message;

/// How many of the caller's own unread messages are named.
const OWN_UNREAD: usize = 10;

/// Offers the caller all unread messages, oldest first.
///
/// An explicit request overrides the lease of a push or a hook: what a channel pushed is given
/// again, marked as such. Only what another waiting call waits for, or took, is left to that call.
pub fn take(
    tx: &mut Tx<'_>,
    caller: &Caller,
    receiver: &Receiver,
    request: &Take,
) -> Result<Taken, Fault> {
    wake::record_activity(tx, &caller.peer)?;
    let via = caller.via();
    let unread = takeable(tx, &caller.peer, receiver)?;
    let budget = if request.max_bytes == 0 { u64::MAX } else { request.max_bytes };
    let mut used = 0u64;
    let mut messages = Vec::new();
    for seq in &unread {
        let mut delivery = load_delivery(tx, *seq)?;
        used = used.saturating_add(message::written_len(&delivery, tx.now) as u64);
        if used > budget && !messages.is_empty() {
            break;
        }
        (delivery.already_pushed, delivery.repeat) = earlier_offers(tx, *seq, receiver)?;
        record_offer(tx, *seq, receiver, via, Some(tx.now.plus(TAKE_LEASE)))?;
        failpoint!("broker.offer.taken");
        messages.push(delivery);
    }
    let (own_unread, own_unread_total) = own_unread(tx, &caller.peer)?;
    let remaining = (unread.len() - messages.len()) as u64;
    let owner = Some(registry::party(tx, &caller.peer)?);
    Ok(Taken { messages, remaining, own_unread, own_unread_total, owner })
}

/// Returns the unread messages that `receiver` may take, oldest first.
fn takeable(tx: &Tx<'_>, peer: &PeerId, receiver: &Receiver) -> Result<Vec<i64>, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT seq, CASE WHEN lease_until > ?2 THEN lease_by END
         FROM messages WHERE recipient = ?1 AND state IN ('queued', 'offered') ORDER BY seq",
    )?;
    let mut rows = statement.query(params![peer.as_str(), tx.now.millis()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (seq, leased_by): (i64, Option<Receiver>) = (row.get(0)?, row.get(1)?);
        let is_of_another_call =
            leased_by.is_some_and(|by| matches!(by, Receiver::Waiter(_)) && by != *receiver);
        if !is_of_another_call && !is_awaited(tx, peer, seq)? {
            found.push(seq);
        }
    }
    Ok(found)
}

/// Returns the newest of the peer's own messages that are unread, and the number of all of them.
fn own_unread(tx: &Tx<'_>, peer: &PeerId) -> Result<(Vec<OwnUnread>, u64), Fault> {
    let mut own = tx.state.sent_unread.of(tx.db, peer)?;
    own.reverse();
    let newest = own.iter().take(OWN_UNREAD).map(|seq| load_own_unread(tx, *seq));
    Ok((newest.collect::<Result<_, Fault>>()?, own.len() as u64))
}

fn load_own_unread(tx: &Tx<'_>, seq: i64) -> Result<OwnUnread, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT m.id, m.recipient, p.name, m.sent_at, m.state, m.offered_at, m.offered_via
         FROM messages m JOIN peers p ON p.id = m.recipient WHERE m.seq = ?1",
    )?;
    Ok(statement.query_row([seq], |row| {
        Ok(OwnUnread {
            id: MessageId::from_text(row.get::<_, String>(0)?),
            to_id: PeerId::from_text(row.get::<_, String>(1)?),
            to_name: row.get(2)?,
            sent_at: Timestamp::from_millis(row.get(3)?),
            state: MessageState::from_word(&row.get::<_, String>(4)?),
            offered_at: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_millis),
            offered_via: row.get::<_, Option<String>>(6)?.map(|word| Via::from_word(&word)),
        })
    })?)
}

/// Marks messages as read that stood in a result that was sent to the model, or on the person's
/// terminal.
pub fn confirm(tx: &mut Tx<'_>, caller: &Caller, request: &Confirm) -> Result<Noted, Fault> {
    let via = caller.via();
    let mut noted = 0;
    for id in &request.ids {
        noted += u64::from(mark_read(tx, &caller.peer, id, via)?);
    }
    Ok(Noted { noted })
}

/// Records the receipt of pushes: a server has written them to its client.
///
/// That is an offer and never evidence. It makes room in the push window for the next messages.
pub fn pushes_written(
    tx: &mut Tx<'_>,
    caller: &Caller,
    instance: &InstanceId,
    request: &Written,
) -> Result<Noted, Fault> {
    let mut noted = 0;
    for id in &request.ids {
        noted += written(tx, &caller.peer, instance, id)?;
    }
    failpoint!("broker.receipt.stored");
    push::push_waiting(tx, &caller.peer)?;
    Ok(Noted { noted })
}

/// Records the receipt of one push of a message to `peer`. Returns how many offers were not reported as
/// written before.
fn written(
    tx: &mut Tx<'_>,
    peer: &PeerId,
    instance: &InstanceId,
    id: &MessageId,
) -> Result<u64, Fault> {
    if let Some(seq) = id.seq()
        && first_push_written(tx, peer, instance, seq, id)? > 0
    {
        push::record_written(tx, instance, seq);
        return Ok(1);
    }
    // It was reported before, or pushed again, or is a message of before.
    let Some(seq) = seq_of(tx, id)? else { return Ok(0) };
    let is_own: bool = tx
        .db
        .prepare_cached("SELECT recipient = ?2 FROM messages WHERE seq = ?1")?
        .query_row(params![seq, peer.as_str()], |row| row.get(0))?;
    if !is_own {
        return Ok(0);
    }
    let first = first_push_written(tx, peer, instance, seq, id)?;
    let later = tx
        .db
        .prepare_cached(
            "UPDATE offers SET written_at = ?3
             WHERE message = ?1 AND receiver = ?2 AND via = 'channel' AND written_at IS NULL",
        )?
        .execute(params![seq, instance.as_str(), tx.now.millis()])?;
    push::record_written(tx, instance, seq);
    Ok((first + later) as u64)
}

/// Records the receipt of the push that stands in the message's own row. Returns 0 if that was another
/// push, or its receipt is recorded already.
fn first_push_written(
    tx: &Tx<'_>,
    peer: &PeerId,
    instance: &InstanceId,
    seq: i64,
    id: &MessageId,
) -> Result<usize, Fault> {
    Ok(tx
        .db
        .prepare_cached(
            "UPDATE messages SET push_written = 1
             WHERE seq = ?1 AND id = ?2 AND recipient = ?3 AND pushed_to = ?4 AND NOT push_written",
        )?
        .execute(params![seq, id.as_str(), peer.as_str(), instance.as_str()])?)
}
