//! Expiry: ends messages after their time to live, and forgets old idempotency keys.
//!
//! There is no timer. The sweep runs before the next request is answered, whether that writes or
//! reads. A jump of the wall clock against the boot clock expires nothing: the deadlines move with it.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::broker::sources::Clock;
use crate::broker::store::meta;
use crate::protocol::messages::MessageState;
use crate::protocol::{MessageId, PeerId, Timestamp};
use crate::sys::process::boot_id;

/// The shortest time between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// A change of the wall clock against the boot clock beyond this, between two sweeps, is a jump.
const CLOCK_JUMP_MILLIS: i64 = 30_000;

/// How long an idempotency key is known.
const KEY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How many old answers, and how many messages' old keys, a sweep removes at most.
const FORGOTTEN_AT_ONCE: i64 = 200;

/// Returns since when idempotency keys are known, in Unix milliseconds.
pub fn keys_known_since(now: Timestamp) -> i64 {
    now.millis() - i64::try_from(KEY_LIFETIME.as_millis()).unwrap_or(i64::MAX)
}

/// A message whose time to live has ended: it is `expired` or `unconfirmed` now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedMessage {
    pub id: MessageId,
    pub sender: PeerId,
    pub recipient: PeerId,
    pub state: MessageState,
}

/// The state of the sweep.
#[derive(Default)]
pub struct Expiry {
    swept_at: Option<Instant>,
    /// Wall clock minus boot clock at the last sweep, in milliseconds.
    offset: Option<i64>,
    stored: Option<i64>,
    /// Up to which message no key is stored; `None` if that is not known.
    keys_forgotten_to: Option<i64>,
    /// When the time of the next message ends, in Unix milliseconds; `None` if that is not known.
    next: Option<i64>,
}

impl Expiry {
    /// Whether the last sweep is long enough ago.
    pub fn is_due(&self, clock: &Clock) -> bool {
        self.swept_at.is_none_or(|at| clock.elapsed(at) >= SWEEP_INTERVAL)
    }

    /// Notes a new message whose time to live ends at `expires_at`.
    pub fn note_expiry(&mut self, expires_at: Timestamp) {
        self.next = self.next.map(|next| next.min(expires_at.millis()));
    }

    /// Whether a sweep now may end messages.
    pub fn has_expired(&self, clock: &Clock) -> bool {
        self.is_due(clock) && self.next.is_none_or(|next| next <= clock.now().millis())
    }

    /// Whether a sweep now may change what a request reads: it may end messages, or the clock jumped.
    pub fn is_due_before_read(&self, clock: &Clock) -> bool {
        let jumped = || {
            let offset = clock.now().millis() - clock.boot_millis();
            self.offset.is_none_or(|before| is_jump(before, offset))
        };
        self.has_expired(clock) || (self.is_due(clock) && jumped())
    }

    /// Ends what is due and returns the ended messages. Cheap when nothing is due.
    pub fn sweep(&mut self, db: &Connection, clock: &Clock) -> rusqlite::Result<Vec<EndedMessage>> {
        if !self.is_due(clock) {
            return Ok(Vec::new());
        }
        let now = clock.now();
        self.follow(db, now.millis() - clock.boot_millis())?;
        let next = match self.next {
            Some(next) => next,
            None => next_expiry(db)?,
        };
        let mut ended = Vec::new();
        self.next = Some(if next <= now.millis() {
            ended = expire(db, now)?;
            next_expiry(db)?
        } else {
            next
        });
        forget_answers(db, now)?;
        let from = match self.keys_forgotten_to {
            Some(from) => from,
            None => keys_forgotten_to(db)?,
        };
        self.keys_forgotten_to = Some(forget_keys(db, now, from)?);
        self.swept_at = Some(clock.instant());
        Ok(ended)
    }

