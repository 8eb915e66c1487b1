//! Waiting calls: what they look for each time they are notified, and how they end.
//!
//! The transaction in which a waiter takes something, or gives up, also ends its reservations and
//! offers the messages that it did not take the ordinary way. So no reservation is without a waiter.

use rusqlite::{OptionalExtension as _, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::broker::core::idempotency::{IdempotencyKey, run_once, stored_answer};
use crate::broker::core::{Caller, Effect, Receiver, Tx};
use crate::broker::live::waiters::{Question, WaiterChange};
use crate::broker::mailbox::lease::{
    TAKE_LEASE, earlier_offers, is_awaited, load_delivery, load_incoming, record_offer, unleased,
};
use crate::broker::mailbox::sequence::seq_of;
use crate::broker::mailbox::take::take;
use crate::broker::mailbox::{history, push, wake};
use crate::broker::registry;
use crate::broker::sources::Ids;
use crate::broker::store::Fault;
use crate::protocol::mailbox::{Answered, Delivery, Take, Taken};
use crate::protocol::{ApiError, ErrorCode, MessageId, PeerId};

/// A waiting call.
#[derive(Debug, Clone)]
pub struct WaitingCall {
    pub caller: Caller,
    key: Option<IdempotencyKey>,
    /// Its number among the waiters.
    pub waiter: u64,
    /// The receiver that it takes messages as.
    receiver: Receiver,
}

impl WaitingCall {
    #[must_use]
    pub fn new(caller: Caller, key: Option<IdempotencyKey>, waiter: u64, ids: &Ids) -> Self {
        let receiver = match &caller.instance {
            Some(instance) => Receiver::Instance(instance.clone()),
            None => Receiver::Waiter(ids.instance()),
        };
        Self { caller, key, waiter, receiver }
    }

    /// Whether the waiter was ended meanwhile: its client process shows another session now.
    fn has_ended(&self, tx: &Tx<'_>) -> bool {
        !tx.state.with_waiters(&self.caller.peer, |waiters| waiters.contains(self.waiter))
    }

    fn stored<T: DeserializeOwned>(&self, tx: &Tx<'_>) -> Result<Option<T>, Fault> {
        stored_answer(tx, &self.caller.receiver(), self.key.as_ref())
    }

    /// Answers the call, and ends the waiter in the same transaction.
    fn finish<T, F>(&self, tx: &mut Tx<'_>, work: F) -> Result<T, Fault>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(&mut Tx<'_>) -> Result<T, Fault>,
    {
        let answer = run_once(tx, &self.caller.receiver(), self.key.as_ref(), work)?;
        tx.state.effects.push(Effect::Waiters(WaiterChange::End(self.waiter)));
        release_reservations(tx, &self.caller.peer)?;
        Ok(answer)
    }
}

/// Takes all unread messages if one of them is new: no lease binds it, and no other waiter awaits it.
pub fn take_if_new(
    tx: &mut Tx<'_>,
    call: &WaitingCall,
    request: &Take,
) -> Result<Option<Taken>, Fault> {
    if call.has_ended(tx) {
        return Ok(Some(Taken::default()));
    }
    if call.stored::<Taken>(tx)?.is_some() || has_new(tx, &call.caller.peer)? {
        return take_at_timeout(tx, call, request).map(Some);
    }
    Ok(None)
}

/// Takes all unread messages, new or not, because the time of the call is over.
pub fn take_at_timeout(
    tx: &mut Tx<'_>,
    call: &WaitingCall,
    request: &Take,
) -> Result<Taken, Fault> {
    call.finish(tx, |tx| take(tx, &call.caller, &call.receiver, request))
}

fn has_new(tx: &Tx<'_>, peer: &PeerId) -> Result<bool, Fault> {
    for seq in unleased(tx, peer)? {
        if !is_awaited(tx, peer, seq)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns a message of the caller's own, to wait for the reply to it.
///
/// # Errors
///
/// [`ErrorCode::NotFound`] if the caller sent no such message.
pub fn question(tx: &Tx<'_>, caller: &Caller, id: &MessageId) -> Result<Question, Fault> {
    let found: Option<(i64, String)> = tx
        .db
        .prepare_cached("SELECT seq, recipient FROM messages WHERE seq = ?1 AND sender = ?2")?
        .query_row(params![seq_of(tx, id)?, caller.peer.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let Some((seq, to)) = found else {
        return Err(ApiError::new(ErrorCode::NotFound, format!("you sent no message {id}"))
            .hint("You can wait only for an answer to a message that you sent.")
            .into());
    };
    Ok(Question::new(id.clone(), seq, PeerId::from_text(to)))
}

/// Takes the reply to `question` if it has come.
pub fn take_answer(
    tx: &mut Tx<'_>,
    call: &WaitingCall,
    question: &Question,
) -> Result<Option<Answered>, Fault> {
    if call.has_ended(tx) {
        return answer_timeout(tx, call, question).map(Some);
    }
    let found = find_answer(tx, &call.caller.peer, question)?;
    if found.is_none() && call.stored::<Answered>(tx)?.is_none() {
        return Ok(None);
    }
    finish(tx, call, question, found).map(Some)
}

/// Answers a call whose reply did not come in time with the state of the question.
pub fn answer_timeout(
    tx: &mut Tx<'_>,
    call: &WaitingCall,
    question: &Question,
) -> Result<Answered, Fault> {
    finish(tx, call, question, None)
}

fn finish(
    tx: &mut Tx<'_>,
    call: &WaitingCall,
    question: &Question,
    answer: Option<i64>,
) -> Result<Answered, Fault> {
    call.finish(tx, |tx| {
        wake::record_activity(tx, &call.caller.peer)?;
        let answer = answer.map(|seq| offer_answer(tx, call, seq)).transpose()?;
        let asked = history::by_seq(tx, question.seq)?;
        let (since, via) = asked.standing();
        Ok(Answered {
            answer,
            state: asked.state,
            since,
            via,
            to: registry::peer(tx, &asked.to.id)?,
            waiting: registry::waiting(tx, &call.caller.peer)?,
        })
    })
}

/// Finds the reply to a question: the first message that names it, whether or not it was offered
/// since; else the first unnamed one of the question's recipient, if no lease binds it and `me` waits
/// on no other question to that peer.
fn find_answer(tx: &Tx<'_>, me: &PeerId, question: &Question) -> Result<Option<i64>, Fault> {
    let named: Option<i64> = tx
        .db
        .prepare_cached(
            "SELECT min(seq) FROM (
                 SELECT seq, reply_to FROM messages
                 WHERE recipient = ?2 AND seq > ?1 AND state IN ('queued', 'offered')
                 UNION ALL
                 SELECT seq, reply_to FROM messages
                 WHERE recipient = ?2 AND seq > ?1 AND state NOT IN ('queued', 'offered'))
             WHERE reply_to = ?3",
        )?
        .query_row(params![question.seq, me.as_str(), question.id.as_str()], |row| row.get(0))?;
    if named.is_some() {
        return Ok(named);
    }
    let after = tx.state.with_waiters(me, |waiters| waiters.unnamed_replies_after(me, question));
    let Some(after) = after else {
        return Ok(None);
    };
    for seq in unleased(tx, me)? {
        let message = load_incoming(tx, seq)?;
        if seq > after && message.sender == question.to && message.reply_to.is_none() {
            return Ok(Some(seq));
        }
    }
    Ok(None)
}

fn offer_answer(tx: &Tx<'_>, call: &WaitingCall, seq: i64) -> Result<Delivery, Fault> {
    let receiver = &call.receiver;
    let via = call.caller.via();
    let mut delivery = load_delivery(tx, seq)?;
    (delivery.already_pushed, delivery.repeat) = earlier_offers(tx, seq, receiver)?;
    record_offer(tx, seq, receiver, via, Some(tx.now.plus(TAKE_LEASE)))?;
    Ok(delivery)
}

/// Offers messages the ordinary way that a waiter of `peer` had reserved and did not take.
pub fn release_reservations(tx: &mut Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    push::rescan(tx, peer)?;
    // Other waiters may find that a message is theirs now.
    tx.state.effects.notify(peer);
    Ok(())
}
