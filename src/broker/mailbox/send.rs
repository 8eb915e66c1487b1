//! Sending: a message is checked, stored, and pushed, in one transaction.

use std::collections::HashMap;

use rusqlite::params;

use crate::broker::core::idempotency::{IdempotencyKey, Known, known, read_answer};
use crate::broker::core::{Caller, Effect, Receiver, Tx};
use crate::broker::live::waiters::{IncomingMessage, Question, WaiterChange};
use crate::broker::mailbox::checks::{check_limits, check_recipient, check_reply, check_text};
use crate::broker::mailbox::lease::{is_reserved, mark_read};
use crate::broker::mailbox::loops;
use crate::broker::mailbox::loops::{check_loop, note_exchange};
use crate::broker::mailbox::push::{NewPush, plan_push, prove_channel, push_waiting};
use crate::broker::mailbox::sequence::next_seq;
use crate::broker::registry;
use crate::broker::registry::{Own, Resolved, Sender};
use crate::broker::store::Fault;
use crate::protocol::mailbox::Delivery;
use crate::protocol::messages::{MessageState, SendMessage, Sent, Via};
use crate::protocol::{MessageId, PeerId, Timestamp};

/// The broker's name as a sender. No session can have it, because of the space.
const NAME: &str = "claude-peers broker";

/// What is known of a caller and its recipients while it sends several messages in one transaction, so
/// that it is read once.
#[derive(Default)]
pub struct Sending {
    own: Option<Own>,
    /// The recipients by the words that mean them.
    recipients: HashMap<String, Resolved>,
}

/// Accepts a message from `caller`, unless `key` is known: then the answer is that for the message
/// which is stored already, as it stands now.
///
/// # Errors
///
/// A refusal that says what is wrong and what to do; nothing is then stored.
/// `ErrorCode::KeyReused` if the key stands for another request.
pub fn send_once(
    tx: &mut Tx<'_>,
    caller: &Caller,
    key: Option<&IdempotencyKey>,
    request: &SendMessage,
) -> Result<Sent, Fault> {
    send_one_of(tx, caller, key, request, &mut Sending::default())
}

/// Does the same for one of several messages. If this message is undone, `sending` holds no longer.
pub fn send_one_of(
    tx: &mut Tx<'_>,
    caller: &Caller,
    key: Option<&IdempotencyKey>,
    request: &SendMessage,
    sending: &mut Sending,
) -> Result<Sent, Fault> {
    let key = key.map(|key| (caller.receiver(), key));
    if let Some((receiver, key)) = &key {
        match known(tx, receiver, key)? {
            Some(Known::Message(seq)) => return sent_before(tx, caller, seq),
            Some(Known::Answer(body)) => return read_answer(&body),
            None => {}
        }
    }
    check_text(tx, &request.text)?;
    let mut found = match sending.recipients.remove(&request.to) {
        Some(found) => found,
        None => registry::resolve(tx, &request.to)?,
    };
    check_recipient(tx, caller, &found)?;
    let original = match &request.reply_to {
        Some(id) => Some(check_reply(tx, caller, id)?),
        None => None,
    };
    let last = check_loop(tx, caller, &found, &request.text)?;
    check_limits(tx, &caller.peer, found.id(), found.unread().total)?;

    if let (Some(id), Some(seq)) = (&request.reply_to, original) {
        record_reply(tx, caller, id, seq)?;
        // What it has read does not wait for it any more.
        sending.own = None;
    }
    let own = match sending.own.take().filter(|_| request.from_session.is_none()) {
        Some(own) => own,
        None => registry::sender(tx, caller, request.from_session.as_deref())?,
    };
    let message = NewMessage {
        from: &caller.peer,
        sender: &own.shown,
        addressed_name: found.name_while_away.as_deref(),
        text: &request.text,
        reply_to: request.reply_to.as_ref(),
        is_probe: caller.probe,
        key: key.as_ref().map(|(receiver, key)| (receiver, *key)),
    };
    let Inserted { id, seq, state, awaited, push } = insert(tx, &message, found.id())?;
    let mut waiting = own.waiting;
    if caller.probe {
        found.refresh(tx)?;
        waiting = registry::waiting(tx, &caller.peer)?;
    } else {
        found.add_message(tx, seq, push == PushKind::Leased)?;
        if push == PushKind::Others {
            found.refresh(tx)?;
        }
    }
    note_exchange(tx, caller, found.id(), &request.text);
    if let Some(count) = last {
        tell_of_loop(tx, &caller.peer, found.id(), count)?;
        found.refresh(tx)?;
        waiting = registry::waiting(tx, &caller.peer)?;
    }
    if request.wait {
        let question = Question::new(id.clone(), seq, found.id().clone());
        let owner = caller.peer.clone();
        tx.state.effects.push(Effect::Waiters(WaiterChange::Expect { owner, question }));
    }
    let (to, from) = (found.peer(), Some(own.party.clone()));
    if !caller.probe {
        // Another word may mean the same peer.
        sending.recipients.retain(|_, other| other.id() != found.id());
        sending.recipients.insert(request.to.clone(), found);
        sending.own = Some(own).filter(|_| request.from_session.is_none());
    }
    Ok(Sent { id, state, sent_at: tx.now, to, awaited, waiting, from })
}

