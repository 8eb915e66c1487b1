//! Expiry: ends messages after their time to live, follows the wall clock where it jumped, and forgets
//! old idempotency keys.
//!
//! There is no timer. The sweep runs before the next request is answered, whether that writes or
//! reads. A jump of the wall clock expires nothing: the deadlines move with it.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::broker::core::kept_keys::KeptKeys;
use crate::broker::core::steady_clock::SteadyClock;
use crate::broker::sources::Clock;
use crate::protocol::messages::MessageState;
use crate::protocol::{MessageId, PeerId, Timestamp};

/// The shortest time between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// No lease lasts longer. One that seems to was given under a wall clock that was wrong.
pub const LONGEST_LEASE: Duration = Duration::from_secs(60);

/// A message whose time to live has ended: it is `expired` or `unconfirmed` now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedMessage {
    pub id: MessageId,
    pub sender: PeerId,
    pub recipient: PeerId,
    pub state: MessageState,
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    pub ended: Vec<EndedMessage>,
    /// By how many milliseconds the wall clock had jumped: what the memory has moves with it.
    pub jumped: Option<i64>,
}

/// The state of the sweep.
#[derive(Default)]
pub struct Expiry {
    swept_at: Option<Instant>,
    clock: SteadyClock,
    keys: KeptKeys,
    /// When the time of the next message ends, in Unix milliseconds; `None` if that is not known.
    next: Option<i64>,
}

impl Expiry {
    /// Returns the time of requests, by which all deadlines are measured.
    pub fn now(&self, clock: &Clock) -> Timestamp {
        self.clock.now(clock)
    }

    /// Whether the last sweep is long enough ago, or the wall clock jumped since.
    pub fn is_due(&self, clock: &Clock) -> bool {
        self.swept_at.is_none_or(|at| clock.elapsed(at) >= SWEEP_INTERVAL)
            || self.clock.is_behind(clock)
    }

    /// Notes a new message whose time to live ends at `expires_at`.
    pub fn note_expiry(&mut self, expires_at: Timestamp) {
        self.next = self.next.map(|next| next.min(expires_at.millis()));
    }

    /// Whether a sweep now may end messages.
    pub fn has_expired(&self, clock: &Clock) -> bool {
        self.is_due(clock) && self.next.is_none_or(|next| next <= self.now(clock).millis())
    }

    /// Whether a sweep now may change what a request reads: it may end messages, or the clock jumped.
    pub fn is_due_before_read(&self, clock: &Clock) -> bool {
        self.has_expired(clock) || self.clock.is_behind(clock)
    }

    /// Ends what is due. Cheap when nothing is due.
    pub fn sweep(&mut self, db: &Connection, clock: &Clock) -> rusqlite::Result<Swept> {
        if !self.is_due(clock) {
            return Ok(Swept::default());
        }
        let is_first = self.swept_at.is_none();
        let jumped = self.clock.follow(db, clock)?;
        if jumped.is_some() {
            self.next = None;
        }
        let now = self.now(clock);
        if is_first {
            end_leases_without_end(db, now)?;
        }
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
        self.keys.forget(db, clock, now)?;
        self.swept_at = Some(clock.instant());
        Ok(Swept { ended, jumped })
    }
}

/// Ends leases that an earlier broker gave under a wall clock that was ahead, before a reboot.
fn end_leases_without_end(db: &Connection, now: Timestamp) -> rusqlite::Result<()> {
    db.execute(
        "UPDATE messages SET lease_until = NULL, lease_by = NULL WHERE lease_until > ?1",
        [now.plus(LONGEST_LEASE).millis()],
    )?;
    Ok(())
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

#[cfg(test)]
mod tests {
    use rusqlite::params;

    use super::*;
    use crate::broker::store::reference_schema;
    use crate::sys::process::boot_id;

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
        let ended = Expiry::default().sweep(&db, &Clock::System).unwrap().ended;
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
        assert_eq!(Expiry::default().sweep(&db, &Clock::System).unwrap().ended, []);
        assert_eq!(state(&db, "m"), "queued");
    }

    #[test]
    fn a_lease_that_was_given_under_a_clock_far_ahead_ends_with_the_next_broker() {
        let db = database();
        let now = Clock::System.now().millis();
        for (id, until) in [("short", now + 50_000), ("endless", now + 365 * 24 * 60 * 60 * 1_000)]
        {
            add(&db, id, "offered", now + 1_000_000);
            let lease = "UPDATE messages SET lease_until = ?2, lease_by = 'x' WHERE id = ?1";
            db.execute(lease, params![id, until]).unwrap();
        }
        Expiry::default().sweep(&db, &Clock::System).unwrap();
        let leased = "SELECT group_concat(id) FROM messages WHERE lease_by IS NOT NULL";
        assert_eq!(db.query_row(leased, [], |row| row.get::<_, String>(0)).unwrap(), "short");
    }
}
