//! The checks that a message must pass before it is stored.

use rusqlite::params;

use crate::broker::core::rate_limit::{Exceeded, SENDERS};
use crate::broker::core::{Caller, Effect, Tx};
use crate::broker::mailbox::sequence::seq_of;
use crate::broker::registry;
use crate::broker::registry::Resolved;
use crate::broker::store::Fault;
use crate::protocol::error::Missing;
use crate::protocol::peers::PeerKind;
use crate::protocol::{ApiError, ErrorCode, MessageId, PeerId};

/// Refuses a recipient that has no mailbox, or is the caller itself.
pub fn check_recipient(tx: &Tx<'_>, caller: &Caller, found: &Resolved) -> Result<(), Fault> {
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

/// Refuses a reply to a message that was not sent to the caller. Returns its sequence number.
pub fn check_reply(tx: &Tx<'_>, caller: &Caller, id: &MessageId) -> Result<i64, Fault> {
    if let Some(seq) = seq_of(tx, id)? {
        let is_own: bool = tx
            .db
            .prepare_cached("SELECT recipient = ?2 FROM messages WHERE seq = ?1")?
            .query_row(params![seq, caller.peer.as_str()], |row| row.get(0))?;
        if is_own {
            return Ok(seq);
        }
    }
    Err(ApiError::new(
        ErrorCode::NotFound,
        format!("no message {id} was sent to you, so nothing can answer it"),
    )
    .missing(Missing::Message)
    .into())
}

/// From so many unread messages on that a mailbox may have, one sender has a share of them. A smaller
/// one is too small for shares.
const SHARED_FROM: u64 = 100;

/// Which part of a mailbox one sender may fill: one in so many.
const SHARE_PART: u64 = 2;

/// Which part of a mailbox is kept for those that have few messages in it: one in so many.
const KEPT_PART: u64 = 10;

/// How many unread messages are few.
const FEW: u64 = 5;

/// Refuses a message to `to`, which has `unread` unread messages, if it exceeds a limit, and counts it
/// against the rate limit otherwise.
pub fn check_limits(tx: &mut Tx<'_>, from: &PeerId, to: &PeerId, unread: u64) -> Result<(), Fault> {
    let max = u64::from(tx.state.limits.max_unread);
    if max > 0 && unread >= max {
        return Err(ApiError::new(
            ErrorCode::MailboxFull,
            format!("{} has {max} unread messages already", registry::display_name(tx, to)?),
        )
        .hint("Wait until it reads them, or raise the limit max_unread (CLAUDE_PEERS_MAX_UNREAD).")
        .into());
    }
    if max >= SHARED_FROM && unread >= max / SHARE_PART {
        check_share(tx, from, to, unread, max)?;
    }
    // The last check: a message that is refused for another reason does not count.
    let now = tx.state.live.sources.clock.instant();
    tx.state.rates.spend(from, to, now).or_else(|exceeded| {
        let refused: Result<(), Fault> =
            Err(rate_refusal(tx, &registry::display_name(tx, to)?, exceeded));
        refused
    })?;
    tx.state.effects.push(Effect::Spent { from: from.clone(), to: to.clone() });
    Ok(())
}

/// Refuses a message to a mailbox that is half full or more, if its sender has its share of it already.
fn check_share(
    tx: &Tx<'_>,
    from: &PeerId,
    to: &PeerId,
    unread: u64,
    max: u64,
) -> Result<(), Fault> {
    let share = if unread >= max - max / KEPT_PART { FEW } else { max / SHARE_PART };
    let own: i64 = tx
        .db
        .prepare_cached(
            "SELECT count(*) FROM messages INDEXED BY messages_unread
             WHERE recipient = ?1 AND state IN ('queued', 'offered') AND sender = ?2",
        )?
        .query_row(params![to.as_str(), from.as_str()], |row| row.get(0))?;
    if own.unsigned_abs() < share {
        return Ok(());
    }
    let error = ApiError::new(
        ErrorCode::MailboxFull,
        format!(
            "{} has {unread} unread messages, {own} of them from you; the rest of its mailbox is for others",
            registry::display_name(tx, to)?
        ),
    );
    Err(error
        .hint("Nothing was sent. Wait until it reads them, or raise the limit max_unread (CLAUDE_PEERS_MAX_UNREAD): one sender may fill half of it.")
        .into())
}

fn rate_refusal(tx: &Tx<'_>, to: &str, exceeded: Exceeded) -> Fault {
    let (rate, burst) = (tx.state.limits.messages_per_minute, tx.state.limits.burst);
    let (message, seconds) = match exceeded {
        Exceeded::Pair(seconds) => (
            format!("too many messages to {to}: {rate} a minute are allowed, {burst} at once"),
            seconds,
        ),
        Exceeded::Recipient(seconds) => (
            format!(
                "too many messages to {to} from all peers together: {} a minute are allowed",
                u64::from(rate) * u64::from(SENDERS)
            ),
            seconds,
        ),
    };
    ApiError::new(ErrorCode::RateLimited, message)
        .hint(format!(
            "Nothing was sent. Say more in one message, wait {seconds} s, or raise the limit messages_per_minute (CLAUDE_PEERS_MESSAGES_PER_MINUTE)."
        ))
        .into()
}