/// Returns the answer to a repeated request, whose message is stored already.
fn sent_before(tx: &Tx<'_>, caller: &Caller, seq: i64) -> Result<Sent, Fault> {
    let (id, state, sent_at, to): (String, String, i64, String) = tx
        .db
        .prepare_cached("SELECT id, state, sent_at, recipient FROM messages WHERE seq = ?1")?
        .query_row([seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let to = PeerId::from_text(to);
    let state = MessageState::from_word(&state);
    Ok(Sent {
        id: MessageId::from_text(id),
        state,
        sent_at: Timestamp::from_millis(sent_at),
        awaited: state == MessageState::Queued && is_reserved(tx, &to, seq)?,
        to: registry::peer(tx, &to)?,
        waiting: registry::waiting(tx, &caller.peer)?,
        from: Some(registry::party(tx, &caller.peer)?),
    })
}

/// A message that has passed all checks and is to be stored.
pub struct NewMessage<'a> {
    pub from: &'a PeerId,
    /// How the sender is shown.
    pub sender: &'a Sender,
    /// The name that it was addressed to while that name's owner is away.
    pub addressed_name: Option<&'a str>,
    pub text: &'a str,
    pub reply_to: Option<&'a MessageId>,
    /// Whether it is a probe's, whose messages have numbers of their own.
    pub is_probe: bool,
    /// The caller and the idempotency key of the request.
    pub key: Option<(&'a Receiver, &'a IdempotencyKey)>,
}

/// What became of a new message.
pub struct Inserted {
    pub id: MessageId,
    pub seq: i64,
    pub state: MessageState,
    /// Whether a waiting call of the recipient has reserved it.
    pub awaited: bool,
    pub push: PushKind,
}

/// What was pushed with a new message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushKind {
    /// At most this message, without a lease.
    Unleased,
    /// This message, with a lease.
    Leased,
    /// Others that waited.
    Others,
}

/// Stores a message to `to`, and pushes it if the recipient has a stream with room for it.
pub fn insert(tx: &mut Tx<'_>, message: &NewMessage<'_>, to: &PeerId) -> Result<Inserted, Fault> {
    let seq = if message.is_probe { registry::next_probe_number(tx)? } else { next_seq(tx)? };
    let incoming =
        IncomingMessage { sender: message.from.clone(), reply_to: message.reply_to.cloned(), seq };
    let (awaited, ambiguous) = tx.state.with_waiters(to, |waiters| {
        (waiters.is_reserved(to, &incoming), waiters.is_ambiguous(to, &incoming))
    });
    let push = if awaited { NewPush::No } else { plan_push(tx, to) };
    let expires_at = tx.now.plus(tx.state.limits.time_to_live);
    let id = insert_row(tx, message, seq, to, expires_at, &push)?;
    tx.state.expiry.note_expiry(expires_at);
    if !message.from.is_broker() {
        tx.state.sent_unread.add(tx.db, message.from, seq)?;
    }
    if ambiguous {
        let change = WaiterChange::NoteAmbiguous { owner: to.clone(), message: incoming };
        tx.state.effects.push(Effect::Waiters(change));
    }
    let (state, push) = match push {
        NewPush::No => (MessageState::Queued, PushKind::Unleased),
        NewPush::Now(target) => {
            let lease = target.lease(tx.now);
            let delivery = delivery(message, &id, tx.now);
            target.send(tx, seq, delivery);
            let kind = if lease.is_some() { PushKind::Leased } else { PushKind::Unleased };
            (MessageState::Offered, kind)
        }
        NewPush::InOrder => {
            push_waiting(tx, to)?;
            (state_of(tx, seq)?, PushKind::Others)
        }
    };
    tx.state.effects.notify(to);
    failpoint!("broker.send.inserted");
    Ok(Inserted { id, seq, state, awaited, push })
}

