//! Threads: a message, what it answers, and what answers it, over all steps.

use std::collections::BTreeSet;

use crate::broker::core::Tx;
use crate::broker::mailbox::history::rows::at;
use crate::broker::mailbox::history::{index, prefix};
use crate::broker::mailbox::sequence::seq_of;
use crate::broker::store::Fault;
use crate::protocol::MessageId;

/// The most messages of a thread that are listed.
const LONGEST: usize = 1_000;

/// Returns the thread of this message, the oldest first.
pub(super) fn of(tx: &Tx<'_>, id: &MessageId) -> Result<Vec<i64>, Fault> {
    let mut known = BTreeSet::new();
    let mut next: Vec<i64> = prefix::resolve(tx, id)?.into_iter().collect();
    while let Some(seq) = next.pop() {
        if known.len() >= LONGEST {
            break;
        }
        let Some(message) = at(tx, seq)?.filter(|_| known.insert(seq)) else { continue };
        if let Some(answered) = &message.reply_to {
            // It may have been deleted.
            next.extend(seq_of(tx, answered)?);
        }
        next.extend(answers(tx, &message.id)?);
    }
    Ok(known.into_iter().collect())
}

/// Returns the answers to a message: an index of their own would cost each answer a page.
fn answers(tx: &Tx<'_>, id: &MessageId) -> Result<Vec<i64>, Fault> {
    if !id.as_str().bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Ok(Vec::new());
    }
    index::find(
        tx,
        "SELECT rowid FROM message_words WHERE message_words MATCH ?1 ORDER BY rowid LIMIT ?2",
        &[&format!("answers : \"{id}\""), &i64::try_from(LONGEST).unwrap_or(i64::MAX)],
    )
}