    /// Moves all deadlines with the wall clock if it jumped.
    fn follow(&mut self, db: &Connection, offset: i64) -> rusqlite::Result<()> {
        let before = match self.offset {
            Some(offset) => Some(offset),
            None => stored_offset(db)?,
        };
        if let Some(before) = before
            && is_jump(before, offset)
        {
            tracing::warn!(event = "clock_jump", "the clock jumped by {} ms", offset - before);
            db.execute(
                "UPDATE messages SET expires_at = expires_at + ?1, lease_until = lease_until + ?1
                 WHERE state IN ('queued', 'offered')",
                [offset - before],
            )?;
            self.next = None;
        }
        self.offset = Some(offset);
        if self.stored.is_none_or(|stored| (stored - offset).abs() > 1_000) {
            meta::set(db, "clock", &format!("{} {offset}", boot_id()))?;
            self.stored = Some(offset);
        }
        Ok(())
    }
}

/// Whether the wall clock jumped between these two offsets.
const fn is_jump(before: i64, offset: i64) -> bool {
    (offset - before).abs() > CLOCK_JUMP_MILLIS
}

/// Returns the offset that an earlier broker saw since the same boot.
///
/// There is none across boots: on a machine that was off for a week, messages have aged a week.
fn stored_offset(db: &Connection) -> rusqlite::Result<Option<i64>> {
    Ok(meta::get(db, "clock")?.and_then(|text| {
        let (boot, offset) = text.rsplit_once(' ')?;
        (!boot.is_empty() && boot == boot_id()).then(|| offset.parse().ok())?
    }))
}

/// Ends the messages whose time to live is over. Their text stays in the history.
///
/// Times to live may differ between messages, so the time of the next end is kept in memory, and the
/// unread messages are scanned only when it has come.
fn expire(db: &Connection, now: Timestamp) -> rusqlite::Result<Vec<EndedMessage>> {
    let mut statement = db.prepare_cached(
        "UPDATE messages INDEXED BY messages_unread
         SET state = CASE state WHEN 'queued' THEN 'expired' ELSE 'unconfirmed' END,
             lease_until = NULL, lease_by = NULL
         WHERE state IN ('queued', 'offered') AND expires_at <= ?1
         RETURNING seq, id, sender, recipient, state",
    )?;
    let rows = statement.query_map([now.millis()], |row| {
        let ended = EndedMessage {
            id: MessageId::from_text(row.get::<_, String>(1)?),
            sender: PeerId::from_text(row.get::<_, String>(2)?),
            recipient: PeerId::from_text(row.get::<_, String>(3)?),
            state: MessageState::from_word(&row.get::<_, String>(4)?),
        };
        Ok((row.get::<_, i64>(0)?, ended))
    })?;
    let mut ended: Vec<(i64, EndedMessage)> = rows.collect::<rusqlite::Result<_>>()?;
    ended.sort_unstable_by_key(|(seq, _)| *seq);
    Ok(ended.into_iter().map(|(_, ended)| ended).collect())
}

fn next_expiry(db: &Connection) -> rusqlite::Result<i64> {
    let next: Option<i64> = db
        .prepare_cached("SELECT min(expires_at) FROM messages INDEXED BY messages_unread WHERE state IN ('queued', 'offered')")?
        .query_row([], |row| row.get(0))?;
    Ok(next.unwrap_or(i64::MAX))
}

/// Deletes old answers, the oldest first. The next sweep deletes the next ones.
fn forget_answers(db: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    db.prepare_cached(
        "DELETE FROM answers WHERE number IN (
             SELECT number FROM (SELECT number, answered_at FROM answers ORDER BY number LIMIT ?2)
             WHERE answered_at < ?1)",
    )?
    .execute([keys_known_since(now), FORGOTTEN_AT_ONCE])?;
    Ok(())
}

/// Returns up to which message no key is stored.
fn keys_forgotten_to(db: &Connection) -> rusqlite::Result<i64> {
    Ok(meta::get(db, meta::KEYS_FORGOTTEN_TO)?.and_then(|stored| stored.parse().ok()).unwrap_or(0))
}