/// Stores one notice to a peer.
pub fn insert_notice(tx: &mut Tx<'_>, to: &PeerId, text: &str) -> Result<MessageId, Fault> {
    let sender = Sender { name: Some(NAME.to_owned()), summary: String::new(), cwd: String::new() };
    let message = NewMessage {
        from: &PeerId::broker(),
        sender: &sender,
        addressed_name: None,
        text,
        reply_to: None,
        is_probe: false,
        key: None,
    };
    Ok(insert(tx, &message, to)?.id)
}

/// Tells both sessions that their exchange is stopped.
fn tell_of_loop(tx: &mut Tx<'_>, one: &PeerId, other: &PeerId, count: u32) -> Result<(), Fault> {
    tracing::warn!(event = "limit_reached", peer = %one, "stopped a loop with {other}: {count} short messages in turn");
    for (to, with) in [(other, one), (one, other)] {
        let text = loops::stopped(&registry::party(tx, with)?, count);
        insert_notice(tx, to, &text)?;
    }
    Ok(())
}

/// Inserts the row of a message, as offered if it is pushed at once. Returns its id.
fn insert_row(
    tx: &Tx<'_>,
    message: &NewMessage<'_>,
    seq: i64,
    to: &PeerId,
    expires_at: Timestamp,
    push: &NewPush,
) -> Result<MessageId, Fault> {
    let target = match push {
        NewPush::Now(target) => Some(target),
        NewPush::InOrder | NewPush::No => None,
    };
    let state = if target.is_some() { MessageState::Offered } else { MessageState::Queued };
    let instance = target.map(|target| target.instance.as_str());
    let lease = target.and_then(|target| target.lease(tx.now));
    let now = tx.now.millis();
    let (key, fingerprint) = message.key.map(|(_, key)| key.columns()).unzip();
    let id = tx.state.live.sources.ids.message(seq);
    tx.db
        .prepare_cached(
            "INSERT INTO messages (seq, id, numbered, sender, recipient, sender_name, sender_summary,
                                   sender_cwd, addressed_name, text, reply_to, sent_at, expires_at,
                                   state, offered_at, offered_via, lease_until, lease_by,
                                   pushed_to, pushed_at, key, key_caller, fingerprint)
             VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                     ?18, ?14, ?19, ?20, ?21)",
        )?
        .execute(params![
            seq,
            id.as_str(),
            message.from.as_str(),
            to.as_str(),
            message.sender.name,
            message.sender.summary,
            message.sender.cwd,
            message.addressed_name,
            message.text,
            message.reply_to.map(MessageId::as_str),
            now,
            expires_at.millis(),
            state.as_str(),
            instance.map(|_| now),
            instance.map(|_| Via::Channel.as_str()),
            lease.map(Timestamp::millis),
            lease.and(instance),
            instance,
            key,
            message.key.map(|(caller, _)| caller),
            fingerprint,
        ])?;
    Ok(id)
}

fn delivery(message: &NewMessage<'_>, id: &MessageId, now: Timestamp) -> Delivery {
    Delivery {
        id: id.clone(),
        from_id: message.from.clone(),
        from_name: message.sender.name.clone(),
        from_summary: message.sender.summary.clone(),
        from_cwd: message.sender.cwd.clone(),
        sent_at: now,
        text: message.text.to_owned(),
        reply_to: message.reply_to.cloned(),
        repeat: false,
        already_pushed: false,
    }
}

fn state_of(tx: &Tx<'_>, seq: i64) -> Result<MessageState, Fault> {
    let state: String = tx
        .db
        .prepare_cached("SELECT state FROM messages WHERE seq = ?1")?
        .query_row([seq], |row| row.get(0))?;
    Ok(MessageState::from_word(&state))
}

/// Records that a peer replies to a message: it has read it. If only a push of this very instance can
/// have shown the message, the channel of the instance is proven.
fn record_reply(
    tx: &mut Tx<'_>,
    caller: &Caller,
    original: &MessageId,
    seq: i64,
) -> Result<(), Fault> {
    let changed = mark_read(tx, &caller.peer, original, Via::Reply)?;
    let Some(instance) = caller.instance.as_ref().filter(|_| changed) else { return Ok(()) };
    let (pushed, other): (bool, bool) = tx
        .db
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE via = 'channel' AND receiver = ?2) > 0,
                    count(*) FILTER (WHERE via <> 'channel' OR receiver <> ?2) > 0
             FROM all_offers WHERE message = ?1",
        )?
        .query_row(params![seq, instance.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if pushed && !other {
        prove_channel(tx, instance)?;
    }
    Ok(())
}
