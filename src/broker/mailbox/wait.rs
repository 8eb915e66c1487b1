//! Waiting: what a call that waits looks for each time the bell rings, and how it ends.
//!
//! In the very transaction in which a waiter takes something, or gives up, its hold ends and what
//! it held besides is offered the ordinary way. So nothing is held by nobody.

use rusqlite::{OptionalExtension as _, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::broker::core::idempotency::{IdempotencyKey, run_once, stored_answer};
use crate::broker::core::{Caller, Tx};
use crate::broker::live::waiters::Question;
use crate::broker::mailbox::lease::{
    TAKE_LEASE, WAIT, delivery, earlier_offers, is_awaited, mail, record, unleased,
};
use crate::broker::mailbox::take::take;
use crate::broker::mailbox::{history, push, wake};
use crate::broker::registry;
use crate::broker::store::Fault;
use crate::protocol::mailbox::{Answered, Delivery, Take, Taken};
use crate::protocol::{ApiError, ErrorCode, MessageId, PeerId};
use crate::sys::random;

/// A call that waits, as it is made and known.
#[derive(Debug, Clone)]
pub struct Call {
    pub caller: Caller,
    key: Option<IdempotencyKey>,
    /// Its number among the waiters.
    pub waiter: u64,
    /// The name of this way in, for leases and offers.
    receiver: String,
}

impl Call {
    #[must_use]
    pub fn new(caller: Caller, key: Option<IdempotencyKey>, waiter: u64) -> Self {
        let receiver = match &caller.instance {
            Some(instance) => instance.to_string(),
            None => format!("{WAIT}{}", random::instance_id()),
        };
        Self { caller, key, waiter, receiver }
    }

    /// Whether nobody waits any more: the window has gone on to another session.
    fn is_over(&self, tx: &Tx<'_>) -> bool {
        !tx.state.live.waiters.contains(self.waiter)
    }

    fn stored<T: DeserializeOwned>(&self, tx: &Tx<'_>) -> Result<Option<T>, Fault> {
        stored_answer(tx, &self.caller.receiver(), self.key.as_ref())
    }

    /// Answers, and ends the waiter with the same stroke.
    fn conclude<T, F>(&self, tx: &mut Tx<'_>, work: F) -> Result<T, Fault>
    where
        T: Serialize + DeserializeOwned,
        F: FnOnce(&mut Tx<'_>) -> Result<T, Fault>,
    {
        let answer = run_once(tx, &self.caller.receiver(), self.key.as_ref(), work)?;
        tx.state.live.waiters.remove(self.waiter);
        release(tx, &self.caller.peer)?;
        Ok(answer)
    }
}

/// Takes what is unread if any of it is news: no lease binds it, and it is no other waiter's answer.
///
/// # Errors
///
/// If the database fails.
pub fn take_news(tx: &mut Tx<'_>, call: &Call, request: &Take) -> Result<Option<Taken>, Fault> {
    if call.is_over(tx) {
        return Ok(Some(Taken::default()));
    }
    if call.stored::<Taken>(tx)?.is_some() || has_news(tx, &call.caller.peer)? {
        return take_anyway(tx, call, request).map(Some);
    }
    Ok(None)
}

/// The time is over: takes what is unread, news or not.
///
/// # Errors
///
/// If the database fails.
pub fn take_anyway(tx: &mut Tx<'_>, call: &Call, request: &Take) -> Result<Taken, Fault> {
    call.conclude(tx, |tx| take(tx, &call.caller, &call.receiver, request))
}

fn has_news(tx: &Tx<'_>, peer: &PeerId) -> Result<bool, Fault> {
    for seq in unleased(tx, peer)? {
        if !is_awaited(tx, peer, seq)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A message of the caller's own, to wait for its answer.
///
/// # Errors
///
/// [`ErrorCode::NotFound`] if the caller sent no such message.
pub fn question(tx: &Tx<'_>, caller: &Caller, id: &MessageId) -> Result<Question, Fault> {
    let found: Option<(i64, String)> = tx
        .db
        .prepare_cached("SELECT seq, recipient FROM messages WHERE id = ?1 AND sender = ?2")?
        .query_row(params![id.as_str(), caller.peer.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((seq, to)) = found else {
        return Err(ApiError::new(ErrorCode::NotFound, format!("you sent no message {id}"))
            .hint("An answer can be waited for to a message of one's own only.")
            .into());
    };
    Ok(Question::new(id.clone(), seq, PeerId::from_text(to)))
}

/// Takes the answer to `question` if it has come.
///
/// # Errors
///
/// If the database fails.
pub fn take_answer(
    tx: &mut Tx<'_>,
    call: &Call,
    question: &Question,
) -> Result<Option<Answered>, Fault> {
    if call.is_over(tx) {
        return give_up(tx, call, question).map(Some);
    }
    let found = find_answer(tx, &call.caller.peer, question)?;
    if found.is_none() && call.stored::<Answered>(tx)?.is_none() {
        return Ok(None);
    }
    conclude(tx, call, question, found).map(Some)
}

/// No answer came in time: says how the question stands.
///
/// # Errors
///
/// If the database fails.
pub fn give_up(tx: &mut Tx<'_>, call: &Call, question: &Question) -> Result<Answered, Fault> {
    conclude(tx, call, question, None)
}

fn conclude(
    tx: &mut Tx<'_>,
    call: &Call,
    question: &Question,
    answer: Option<i64>,
) -> Result<Answered, Fault> {
    call.conclude(tx, |tx| {
        wake::note_stir(tx, &call.caller.peer)?;
        let answer = answer.map(|seq| offer_answer(tx, call, seq)).transpose()?;
        let asked = history::by_id(tx, &question.id)?;
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

/// One that names the question, whoever has seen it since; else the next of its recipient that
/// names none, if nobody has it and this is the only question to that peer.
fn find_answer(tx: &Tx<'_>, me: &PeerId, question: &Question) -> Result<Option<i64>, Fault> {
    let named: Option<i64> = tx
        .db
        .prepare_cached(
            "SELECT seq FROM messages WHERE seq > ?1 AND recipient = ?2 AND reply_to = ?3
             ORDER BY seq LIMIT 1",
        )?
        .query_row(params![question.seq, me.as_str(), question.id.as_str()], |row| row.get(0))
        .optional()?;
    if named.is_some() {
        return Ok(named);
    }
    let Some(behind) = tx.state.live.waiters.unnamed_replies_after(me, question) else {
        return Ok(None);
    };
    for seq in unleased(tx, me)? {
        let mail = mail(tx, seq)?;
        if seq > behind && mail.sender == question.to && mail.reply_to.is_none() {
            return Ok(Some(seq));
        }
    }
    Ok(None)
}

fn offer_answer(tx: &Tx<'_>, call: &Call, seq: i64) -> Result<Delivery, Fault> {
    let receiver = call.receiver.as_str();
    let via = call.caller.via();
    let mut delivery = delivery(tx, seq)?;
    (delivery.already_pushed, delivery.repeat) = earlier_offers(tx, seq, receiver)?;
    record(tx, seq, receiver, via, Some(tx.now.plus(TAKE_LEASE)))?;
    Ok(delivery)
}

/// A waiter of `peer` is gone: what it held and did not take is offered the ordinary way.
///
/// # Errors
///
/// If the database fails.
pub fn release(tx: &mut Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    push::look_again(tx, peer)?;
    // Others who wait may find that it is theirs now.
    tx.state.effects.notify(peer.clone());
    Ok(())
}
