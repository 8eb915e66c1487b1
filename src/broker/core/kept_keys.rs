//! How long idempotency keys are known: a day at least, and two at most while requests come.
//!
//! Their age is not read from times in their rows, which a wall clock that is set would falsify: a
//! retry after the clock was set a day forward must not send twice. Once a day a mark notes how far
//! the messages and answers have come, and what lies below the mark of a day ago is forgotten.

use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::broker::sources::Clock;
use crate::broker::store::meta;
use crate::protocol::Timestamp;
use crate::sys::process::boot_id;

/// How long a key is known at least.
const KEY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How many old answers, and how many messages' old keys, one call removes at most.
const FORGOTTEN_AT_ONCE: i64 = 200;

/// The key of the mark in `meta`.
const MARK: &str = "key_mark";

/// A daily mark, as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mark {
    boot: String,
    /// By the clock since boot.
    boot_millis: i64,
    /// By the steady clock, which is what there is across boots.
    millis: i64,
    /// The last message and the last answer when the mark was set.
    last: Position,
    /// Where the mark before stood: what lies below is old.
    old: Position,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Position {
    message: i64,
    answer: i64,
}

impl Mark {
    /// Returns how long ago the mark was set.
    fn age(&self, clock: &Clock, now: Timestamp) -> Duration {
        if !self.boot.is_empty() && self.boot == boot_id() {
            let passed = clock.boot_millis().saturating_sub(self.boot_millis);
            return Duration::from_millis(u64::try_from(passed).unwrap_or(0));
        }
        now.since(Timestamp::from_millis(self.millis))
    }

    /// Whether the mark is of a time that has not come yet, since the clock was wrong at one of two boots.
    fn is_of_the_future(&self, now: Timestamp) -> bool {
        self.boot != boot_id() && self.millis > now.millis()
    }
}

/// What is known of the keys in the database.
#[derive(Debug, Default)]
pub struct KeptKeys {
    mark: Option<Mark>,
    /// Up to which message no key is stored, and whether old answers may be left.
    forgotten_to: Option<i64>,
    answers_forgotten: bool,
}

impl KeptKeys {
    /// Sets the mark if a day has passed, and forgets the next old keys.
    pub fn forget(
        &mut self,
        db: &Connection,
        clock: &Clock,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let stored = match self.mark.take() {
            Some(mark) => Some(mark),
            None => stored_mark(db)?,
        };
        let mark = match stored {
            Some(mark) if mark.age(clock, now) < KEY_LIFETIME && !mark.is_of_the_future(now) => {
                mark
            }
            before => {
                self.answers_forgotten = false;
                set_mark(db, clock, now, before.as_ref())?
            }
        };
        let old = mark.old;
        self.mark = Some(mark);
        if !self.answers_forgotten {
            self.answers_forgotten =
                forget_answers(db, old.answer)? < FORGOTTEN_AT_ONCE.unsigned_abs();
        }
        let from = match self.forgotten_to {
            Some(from) => from,
            None => forgotten_to(db)?,
        };
        self.forgotten_to = Some(from);
        if from < old.message {
            self.forgotten_to = Some(forget_keys(db, from, old.message)?);
        }
        Ok(())
    }
}

fn stored_mark(db: &Connection) -> rusqlite::Result<Option<Mark>> {
    Ok(meta::get(db, MARK)?.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Sets a mark at the end of messages and answers. If the one before is of a time to come, nothing
/// is known to be old.
fn set_mark(
    db: &Connection,
    clock: &Clock,
    now: Timestamp,
    before: Option<&Mark>,
) -> rusqlite::Result<Mark> {
    let end = |query: &str| db.query_row(query, [], |row| row.get::<_, Option<i64>>(0));
    let last = Position {
        message: end("SELECT max(seq) FROM messages")?.unwrap_or(0),
        answer: end("SELECT max(number) FROM answers")?.unwrap_or(0),
    };
    let old = match before {
        Some(mark) if mark.is_of_the_future(now) => mark.old,
        Some(mark) => mark.last,
        None => Position::default(),
    };
    let mark =
        Mark { boot: boot_id(), boot_millis: clock.boot_millis(), millis: now.millis(), last, old };
    meta::set(db, MARK, &serde_json::to_string(&mark).unwrap_or_default())?;
    Ok(mark)
}

/// Deletes the next old answers, and returns how many.
fn forget_answers(db: &Connection, upto: i64) -> rusqlite::Result<u64> {
    let deleted = db
        .prepare_cached(
            "DELETE FROM answers WHERE number IN (
                 SELECT number FROM answers WHERE number <= ?1 ORDER BY number LIMIT ?2)",
        )?
        .execute([upto, FORGOTTEN_AT_ONCE])?;
    Ok(u64::try_from(deleted).unwrap_or(u64::MAX))
}

/// Returns up to which message no key is stored.
fn forgotten_to(db: &Connection) -> rusqlite::Result<i64> {
    Ok(meta::get(db, meta::KEYS_FORGOTTEN_TO)?.and_then(|stored| stored.parse().ok()).unwrap_or(0))
}

/// Removes the keys of the next messages after `from`, but none after `upto`. Returns up to which
/// message that is done: the next call goes on from there.
fn forget_keys(db: &Connection, from: i64, upto: i64) -> rusqlite::Result<i64> {
    let last: Option<i64> = db
        .prepare_cached(
            "SELECT max(seq) FROM (
                 SELECT seq FROM messages WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3)",
        )?
        .query_row([from, upto, FORGOTTEN_AT_ONCE], |row| row.get(0))?;
    let done = last.unwrap_or(upto);
    db.prepare_cached(
        "UPDATE messages SET key = NULL, key_caller = NULL, fingerprint = NULL
         WHERE seq > ?1 AND seq <= ?2 AND key IS NOT NULL",
    )?
    .execute([from, done])?;
    meta::set(db, meta::KEYS_FORGOTTEN_TO, &done.to_string())?;
    Ok(done)
}
