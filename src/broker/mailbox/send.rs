//! Sending: a message is checked, stored, and pushed, in one transaction.

use rusqlite::{OptionalExtension as _, params};

use crate::broker::core::idempotency::{IdempotencyKey, run_once};
use crate::broker::core::{Caller, Effect, Tx};
use crate::broker::live::waiters::{IncomingMessage, Question, WaiterChange};
use crate::broker::mailbox::lease::mark_read;
use crate::broker::mailbox::push::{NewPush, plan_push, prove_channel, push_waiting};
use crate::broker::registry;
use crate::broker::registry::{Resolved, Sender};
use crate::broker::store::Fault;
use crate::protocol::mailbox::Delivery;
use crate::protocol::messages::{MessageState, Party, SendMessage, Sent, Via};
use crate::protocol::peers::PeerKind;
use crate::protocol::{ApiError, ErrorCode, MessageId, PeerId, Timestamp};

/// Accepts a message from `caller`, unless `key` is known: then the answer is that for the message
/// which is stored already.
///
/// # Errors
///
/// As [`send`], and [`ErrorCode::KeyReused`] if the key stands for another request.
pub fn send_once(
    tx: &mut Tx<'_>,
    caller: &Caller,
    key: Option<&IdempotencyKey>,
    request: &SendMessage,
) -> Result<Sent, Fault> {
    run_once(tx, &caller.receiver(), key, |tx| send(tx, caller, request))
}

