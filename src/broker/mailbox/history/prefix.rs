//! Messages by the beginning of their ids.

use crate::broker::core::Tx;
use crate::broker::mailbox::history::rows::{seqs, unknown_message};
use crate::broker::mailbox::sequence::seq_of;
use crate::broker::store::Fault;
use crate::protocol::{ApiError, ErrorCode, MessageId};

/// How many candidates are named.
const MAX_CANDIDATES: i64 = 10;

/// Returns the message with this id, or the only one whose id begins with it.
pub(super) fn resolve(tx: &Tx<'_>, id: &MessageId) -> Result<Option<i64>, Fault> {
    if let Some(seq) = seq_of(tx, id)? {
        return Ok(Some(seq));
    }
    let prefix = id.as_str();
    if prefix.len() < 2 || !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(None);
    }
    let mut found = Vec::new();
    let most = MAX_CANDIDATES + 1;
    if let Some((first, last)) = id.seqs_of_prefix() {
        found = seqs(
            tx,
            "SELECT seq FROM messages
             WHERE seq >= ?1 AND seq <= ?2 AND seq > 0 AND substr(id, 1, length(?3)) = ?3
             ORDER BY seq DESC LIMIT ?4",
            &[&first, &last, &prefix, &most],
        )?;
    }
    // Ids of before schema 6. The end is after all ids that begin so.
    found.extend(seqs(
        tx,
        "SELECT seq FROM messages INDEXED BY messages_by_earlier_id
         WHERE numbered IS NULL AND id >= ?1 AND id < ?2 AND seq > 0 LIMIT ?3",
        &[&prefix, &format!("{prefix}\u{7f}"), &most],
    )?);
    match found.as_slice() {
        [] => Err(unknown_message(id).into()),
        [seq] => Ok(Some(*seq)),
        several => Err(ambiguous(tx, prefix, several)?.into()),
    }
}

fn ambiguous(tx: &Tx<'_>, prefix: &str, found: &[i64]) -> Result<ApiError, Fault> {
    let is_more = i64::try_from(found.len()).is_ok_and(|count| count > MAX_CANDIDATES);
    let mut named = tx.db.prepare_cached("SELECT id FROM messages WHERE seq = ?1")?;
    let ids = found
        .iter()
        .take(usize::try_from(MAX_CANDIDATES).unwrap_or(0))
        .map(|seq| named.query_row([seq], |row| row.get::<_, String>(0)))
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let and_more = if is_more { " and others" } else { "" };
    let error = ApiError::new(
        ErrorCode::Ambiguous,
        format!("the ids of several messages begin with {prefix}"),
    );
    Ok(error.hint(format!("Give more of the id: {}{and_more}.", ids.join(", "))))
}
