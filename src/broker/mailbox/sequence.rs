//! Sequence numbers: each message has one, and its id holds it.

use rusqlite::{OptionalExtension as _, params};

use crate::broker::core::Tx;
use crate::broker::store::Fault;
use crate::protocol::MessageId;

/// Returns the sequence number of the message with this id.
///
/// The message with the number in the id is read, and must have the whole id. Only a message of before
/// schema 6, whose id holds a time, is looked up in an index.
pub fn seq_of(tx: &Tx<'_>, id: &MessageId) -> Result<Option<i64>, Fault> {
    Ok(tx
        .db
        .prepare_cached(
            "SELECT seq FROM messages WHERE seq = ?1 AND id = ?2
             UNION ALL
             SELECT seq FROM messages INDEXED BY messages_by_earlier_id
             WHERE id = ?2 AND numbered IS NULL",
        )?
        .query_row(params![id.seq(), id.as_str()], |row| row.get(0))
        .optional()?)
}

/// Returns the sequence number of the newest message; 0 if there is none.
pub fn last_seq(tx: &Tx<'_>) -> Result<i64, Fault> {
    Ok(tx
        .db
        .prepare_cached("SELECT max(coalesce(max(seq), 0), 0) FROM messages")?
        .query_row([], |row| row.get(0))?)
}

/// Returns the sequence number of the next message. It is greater than that of every message before.
pub fn next_seq(tx: &mut Tx<'_>) -> Result<i64, Fault> {
    let last = match tx.state.last_seq {
        Some(last) => last,
        None => last_seq(tx)?,
    };
    let next = last + 1;
    tx.state.last_seq = Some(next);
    Ok(next)
}