/// Accepts a message from `caller`.
///
/// # Errors
///
/// A refusal that says what is wrong and what to do; nothing is then stored.
fn send(tx: &mut Tx<'_>, caller: &Caller, request: &SendMessage) -> Result<Sent, Fault> {
    check_text(tx, &request.text)?;
    let found = registry::resolve(tx, &request.to)?;
    let to = found.id().clone();
    check_recipient(tx, caller, &found)?;
    if let Some(id) = &request.reply_to {
        check_reply(tx, caller, id)?;
    }
    check_limits(tx, &caller.peer, &to, found.unread())?;

    let sender = registry::sender(tx, caller, request.from_session.as_deref())?;
    let probe_number = if caller.probe { Some(registry::next_probe_number(tx)?) } else { None };
    if let Some(original) = &request.reply_to {
        record_reply(tx, caller, original)?;
    }
    let message = NewMessage {
        from: &caller.peer,
        sender: &sender,
        addressed_name: found.name_while_away.as_deref(),
        text: &request.text,
        reply_to: request.reply_to.as_ref(),
        probe_number,
    };
    let Inserted { id, seq, state, awaited } = insert(tx, &message, &to)?;
    if request.wait {
        let (owner, question) = (caller.peer.clone(), Question::new(id.clone(), seq, to));
        tx.state.effects.push(Effect::Waiters(WaiterChange::Expect { owner, question }));
    }
    let from = if caller.instance.is_some() {
        // A session is shown under its own name.
        Party { id: caller.peer.clone(), name: sender.name }
    } else {
        registry::party(tx, &caller.peer)?
    };
    Ok(Sent {
        id,
        state,
        sent_at: tx.now,
        to: found.refresh(tx)?,
        awaited,
        waiting: registry::waiting(tx, &caller.peer)?,
        from: Some(from),
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
    /// The sequence number of a probe's message; any other message gets the next one.
    pub probe_number: Option<i64>,
}

/// What became of a new message.
pub struct Inserted {
    pub id: MessageId,
    pub seq: i64,
    pub state: MessageState,
    /// Whether a waiting call of the recipient has reserved it.
    pub awaited: bool,
}

/// Stores a message to `to`, and pushes it if the recipient has a stream with room for it.
pub fn insert(tx: &mut Tx<'_>, message: &NewMessage<'_>, to: &PeerId) -> Result<Inserted, Fault> {
    let mut incoming = IncomingMessage {
        sender: message.from.clone(),
        reply_to: message.reply_to.cloned(),
        // Its number is not known yet, but greater than those of all questions.
        seq: message.probe_number.unwrap_or(i64::MAX),
    };
    let (awaited, ambiguous) = tx.state.with_waiters(to, |waiters| {
        (waiters.is_reserved(to, &incoming), waiters.is_ambiguous(to, &incoming))
    });
    let push = if awaited { NewPush::No } else { plan_push(tx, to) };
    let expires_at = tx.now.plus(tx.state.limits.time_to_live);
    let (id, seq) = insert_row(tx, message, to, expires_at, &push)?;
    tx.state.expiry.note_expiry(expires_at);
    if ambiguous {
        incoming.seq = seq;
        let change = WaiterChange::NoteAmbiguous { owner: to.clone(), message: incoming };
        tx.state.effects.push(Effect::Waiters(change));
    }
    let state = match push {
        NewPush::No => MessageState::Queued,
        NewPush::Now(target) => {
            tx.db
                .prepare_cached(
                    "INSERT INTO offers (message, receiver, via, offered_at) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    seq,
                    target.receiver(),
                    Via::Channel.as_str(),
                    tx.now.millis()
                ])?;
            let delivery = delivery(message, &id, tx.now);
            target.send(tx, seq, delivery);
            MessageState::Offered
        }
        NewPush::InOrder => {
            push_waiting(tx, to)?;
            state_of(tx, seq)?
        }
    };
    tx.state.effects.notify(to);
    Ok(Inserted { id, seq, state, awaited })
}

/// Inserts the row of a message, as offered if it is pushed at once. Returns its id and its sequence
/// number.
fn insert_row(
    tx: &Tx<'_>,
    message: &NewMessage<'_>,
    to: &PeerId,
    expires_at: Timestamp,
    push: &NewPush,
) -> Result<(MessageId, i64), Fault> {
    let target = match push {
        NewPush::Now(target) => Some(target),
        NewPush::InOrder | NewPush::No => None,
    };
    let state = if target.is_some() { MessageState::Offered } else { MessageState::Queued };
    let lease = target.and_then(|target| Some((target.lease(tx.now)?, target.receiver())));
    let (lease_until, lease_by) = lease.unzip();
    let mut statement = tx.db.prepare_cached(
        "INSERT INTO messages (id, sender, recipient, sender_name, sender_summary, sender_cwd,
                               addressed_name, text, reply_to, sent_at, expires_at, seq,
                               state, offered_at, offered_via, lease_until, lease_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
         ON CONFLICT (id) DO NOTHING",
    )?;
    loop {
        let id = tx.state.live.sources.ids.message(tx.now);
        let inserted = statement.execute(params![
            id.as_str(),
            message.from.as_str(),
            to.as_str(),
            message.sender.name,
            message.sender.summary,
            message.sender.cwd,
            message.addressed_name,
            message.text,
            message.reply_to.map(MessageId::as_str),
            tx.now.millis(),
            expires_at.millis(),
            message.probe_number,
            state.as_str(),
            target.map(|_| tx.now.millis()),
            target.map(|_| Via::Channel.as_str()),
            lease_until.map(Timestamp::millis),
            lease_by,
        ])?;
        // Nothing is inserted if another message has the id.
        if inserted > 0 {
            return Ok((id, tx.db.last_insert_rowid()));
        }
    }
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

fn check_recipient(tx: &Tx<'_>, caller: &Caller, found: &Resolved) -> Result<(), Fault> {
    let to = found.id();
    let error = if caller.probe {
        if *to == caller.peer {
            return Ok(());
        }
        ApiError::new(ErrorCode::Forbidden, "a probe may send to itself only")
    } else if *to == caller.peer {
        ApiError::new(
            ErrorCode::BadRequest,
            "the recipient is yourself: a message can be sent only to another peer",
        )
    } else if to.is_broker() {
        ApiError::new(
            ErrorCode::BadRequest,
            "notices from claude-peers cannot be answered: the broker is not a peer",
        )
        .hint("Write to the peer that the notice names.")
    } else if let Some(reason) = without_mailbox(found.kind()) {
        ApiError::new(ErrorCode::NotFound, format!("{to} {reason} and cannot receive messages"))
    } else if found.has_ended() {
        return check_ended(tx, found);
    } else {
        return Ok(());
    };
    Err(error.into())
}

/// Returns why peers of this kind have no mailbox; `None` if they have one.
const fn without_mailbox(kind: PeerKind) -> Option<&'static str> {
    match kind {
        PeerKind::Legacy => Some("exists only in the history of an older database"),
        PeerKind::Absorbed => Some("has become part of another peer"),
        PeerKind::Probe => Some("is a probe of `claude-peers doctor`"),
        // The broker is refused by its id, with words of its own.
        PeerKind::Session
        | PeerKind::Client
        | PeerKind::Cli
        | PeerKind::System
        | PeerKind::Unknown => None,
    }
}

/// Refuses a message to a peer that cannot return if sessions of the same program are live in its
/// place: none of them has taken its mailbox over. Where none is live, the next one will.
fn check_ended(tx: &Tx<'_>, found: &Resolved) -> Result<(), Fault> {
    let live = registry::live_in_same_place(tx, found.id())?;
    if live.is_empty() {
        return Ok(());
    }
    let mut error = ApiError::new(
        ErrorCode::NotFound,
        format!(
            "{} ({}) has ended and will not come back; nothing was sent",
            found.display_name(),
            found.id()
        ),
    )
    .hint("These sessions of the same program are live in its directory: write to one of them.");
    error.candidates = live;
    Err(error.into())
}

/// Refuses a text that is empty or too long.
pub fn check_text(tx: &Tx<'_>, text: &str) -> Result<(), ApiError> {
    if text.trim().is_empty() {
        return Err(
            ApiError::new(ErrorCode::BadRequest, "the message is empty").hint("Send some text.")
        );
    }
    let limit = tx.state.limits.max_message_bytes;
    if text.len() > limit as usize {
        return Err(ApiError::new(
            ErrorCode::TooLarge,
            format!("the message has {} bytes, {limit} are allowed", text.len()),
        )
        .hint(
            "Put the text into a file and send its path, or raise the limit max_message_bytes (CLAUDE_PEERS_MAX_MESSAGE_BYTES).",
        ));
    }
    Ok(())
}

fn check_reply(tx: &Tx<'_>, caller: &Caller, id: &MessageId) -> Result<(), Fault> {
    let recipient: Option<String> = tx
        .db
        .prepare_cached("SELECT recipient FROM messages WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?;
    if recipient.as_deref() == Some(caller.peer.as_str()) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::NotFound,
        format!("no message {id} was sent to you, so nothing can answer it"),
    )
    .hint("Give the message_id of the message that you answer, or leave reply_to out.")
    .into())
}

