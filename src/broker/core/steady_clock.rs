//! The time that deadlines are measured by: the wall clock's, without its jumps in the middle.
//!
//! Within one boot of the machine it is the boot clock plus an offset. The offset changes only where
//! a jump of the wall clock was noticed, and all that was stored under the old one moves with it in
//! the same transaction. So a jump can happen at any instant: until it is noticed, the old time goes
//! on for everybody.

use rusqlite::Connection;

use crate::broker::sources::Clock;
use crate::broker::store::meta;
use crate::protocol::Timestamp;
use crate::sys::process::boot_id;

/// A difference between wall clock and boot clock that changes by more than this is a jump. What is
/// less is the adjustment of a clock that runs well.
const JUMP_MILLIS: i64 = 1_000;

/// The times that are compared with the present, in tables of which every row may be.
const SHIFTED: [&str; 6] = [
    "UPDATE messages SET expires_at = expires_at + ?1, lease_until = lease_until + ?1
     WHERE state IN ('queued', 'offered')",
    "UPDATE offers SET written_at = written_at + ?1
     WHERE written_at IS NOT NULL AND message IN (
         SELECT seq FROM messages INDEXED BY messages_unread WHERE state IN ('queued', 'offered'))",
    "UPDATE peers SET seen_at = seen_at + ?1, woken_at = woken_at + ?1, last_woken_at = last_woken_at + ?1",
    "UPDATE clients SET said_at = said_at + ?1",
    "UPDATE remembered_names SET used_at = used_at + ?1",
    "UPDATE meta SET value = CAST(value AS INTEGER) + ?1 WHERE key = 'hooks_spoke_at'",
];

/// The offset between the steady clock and the boot clock.
#[derive(Debug, Default)]
pub struct SteadyClock {
    /// In milliseconds; `None` before the database was asked.
    offset: Option<i64>,
}

impl SteadyClock {
    /// Returns the time. It is the wall clock's, except after a jump that was not followed yet.
    pub fn now(&self, clock: &Clock) -> Timestamp {
        self.offset.map_or_else(
            || clock.now(),
            |offset| Timestamp::from_millis(clock.boot_millis().saturating_add(offset)),
        )
    }

    /// Whether there is something to follow: the wall clock jumped, or the database was not asked yet.
    pub fn is_behind(&self, clock: &Clock) -> bool {
        self.offset.is_none_or(|offset| is_jump(offset, offset_now(clock)))
    }

    /// Follows the wall clock, and moves what is stored if it jumped. Returns by how many
    /// milliseconds it did.
    pub fn follow(&mut self, db: &Connection, clock: &Clock) -> rusqlite::Result<Option<i64>> {
        let offset = offset_now(clock);
        let before = match self.offset {
            Some(before) => Some(before),
            None => stored_offset(db)?,
        };
        if before.is_some_and(|before| !is_jump(before, offset)) {
            self.offset = before;
            return Ok(None);
        }
        meta::set(db, "clock", &format!("{} {offset}", boot_id()))?;
        self.offset = Some(offset);
        let Some(before) = before else { return Ok(None) };
        let by = offset.saturating_sub(before);
        tracing::warn!(event = "clock_jump", "the wall clock jumped by {by} ms");
        for statement in SHIFTED {
            db.execute(statement, [by])?;
        }
        Ok(Some(by))
    }
}

/// Returns by how much the wall clock differs from the boot clock, in milliseconds.
fn offset_now(clock: &Clock) -> i64 {
    clock.now().millis().saturating_sub(clock.boot_millis())
}

/// Whether the wall clock jumped between these two offsets.
const fn is_jump(before: i64, offset: i64) -> bool {
    offset.saturating_sub(before).saturating_abs() > JUMP_MILLIS
}

/// Returns the offset that an earlier broker had since the same boot.
///
/// There is none across boots: on a machine that was off for a week, messages have aged a week.
fn stored_offset(db: &Connection) -> rusqlite::Result<Option<i64>> {
    Ok(meta::get(db, "clock")?.and_then(|text| {
        let (boot, offset) = text.rsplit_once(' ')?;
        (!boot.is_empty() && boot == boot_id()).then(|| offset.parse().ok())?
    }))
}
