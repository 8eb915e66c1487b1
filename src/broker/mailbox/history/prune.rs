//! Pruning: old messages are deleted from the history. Nothing unread is.

use std::time::Duration;

use rusqlite::params;

use crate::broker::core::Tx;
use crate::broker::mailbox::history::{index, times};
use crate::broker::mailbox::sequence::last_seq;
use crate::broker::store::Fault;
use crate::protocol::Timestamp;
use crate::protocol::history::Pruned;

/// How long one step may go on: all requests wait for it.
const TIME_AT_ONCE: Duration = Duration::from_millis(5);

/// How many messages are looked at at once.
const ROWS_AT_ONCE: i64 = 32;

/// How far the pruning has come.
#[derive(Debug, Clone, Copy)]
pub struct PruneStep {
    /// Messages that were sent before this time are deleted.
    pub before: Timestamp,
    /// The number after which to go on.
    pub after: i64,
    /// Whether there is nothing left to look at.
    pub done: bool,
}

/// Looks at the next messages, as many as a short time allows, and deletes what is old enough and not
/// unread.
///
/// # Errors
///
/// If the database fails.
pub fn prune_step(
    tx: &mut Tx<'_>,
    step: PruneStep,
    so_far: Pruned,
) -> Result<(PruneStep, Pruned), Fault> {
    look(tx, step, so_far, |seq| delete(tx, seq))
}

/// Counts what [`prune_step`] would delete.
///
/// # Errors
///
/// If the database fails.
pub fn prune_count(
    tx: &Tx<'_>,
    step: PruneStep,
    so_far: Pruned,
) -> Result<(PruneStep, Pruned), Fault> {
    look(tx, step, so_far, |_| Ok(()))
}

fn look(
    tx: &Tx<'_>,
    mut step: PruneStep,
    mut pruned: Pruned,
    found: impl Fn(i64) -> Result<(), Fault>,
) -> Result<(PruneStep, Pruned), Fault> {
    let clock = tx.state.live.sources.clock.clone();
    let began = clock.instant();
    // The newest message stays, because the next one gets the number after it.
    let newest = last_seq(tx)?;
    let end = times::first_since(tx, step.before)?.min(newest);
    while !step.done && clock.elapsed(began) < TIME_AT_ONCE {
        let rows = next_rows(tx, &step, end)?;
        step.done = rows.is_empty();
        for row in rows {
            step.after = row.seq;
            if row.is_unread {
                pruned.unread_kept += 1;
                continue;
            }
            pruned.messages += 1;
            pruned.never_read += u64::from(!row.is_read);
            found(row.seq)?;
        }
    }
    Ok((step, pruned))
}

struct OldMessage {
    seq: i64,
    is_unread: bool,
    is_read: bool,
}

fn next_rows(tx: &Tx<'_>, step: &PruneStep, end: i64) -> Result<Vec<OldMessage>, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT seq, state IN ('queued', 'offered'), state = 'read' FROM messages
         WHERE seq > ?1 AND seq < ?2 AND sent_at < ?3 ORDER BY seq LIMIT ?4",
    )?;
    let rows = statement
        .query_map(params![step.after.max(0), end, step.before.millis(), ROWS_AT_ONCE], |row| {
            Ok(OldMessage { seq: row.get(0)?, is_unread: row.get(1)?, is_read: row.get(2)? })
        })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn delete(tx: &Tx<'_>, seq: i64) -> Result<(), Fault> {
    index::remove(tx.db, seq)?;
    tx.db.prepare_cached("DELETE FROM offers WHERE message = ?1")?.execute([seq])?;
    tx.db.prepare_cached("DELETE FROM messages WHERE seq = ?1")?.execute([seq])?;
    Ok(())
}
