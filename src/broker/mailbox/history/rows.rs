//! Messages as they are read from the database.

use rusqlite::types::ToSql;
use rusqlite::{OptionalExtension as _, Row};

use crate::broker::core::Tx;
use crate::broker::mailbox::sequence::seq_of;
use crate::broker::store::Fault;
use crate::protocol::error::Missing;
use crate::protocol::messages::{Message, MessageState, Party, Via};
use crate::protocol::{ApiError, ErrorCode, MessageId, PeerId, Timestamp};

/// The columns that [`message`] reads, and the tables that they are in.
const COLUMNS: &str =
    "m.id, m.sender, coalesce(m.sender_name, s.name), m.recipient, r.name, m.text, m.reply_to,
     m.sent_at, m.state, m.offered_at, m.offered_via, m.read_at, m.read_via, m.expires_at
     FROM messages m JOIN peers s ON s.id = m.sender JOIN peers r ON r.id = m.recipient";

pub(super) fn unknown_message(id: &MessageId) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is no message {id}"))
        .missing(Missing::Message)
}

/// Returns the sequence number of a message, from which an earlier answer is to go on.
pub(super) fn known_seq(tx: &Tx<'_>, id: &MessageId) -> Result<i64, Fault> {
    // It may have been deleted meanwhile, and its place is known all the same.
    let seq = seq_of(tx, id)?.or(id.seq());
    Ok(seq.filter(|seq| *seq > 0).ok_or_else(|| unknown_message(id))?)
}

/// Returns the sequence numbers that a statement finds.
pub(super) fn seqs(
    tx: &Tx<'_>,
    statement: &str,
    parameters: &[&dyn ToSql],
) -> Result<Vec<i64>, Fault> {
    let mut statement = tx.db.prepare_cached(statement)?;
    let found = statement.query_map(parameters, |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Returns a message that may exist, and is no probe's.
pub(super) fn at(tx: &Tx<'_>, seq: i64) -> Result<Option<Message>, Fault> {
    let mut statement =
        tx.db.prepare_cached(&format!("SELECT {COLUMNS} WHERE m.seq = ?1 AND m.seq > 0"))?;
    Ok(statement.query_row([seq], message).optional()?)
}

/// Returns those of these messages that exist.
///
/// # Errors
///
/// If the database fails.
pub fn messages_by_seq(tx: &Tx<'_>, seqs: &[i64]) -> Result<Vec<Message>, Fault> {
    seqs.iter().filter_map(|seq| at(tx, *seq).transpose()).collect()
}

/// Returns a message that is known to exist.
pub fn by_seq(tx: &Tx<'_>, seq: i64) -> Result<Message, Fault> {
    let mut statement = tx.db.prepare_cached(&format!("SELECT {COLUMNS} WHERE m.seq = ?1"))?;
    Ok(statement.query_row([seq], message)?)
}

fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    let party = |id: usize, name: usize| -> rusqlite::Result<Party> {
        Ok(Party { id: PeerId::from_text(row.get::<_, String>(id)?), name: row.get(name)? })
    };
    let moment = |column: usize| -> rusqlite::Result<Option<Timestamp>> {
        Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
    };
    let via = |column: usize| -> rusqlite::Result<Option<Via>> {
        Ok(row.get::<_, Option<String>>(column)?.map(|word| Via::from_word(&word)))
    };
    Ok(Message {
        id: MessageId::from_text(row.get::<_, String>(0)?),
        from: party(1, 2)?,
        to: party(3, 4)?,
        text: row.get(5)?,
        reply_to: row.get::<_, Option<String>>(6)?.map(MessageId::from_text),
        sent_at: Timestamp::from_millis(row.get(7)?),
        state: MessageState::from_word(&row.get::<_, String>(8)?),
        offered_at: moment(9)?,
        offered_via: via(10)?,
        read_at: moment(11)?,
        read_via: via(12)?,
        expires_at: Timestamp::from_millis(row.get(13)?),
    })
}
