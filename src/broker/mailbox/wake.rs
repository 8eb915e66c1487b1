//! When a session is to be woken: it is idle, and messages wait for which it was not woken yet.
//!
//! A session at work sees its messages by its next tool call or hook, and a push over a proven channel
//! wakes by itself. Messages that come together cause one wake, and until the session is active again
//! the next one is put off. A wake may have no result, because the turn that it began failed. So it is
//! repeated while messages are unread, with a growing pause: a session that does not read must not
//! be woken for ever.

use std::time::Duration;

use rusqlite::params;

use crate::broker::core::loop_guard::LoopEvent;
use crate::broker::core::{Effect, TurnChange, Tx};
use crate::broker::mailbox::lease;
use crate::broker::store::Fault;
use crate::protocol::PeerId;
use crate::protocol::peers::Channel;
use crate::protocol::wake::{IdleCheck, IdleCheckResult, WakeGiven, WakeReason};

/// How long new messages wait before they cause a wake, so that messages that come together cause one,
/// and for the hook of a turn that is just ending.
const GATHER_TIME: Duration = Duration::from_secs(1);

/// The same for a peer with a presumed channel: the push may have woken it, and evidence of that would
/// come within this time.
const GATHER_TIME_PRESUMED: Duration = Duration::from_secs(5);

/// The pause before a session is woken again: for the same messages, or, if it was not active since
/// the last wake, for newer ones. For the same messages it doubles with each wake.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// The longest pause while the model cannot be reached: a turn that fails costs nothing, and a usage
/// limit ends at some time. Otherwise only the expiry of the messages bounds the pause.
const MAX_REPEAT_WHILE_FAILING: Duration = Duration::from_secs(30 * 60);

/// How long the hook or server that is to wake a session may take to report that it did. After that
/// the wake is handed out again.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(3);

/// When to wake a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WakeTime {
    Now(WakeReason),
    /// After the turn that seems to be under way.
    AfterTurn {
        look: IdleCheck,
        /// The time until an idle check makes sense.
        settles_in: Duration,
        /// For how long the turn still counts if no other hook event comes.
        left: Duration,
    },
    /// Perhaps after this time, or at the next signal.
    In(Duration),
    /// Not before the next signal.
    OnSignal,
}

/// Returns when this peer is to be woken. If it is now, the wake is handed out by [`claim_wake`].
pub fn next_wake(tx: &Tx<'_>, peer: &PeerId) -> Result<WakeTime, Fault> {
    let channel = tx.state.live.presence.lock().channel(peer);
    // A session whose call waits is at work, and the end of the call notifies.
    let has_waiter = tx.state.with_waiters(peer, |waiters| waiters.has_any_of(peer));
    if channel == Some(Channel::Proven) || has_waiter {
        return Ok(WakeTime::OnSignal);
    }
    let woken = LastWake::of(tx, peer)?;
    let unreserved = lease::unreserved(tx, peer)?;
    let mut rest = next_lease_end(tx, peer)?;
    if let Some(last) = unreserved.last() {
        let due = due_in(tx, peer, &unreserved, &woken, channel)?;
        rest = Some(rest.map_or(due, |lease| lease.min(due)));
        if due.is_zero() {
            if let Some(turn) = tx.state.turns.current(peer) {
                let look = IdleCheck { peer: peer.clone(), turn: turn.number };
                let (settles_in, left) = (turn.settles_in, turn.remaining);
                return Ok(WakeTime::AfterTurn { look, settles_in, left });
            }
            let clock = &tx.state.live.sources.clock;
            let told_at = tx.state.wake_told_at(peer);
            let handover = told_at
                .map_or(Duration::ZERO, |at| HANDOVER_TIMEOUT.saturating_sub(clock.elapsed(at)));
            if !handover.is_zero() {
                return Ok(WakeTime::In(handover));
            }
            let waiting = unreserved.len() as u64;
            return Ok(WakeTime::Now(WakeReason { peer: peer.clone(), waiting, upto: *last }));
        }
    }
    Ok(rest.map_or(WakeTime::OnSignal, WakeTime::In))
}

/// Hands a wake out if it is time for one: the caller is to wake the session.
///
/// `None` means that it is not time any more, or that the turn changes in this very transaction. The
/// caller then asks again when.
pub fn claim_wake(tx: &mut Tx<'_>, peer: &PeerId) -> Result<Option<WakeReason>, Fault> {
    let reason = match next_wake(tx, peer)? {
        WakeTime::Now(reason) if !tx.state.effects.changes_turn(peer) => reason,
        _ => return Ok(None),
    };
    tx.state.effects.push(Effect::WakeTold(peer.clone()));
    Ok(Some(reason))
}

/// What a peer was last woken for, and when.
struct LastWake {
    /// The sequence number of the newest message that it was woken for.
    last_seq: i64,
    /// When it was woken, unless it was active since.
    at: Option<i64>,
    last_at: Option<i64>,
    /// How many wakes there were for messages that are still unread.
    times: u32,
}

