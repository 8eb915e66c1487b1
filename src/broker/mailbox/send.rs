//! Sending: the message is stored and its pushes are decided in one transaction.

use std::time::Instant;

use rusqlite::{OptionalExtension as _, params};

use crate::broker::core::{Caller, Tx};
use crate::broker::live::waiters::Question;
use crate::broker::mailbox::insert::{Letter, Posted, post};
use crate::broker::mailbox::{lease, push};
use crate::broker::registry;
use crate::broker::registry::{Resolved, waiting};
use crate::broker::store::Fault;
use crate::protocol::messages::{SendMessage, Sent};
use crate::protocol::peers::PeerKind;
use crate::protocol::{ApiError, ErrorCode, MessageId, PeerId};

/// Accepts a message from `caller`.
///
/// # Errors
///
/// A refusal that says what is wrong and what to do; nothing is then stored.
pub fn send(tx: &mut Tx<'_>, caller: &Caller, request: &SendMessage) -> Result<Sent, Fault> {
    check_text(tx, &request.text)?;
    let found = registry::resolve(tx, &request.to)?;
    let to = found.id().clone();
    if caller.probe && to != caller.peer {
        let error = ApiError::new(ErrorCode::Forbidden, "a probe writes to itself only");
        return Err(error.into());
    }
    if to == caller.peer && !caller.probe {
        let error = ApiError::new(
            ErrorCode::BadRequest,
            "that is yourself: a message goes to another peer",
        );
        return Err(error.into());
    }
    if to.is_broker() {
        let error = ApiError::new(
            ErrorCode::BadRequest,
            "the broker is no peer: nobody reads answers to its notices",
        );
        return Err(error.hint("Write to the peer that the notice names.").into());
    }
    if found.kind() == PeerKind::History && !caller.probe {
        let error = ApiError::new(
            ErrorCode::NotFound,
            format!("{to} is known from an older database only and cannot receive"),
        );
        return Err(error.into());
    }
    if found.has_ended() {
        check_ended(tx, &found)?;
    }
    if let Some(id) = &request.reply_to {
        check_reply(tx, caller, id)?;
    }
    check_limits(tx, &caller.peer, &to, found.unread())?;

    let sender = registry::sender(tx, caller, request.from_session.as_deref())?;
    // Without a number it gets the next.
    let number = if caller.probe { Some(registry::next_probe_number(tx)?) } else { None };
    if let Some(original) = &request.reply_to {
        note_reply(tx, caller, original)?;
    }
    let letter = Letter {
        from: &caller.peer,
        sender: &sender,
        addressed_name: found.name_while_away.as_deref(),
        text: &request.text,
        reply_to: request.reply_to.as_ref(),
        number,
    };
    let Posted { id, seq, state, awaited } = post(tx, &letter, &to)?;
    if request.wait {
        let question = Question::new(id.clone(), seq, to);
        tx.state.live.waiters.expect_waiter(&caller.peer, question);
        tx.state.effects.expect_waiter(id.clone());
    }
    Ok(Sent {
        id,
        state,
        sent_at: tx.now,
        to: found.now(tx)?,
        awaited,
        waiting: waiting(tx, &caller.peer)?,
        from: Some(registry::party(tx, &caller.peer)?),
    })
}

/// Nobody comes back as a peer whose program has ended. Its next start there would take its mail
/// over; but where others of the program are live, none of them has.
fn check_ended(tx: &Tx<'_>, found: &Resolved) -> Result<(), Fault> {
    let live = registry::live_beside(tx, found.id())?;
    if live.is_empty() {
        return Ok(());
    }
    let mut error = ApiError::new(
        ErrorCode::NotFound,
        format!(
            "{} ({}) has ended and will not come back; nothing was sent",
            found.called(),
            found.id()
        ),
    )
    .hint("Who is live there, of the same program, stands here: write to one of those.");
    error.candidates = live;
    Err(error.into())
}

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

/// Whether one more message to `to`, which has not read `unread`, is within the limits.
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
    // The last check: a message that is refused for another reason costs no allowance.
    tx.state.rates.spend(from, to, Instant::now()).map_err(|seconds| {
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
    })
}

/// A peer answered: it has read what it answers. If only a push of this very instance can have
/// shown it, its channel is proven.
fn note_reply(tx: &mut Tx<'_>, caller: &Caller, original: &MessageId) -> Result<(), Fault> {
    let changed = lease::mark_read(tx, &caller.peer, original, "reply")?;
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
        push::prove_channel(tx, instance)?;
    }
    Ok(())
}
