//! When a session is to be woken: mail waits that it has not been woken for, and it is idle.
//!
//! A session that is at work sees its mail by its next tool call or hook, and one whose channel
//! works is woken by the push itself. A batch of mail is worth one wake: once it was given there
//! is no other before the session has stirred. A wake may come to nothing, because the turn that
//! it began failed; so it is repeated while mail is unread, with pauses that grow, or a session
//! that does not care to read would be woken for ever.

use std::time::{Duration, Instant};

use rusqlite::params;

use crate::broker::core::Tx;
use crate::broker::mailbox::lease;
use crate::broker::store::Fault;
use crate::protocol::PeerId;
use crate::protocol::peers::Channel;
use crate::protocol::wake::{Look, Looked, Reason, WakeGiven};

/// How long mail waits for company, so that what comes together is one wake, and for the hook of
/// a turn that is just ending.
const GATHER: Duration = Duration::from_secs(1);

/// The same where a push may have woken the session already: evidence of it would come by then.
const GATHER_BEHIND_A_PUSH: Duration = Duration::from_secs(5);

/// How long a session that does not stir after a wake is left alone with what came since, and any
/// with what it was woken for. With each wake that comes to nothing it is twice as long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest pause where the model could not be reached: a turn that fails costs nothing, and a
/// usage limit ends some time. Otherwise nothing bounds it but the mail's own end.
const WHILE_IT_FAILS: Duration = Duration::from_secs(30 * 60);

/// How long whoever was told to wake a session has to say that it did. If it died instead, another
/// is told.
const HAND_OVER: Duration = Duration::from_secs(3);

/// When to wake a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    Now(Reason),
    /// There would be, were it not for a turn that seems to be under way.
    AtWork {
        look: Look,
        /// In how long somebody may look at the earliest.
        settles_in: Duration,
        /// For how long the turn counts without another word.
        left: Duration,
    },
    /// There may be reason then, or when the bell rings.
    In(Duration),
    /// There is no reason.
    OnceItRings,
}

/// When this peer is to be woken. If it is now, whoever asks is to do it.
///
/// # Errors
///
/// If the database fails.
pub fn wake_when(tx: &mut Tx<'_>, peer: &PeerId) -> Result<When, Fault> {
    let channel = tx.state.live.presence.lock().channel(peer);
    // A call that waits is at work, and its end rings the bell.
    if channel == Some(Channel::Proven) || tx.state.live.waiters.has_any_of(peer) {
        return Ok(When::OnceItRings);
    }
    let woken = Woken::of(tx, peer)?;
    let unheld = lease::unheld(tx, peer)?;
    let mut rest = held_for(tx, peer)?;
    if let Some(last) = unheld.last() {
        let due = due_in(tx, peer, &unheld, &woken, channel)?;
        rest = Some(rest.map_or(due, |held| held.min(due)));
        if due.is_zero() {
            if let Some(turn) = tx.state.turns.current(peer) {
                let look = Look { peer: peer.clone(), turn: turn.number };
                let (settles_in, left) = (turn.settles_in(), turn.remaining());
                return Ok(When::AtWork { look, settles_in, left });
            }
            let handed = tx.state.waking.get(peer);
            let handing =
                handed.map_or(Duration::ZERO, |at| HAND_OVER.saturating_sub(at.elapsed()));
            if !handing.is_zero() {
                return Ok(When::In(handing));
            }
            tx.state.waking.insert(peer.clone(), Instant::now());
            let waiting = unheld.len() as u64;
            return Ok(When::Now(Reason { peer: peer.clone(), waiting, upto: *last }));
        }
    }
    Ok(rest.map_or(When::OnceItRings, When::In))
}

/// What a peer was woken for, and when.
struct Woken {
    upto: i64,
    /// Until it stirs.
    at: Option<i64>,
    last_at: Option<i64>,
    /// How often for what it has not read.
    times: u32,
}

impl Woken {
    fn of(tx: &Tx<'_>, peer: &PeerId) -> Result<Self, Fault> {
        Ok(tx
            .db
            .prepare_cached(
                "SELECT coalesce(woken_seq, 0), woken_at, last_woken_at, wakes
                 FROM peers WHERE id = ?1",
            )?
            .query_row([peer.as_str()], |row| {
                let (upto, at, last_at) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(Self { upto, at, last_at, times: row.get(3)? })
            })?)
    }
}

/// In how long there is reason for a wake, as far as the mail itself goes.
fn due_in(
    tx: &Tx<'_>,
    peer: &PeerId,
    unheld: &[i64],
    woken: &Woken,
    channel: Option<Channel>,
) -> Result<Duration, Fault> {
    let again = unheld.first().filter(|first| **first <= woken.upto).map(|_| {
        let pause = pause(woken.times, tx.state.turns.model_has_failed(peer));
        left(tx, woken.last_at.unwrap_or(0), pause)
    });
    let Some(news) = unheld.iter().find(|seq| **seq > woken.upto) else {
        return Ok(again.unwrap_or_default());
    };
    let sent_at: i64 = tx
        .db
        .prepare_cached("SELECT sent_at FROM messages WHERE seq = ?1")?
        .query_row([news], |row| row.get(0))?;
    let gather = if channel == Some(Channel::Presumed) { GATHER_BEHIND_A_PUSH } else { GATHER };
    let mut due = left(tx, sent_at, gather);
    // It did not stir, or it did and still has not read what it was woken for.
    let alone_since = if again.is_some() { woken.at.max(woken.last_at) } else { woken.at };
    if let Some(since) = alone_since {
        due = due.max(left(tx, since, PATIENCE));
    }
    Ok(again.map_or(due, |again| again.min(due)))
}

/// How long after the last of so many wakes the same mail is a reason for another.
fn pause(wakes: u32, failed: bool) -> Duration {
    let pause = PATIENCE.saturating_mul(2u32.saturating_pow(wakes.saturating_sub(1)));
    if failed { pause.min(WHILE_IT_FAILS) } else { pause }
}

/// What is left of `span` that began at `since` (Unix milliseconds). A clock that was set back
/// ends it.
fn left(tx: &Tx<'_>, since: i64, span: Duration) -> Duration {
    let passed = u64::try_from(tx.now.millis().saturating_sub(since)).unwrap_or(u64::MAX);
    span.saturating_sub(Duration::from_millis(passed))
}

/// What is on its way by another path comes back if that leads nowhere.
fn held_for(tx: &Tx<'_>, peer: &PeerId) -> Result<Option<Duration>, Fault> {
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

/// The session was woken.
///
/// # Errors
///
/// If the database fails.
pub fn wake_given(tx: &mut Tx<'_>, given: &WakeGiven) -> Result<(), Fault> {
    tx.state.waking.remove(&given.peer);
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

/// The session stirs: what comes from now on is another batch.
///
/// # Errors
///
/// If the database fails.
pub fn note_stir(tx: &Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    tx.db
        .prepare_cached("UPDATE peers SET woken_at = NULL WHERE id = ?1 AND woken_at IS NOT NULL")?
        .execute([peer.as_str()])?;
    Ok(())
}

/// Somebody looked whether the client is idle.
pub fn looked(tx: &mut Tx<'_>, looked: &Looked) {
    if tx.state.turns.record_idle_check(&looked.peer, looked.turn, looked.idle) {
        tx.state.live.signals.notify(&looked.peer);
    }
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
        assert!(minutes(900, false) > 7 * 24 * 60, "longer than mail is offered");
    }
}