impl LastWake {
    fn of(tx: &Tx<'_>, peer: &PeerId) -> Result<Self, Fault> {
        Ok(tx
            .db
            .prepare_cached(
                "SELECT coalesce(woken_seq, 0), woken_at, last_woken_at, wakes
                 FROM peers WHERE id = ?1",
            )?
            .query_row([peer.as_str()], |row| {
                let (last_seq, at, last_at) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(Self { last_seq, at, last_at, times: row.get(3)? })
            })?)
    }
}

/// Returns the time until the waiting messages are a reason for a wake.
fn due_in(
    tx: &Tx<'_>,
    peer: &PeerId,
    unreserved: &[i64],
    woken: &LastWake,
    channel: Option<Channel>,
) -> Result<Duration, Fault> {
    let again = unreserved.first().filter(|first| **first <= woken.last_seq).map(|_| {
        let pause = pause(woken.times, tx.state.turns.model_has_failed(peer));
        left(tx, woken.last_at.unwrap_or(0), pause)
    });
    let Some(new) = unreserved.iter().find(|seq| **seq > woken.last_seq) else {
        return Ok(again.unwrap_or_default());
    };
    let sent_at: i64 = tx
        .db
        .prepare_cached("SELECT sent_at FROM messages WHERE seq = ?1")?
        .query_row([new], |row| row.get(0))?;
    let gather =
        if channel == Some(Channel::Presumed) { GATHER_TIME_PRESUMED } else { GATHER_TIME };
    let mut due = left(tx, sent_at, gather);
    // It was not active since, or it was and still has not read what it was woken for.
    let alone_since = if again.is_some() { woken.at.max(woken.last_at) } else { woken.at };
    if let Some(since) = alone_since {
        due = due.max(left(tx, since, REPEAT_AFTER));
    }
    Ok(again.map_or(due, |again| again.min(due)))
}

/// Returns how long after the last of so many wakes the same messages are a reason for another.
fn pause(wakes: u32, failed: bool) -> Duration {
    let pause = REPEAT_AFTER.saturating_mul(2u32.saturating_pow(wakes.saturating_sub(1)));
    if failed { pause.min(MAX_REPEAT_WHILE_FAILING) } else { pause }
}

/// Returns what is left of `span` that began at `since` (Unix milliseconds): nothing if the clock was
/// set back since.
fn left(tx: &Tx<'_>, since: i64, span: Duration) -> Duration {
    let passed = u64::try_from(tx.now.millis().saturating_sub(since)).unwrap_or(u64::MAX);
    span.saturating_sub(Duration::from_millis(passed))
}

/// Returns the time until the first lease ends: its message may have to be offered again.
fn next_lease_end(tx: &Tx<'_>, peer: &PeerId) -> Result<Option<Duration>, Fault> {
    let until: Option<i64> = tx
        .db
        .prepare_cached(
            "SELECT min(lease_until) FROM messages
             WHERE recipient = ?1 AND state IN ('queued', 'offered') AND lease_until > ?2",
        )?
        .query_row(params![peer.as_str(), tx.now.millis()], |row| row.get(0))?;
    let millis = until.and_then(|until| u64::try_from(until - tx.now.millis()).ok());
    Ok(millis.map(Duration::from_millis))
}

/// Records that the session was woken.
pub fn wake_given(tx: &mut Tx<'_>, given: &WakeGiven) -> Result<(), Fault> {
    tx.state.effects.push(Effect::WakeDone(given.peer.clone()));
    tx.state.effects.push(Effect::Loop(LoopEvent::Woken(given.peer.clone())));
    tx.db
        .prepare_cached(
            "UPDATE peers SET
                 wakes = CASE WHEN EXISTS (
                     SELECT 1 FROM messages WHERE recipient = ?1 AND state IN ('queued', 'offered')
                                                AND seq <= woken_seq
                 ) THEN wakes + 1 ELSE 1 END,
                 woken_at = ?2, last_woken_at = ?2,
                 woken_seq = max(coalesce(woken_seq, 0), ?3)
             WHERE id = ?1",
        )?
        .execute(params![given.peer.as_str(), tx.now.millis(), given.upto])?;
    Ok(())
}

/// Records that the session is active: later messages may cause another wake.
pub fn record_activity(tx: &Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    tx.db
        .prepare_cached("UPDATE peers SET woken_at = NULL WHERE id = ?1 AND woken_at IS NOT NULL")?
        .execute([peer.as_str()])?;
    Ok(())
}

/// Records the result of an idle check of the client. If the turn has ended, the peer is notified.
pub fn record_idle_check(tx: &mut Tx<'_>, looked: &IdleCheckResult) {
    let change = TurnChange::Checked { number: looked.turn, idle: looked.idle };
    tx.state.effects.turn(&looked.peer, change);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_between_wakes_grow_and_are_bounded_only_while_turns_fail() {
        let minutes = |wakes, failed| pause(wakes, failed).as_secs() / 60;
        let growing: Vec<_> = (0..6).map(|wakes| minutes(wakes, false)).collect();
        assert_eq!(growing, [1, 1, 2, 4, 8, 16]);
        assert_eq!([minutes(4, true), minutes(6, true), minutes(900, true)], [8, 30, 30]);
        assert!(minutes(900, false) > 7 * 24 * 60, "longer than messages are offered");
    }
}
