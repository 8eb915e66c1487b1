//! Where a time is in the history.

use rusqlite::OptionalExtension as _;

use crate::broker::core::Tx;
use crate::broker::mailbox::sequence::last_seq;
use crate::broker::store::Fault;
use crate::protocol::Timestamp;

/// Returns the sequence number from which on messages were sent at `time` or later.
///
/// Messages are numbered in the order in which they were stored, so their times are in order as well, and
/// no index of times is needed. Where the wall clock was set back, what was sent in between may be on
/// either side.
pub(super) fn first_since(tx: &Tx<'_>, time: Timestamp) -> Result<i64, Fault> {
    let mut next = tx
        .db
        .prepare_cached("SELECT seq, sent_at FROM messages WHERE seq >= ?1 ORDER BY seq LIMIT 1")?;
    // Everything before `low` is earlier, and from `high` on nothing is. A number may have no message.
    let (mut low, mut high) = (1, last_seq(tx)? + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> =
            next.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((seq, sent_at)) if sent_at < time.millis() => low = seq + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}