/// Refuses a message to `to`, which has `unread` unread messages, if it exceeds a limit, and counts it
/// against the rate limit otherwise.
pub fn check_limits(tx: &mut Tx<'_>, from: &PeerId, to: &PeerId, unread: u64) -> Result<(), Fault> {
    let max = u64::from(tx.state.limits.max_unread);
    if max > 0 && unread >= max {
        return Err(ApiError::new(
            ErrorCode::MailboxFull,
            format!("{to} has {max} unread messages already"),
        )
        .hint("Wait until it reads them, or raise the limit max_unread (CLAUDE_PEERS_MAX_UNREAD).")
        .into());
    }
    // The last check: a message that is refused for another reason does not count.
    let now = tx.state.live.sources.clock.instant();
    tx.state.rates.spend(from, to, now).map_err(|seconds| -> Fault {
        ApiError::new(
            ErrorCode::RateLimited,
            format!(
                "too many messages to {to}: {} a minute are allowed, {} at once",
                tx.state.limits.messages_per_minute, tx.state.limits.burst
            ),
        )
        .hint(format!(
            "Nothing was sent. Say more in one message, wait {seconds} s, or raise the limit messages_per_minute (CLAUDE_PEERS_MESSAGES_PER_MINUTE)."
        ))
        .into()
    })?;
    tx.state.effects.push(Effect::Spent { from: from.clone(), to: to.clone() });
    Ok(())
}

/// Records that a peer replies to a message: it has read it. If only a push of this very instance can
/// have shown the message, the channel of the instance is proven.
fn record_reply(tx: &mut Tx<'_>, caller: &Caller, original: &MessageId) -> Result<(), Fault> {
    let changed = mark_read(tx, &caller.peer, original, Via::Reply)?;
    let Some(instance) = caller.instance.as_ref().filter(|_| changed) else { return Ok(()) };
    let (pushed, other): (bool, bool) = tx
        .db
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE o.via = 'channel' AND o.receiver = ?2) > 0,
                    count(*) FILTER (WHERE o.via <> 'channel' OR o.receiver <> ?2) > 0
             FROM offers o JOIN messages m ON m.seq = o.message WHERE m.id = ?1",
        )?
        .query_row(params![original.as_str(), instance.as_str()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    if pushed && !other {
        prove_channel(tx, instance)?;
    }
    Ok(())
}