/// Removes the old keys of the next messages after `from`, and returns up to which message that is
/// done. The next sweep goes on from there.
///
/// An old key is not known any more even while it is stored, so this waits until there are many: the
/// pages of old messages are written seldom.
fn forget_keys(db: &Connection, now: Timestamp, from: i64) -> rusqlite::Result<i64> {
    let (count, upto): (i64, Option<i64>) = db
        .prepare_cached(
            "SELECT count(*), max(seq) FROM (
                 SELECT seq, sent_at FROM messages WHERE seq > ?1 ORDER BY seq LIMIT ?3)
             WHERE sent_at < ?2",
        )?
        .query_row([from, keys_known_since(now), FORGOTTEN_AT_ONCE], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let Some(upto) = upto.filter(|_| count == FORGOTTEN_AT_ONCE) else { return Ok(from) };
    db.prepare_cached(
        "UPDATE messages SET key = NULL, key_caller = NULL, fingerprint = NULL
         WHERE seq > ?1 AND seq <= ?2 AND key IS NOT NULL",
    )?
    .execute([from, upto])?;
    meta::set(db, meta::KEYS_FORGOTTEN_TO, &upto.to_string())?;
    Ok(upto)
}

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;
    use crate::broker::store::reference_schema;

    fn database() -> Connection {
        let db = reference_schema().unwrap();
        db.execute_batch(
            "INSERT INTO peers (id, kind, created_at, seen_at) VALUES ('a1', 'session', 0, 0), ('b1', 'session', 0, 0);",
        )
        .unwrap();
        db
    }

    fn add(db: &Connection, id: &str, state: &str, expires_at: i64) {
        db.execute(
            "INSERT INTO messages (id, sender, recipient, text, sent_at, expires_at, state)
             VALUES (?1, 'a1', 'b1', 'x', 0, ?2, ?3)",
            params![id, expires_at, state],
        )
        .unwrap();
    }

    fn state(db: &Connection, id: &str) -> String {
        db.query_row("SELECT state FROM messages WHERE id = ?1", [id], |row| row.get(0)).unwrap()
    }

    #[test]
    fn what_was_offered_becomes_unconfirmed_and_what_was_not_expires() {
        let db = database();
        let now = Clock::System.now().millis();
        add(&db, "old-queued", "queued", now - 1);
        add(&db, "old-offered", "offered", now - 1);
        add(&db, "young", "queued", now + 60_000);
        let ended = Expiry::default().sweep(&db, &Clock::System).unwrap();
        let ids: Vec<&str> = ended.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["old-queued", "old-offered"]);
        assert_eq!(ended[1].state, MessageState::Unconfirmed);
        assert_eq!(state(&db, "old-queued"), "expired");
        assert_eq!(state(&db, "old-offered"), "unconfirmed");
        assert_eq!(state(&db, "young"), "queued");
        let unread = "SELECT (SELECT unread FROM peers WHERE id = 'b1') + count(*) FROM messages
                      WHERE state IN ('queued', 'offered')";
        assert_eq!(db.query_row(unread, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    }

    #[test]
    fn a_clock_that_jumps_expires_nothing() {
        let db = database();
        let now = Clock::System.now().millis();
        let year = 365 * 24 * 60 * 60 * 1_000;
        // An earlier broker of this boot saw the clock a year ago, as it was before it was set.
        db.execute(
            "INSERT INTO meta VALUES ('clock', ?1)",
            [format!("{} {}", boot_id(), now - Clock::System.boot_millis() - year)],
        )
        .unwrap();
        add(&db, "m", "queued", now - year + 1_000);
        assert_eq!(Expiry::default().sweep(&db, &Clock::System).unwrap(), []);
        assert_eq!(state(&db, "m"), "queued");
    }
}
