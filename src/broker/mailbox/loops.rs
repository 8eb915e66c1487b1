//! Loops: what the loop guard refuses, and what both sessions are told when it stops them.

use crate::broker::core::loop_guard::{LoopEvent, Verdict};
use crate::broker::core::{Caller, Effect, Tx};
use crate::broker::registry::Resolved;
use crate::broker::store::Fault;
use crate::protocol::messages::Party;
use crate::protocol::{ApiError, ErrorCode, PeerId};

/// Refuses a message of a session that goes round in circles with its recipient.
///
/// Returns how many messages their exchange has with this one, if it is the last.
pub fn check_loop(
    tx: &Tx<'_>,
    caller: &Caller,
    to: &Resolved,
    text: &str,
) -> Result<Option<u32>, Fault> {
    if !is_session(caller) {
        return Ok(None);
    }
    let now = tx.state.live.sources.clock.instant();
    let limit = limit(tx);
    let (message, hint) = match tx.state.loops.judge(&caller.peer, to.id(), text.len(), limit, now)
    {
        Verdict::Accepted => return Ok(None),
        Verdict::Last(count) => return Ok(Some(count)),
        Verdict::Slowed(seconds) => (
            format!(
                "this exchange with {} looks like a loop: many short messages in turn, and no person took part",
                to.id()
            ),
            format!(
                "Nothing was sent. If nothing is left to do, stop here and do not answer. Otherwise do the work first, or wait {seconds} s."
            ),
        ),
        Verdict::Stopped(count) => (
            format!(
                "this exchange with {} was stopped after {count} short messages in turn, in which no person took part",
                to.id()
            ),
            "Nothing was sent. Stop here, and tell your user that claude-peers stopped a loop. It goes on once a person writes to one of the two sessions, or after 10 minutes of silence. The limit is loop_messages (CLAUDE_PEERS_LOOP_MESSAGES; 0 turns it off).".to_owned(),
        ),
    };
    Err(ApiError::new(ErrorCode::RateLimited, message).hint(hint).into())
}

/// Takes account of a message once it is stored.
pub fn note_exchange(tx: &mut Tx<'_>, caller: &Caller, to: &PeerId, text: &str) {
    let event = if is_session(caller) {
        LoopEvent::Sent { from: caller.peer.clone(), to: to.clone(), bytes: text.len() }
    } else if caller.probe {
        return;
    } else {
        LoopEvent::PersonTookPart(to.clone())
    };
    tx.state.effects.push(Effect::Loop(event));
}

/// Returns what a session is told when its exchange with another one is stopped.
pub fn stopped(with: &Party, count: u32) -> String {
    let with = match &with.name {
        Some(name) => format!("{name} ({})", with.id),
        None => with.id.to_string(),
    };
    format!(
        "claude-peers stopped your exchange with {with}: {count} short messages in turn, in which no person took part. Do not answer. Tell your user that the two sessions went round in circles, and what is left to decide. It goes on once a person writes to one of the two sessions, or after 10 minutes of silence."
    )
}

/// Returns how many messages an exchange may have. Without rate limits there is no guard, either.
fn limit(tx: &Tx<'_>) -> u32 {
    match tx.state.limits.messages_per_minute {
        0 => 0,
        _ => tx.state.limits.loop_messages,
    }
}

/// Whether a session sends, by its server or by a command line in its shell, and not a person.
fn is_session(caller: &Caller) -> bool {
    (caller.instance.is_some() || caller.by_command_line) && !caller.probe
}
