//! When a session is to be woken: mail waits that it has not been woken for, and it is idle.
//!
//! A session that is at work sees its mail by its next tool call or hook, and one whose channel
//! works is woken by the push itself. A batch of mail is worth one wake: once it was given there
//! is no other before the session has stirred, and never one for the same messages, or a session
//! that does not care to read would be woken for ever.

use std::time::{Duration, Instant};

use rusqlite::params;

use super::offer;
use crate::broker::engine::Tx;
use crate::broker::store::Fault;
use crate::protocol::PeerId;
use crate::protocol::peers::Channel;
use crate::protocol::wake::{Reason, WakeGiven};

/// How long mail waits for company, so that what comes together is one wake, and for the hook of
/// a turn that is just ending.
const GATHER: Duration = Duration::from_secs(1);

/// The same where a push may have woken the session already: evidence of it would come by then.
const GATHER_BEHIND_A_PUSH: Duration = Duration::from_secs(5);

/// How long a turn counts as under way after the last its hooks said. One that is interrupted
/// has no end that a hook would tell.
const TURN: Duration = Duration::from_secs(300);

/// How long a session that does not stir after a wake is left alone with what came since.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long whoever was told to wake a session has to say that it did. If it died instead, another
/// is told.
const HAND_OVER: Duration = Duration::from_secs(3);

/// When to wake a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    Now(Reason),
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
    let channel = tx.companion.connected.presence.lock().channel(peer);
    // A call that waits is at work, and its end rings the bell.
    if channel == Some(Channel::Proven) || tx.companion.connected.claims.any_of(peer) {
        return Ok(When::OnceItRings);
    }
    let (woken_seq, woken_at): (i64, Option<i64>) = tx
        .db
        .prepare_cached("SELECT coalesce(woken_seq, 0), woken_at FROM peers WHERE id = ?1")?
        .query_row([peer.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let unheld = offer::unheld(tx, peer)?;
    let Some(first) = unheld.iter().copied().find(|seq| *seq > woken_seq) else {
        return held_until(tx, peer, woken_seq);
    };
    let sent_at: i64 = tx
        .db
        .prepare_cached("SELECT sent_at FROM messages WHERE seq = ?1")?
        .query_row([first], |row| row.get(0))?;
    let gather = if channel == Some(Channel::Presumed) { GATHER_BEHIND_A_PUSH } else { GATHER };
    let mut rest = left(tx, sent_at, gather);
    if let Some(said_at) = tx.companion.turns.get(peer) {
        rest = rest.max(TURN.saturating_sub(said_at.elapsed()));
    }
    if let Some(woken_at) = woken_at {
        rest = rest.max(left(tx, woken_at, PATIENCE));
    }
    if let Some(told_at) = tx.companion.waking.get(peer) {
        rest = rest.max(HAND_OVER.saturating_sub(told_at.elapsed()));
    }
    if !rest.is_zero() {
        return Ok(When::In(rest));
    }
    tx.companion.waking.insert(peer.clone(), Instant::now());
    Ok(When::Now(Reason {
        peer: peer.clone(),
        waiting: unheld.len() as u64,
        upto: unheld.last().copied().unwrap_or(first),
    }))
}

/// What is left of `span` that began at `since` (Unix milliseconds). A clock that was set back
/// ends it.
fn left(tx: &Tx<'_>, since: i64, span: Duration) -> Duration {
    let passed = u64::try_from(tx.now.millis().saturating_sub(since)).unwrap_or(u64::MAX);
    span.saturating_sub(Duration::from_millis(passed))
}

/// What is on its way by another path comes back if that leads nowhere.
fn held_until(tx: &Tx<'_>, peer: &PeerId, woken_seq: i64) -> Result<When, Fault> {
    let until: Option<i64> = tx
        .db
        .prepare_cached(
            "SELECT min(lease_until) FROM messages
             WHERE recipient = ?1 AND state IN ('queued', 'offered') AND seq > ?2
               AND lease_until > ?3",
        )?
        .query_row(params![peer.as_str(), woken_seq, tx.now.millis()], |row| row.get(0))?;
    Ok(match until.and_then(|until| u64::try_from(until - tx.now.millis()).ok()) {
        Some(millis) => When::In(Duration::from_millis(millis)),
        None => When::OnceItRings,
    })
}

/// The session was woken.
///
/// # Errors
///
/// If the database fails.
pub fn wake_given(tx: &mut Tx<'_>, given: &WakeGiven) -> Result<(), Fault> {
    tx.companion.waking.remove(&given.peer);
    tx.db
        .prepare_cached(
            "UPDATE peers SET woken_at = ?2, woken_seq = max(coalesce(woken_seq, 0), ?3)
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
