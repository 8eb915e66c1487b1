//! The history: all messages with their states.

use rusqlite::{OptionalExtension as _, Row, params};

use crate::broker::core::{Caller, Tx};
use crate::broker::mailbox::sequence::seq_of;
use crate::broker::registry;
use crate::broker::store::Fault;
use crate::protocol::error::Missing;
use crate::protocol::messages::{ListMessages, Message, MessageList, MessageState, Party, Via};
use crate::protocol::{ApiError, ErrorCode, MessageId, PeerId, Timestamp};

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 10_000;

/// Bytes of text in one answer: all other requests wait while it is read.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The columns that [`message`] reads, and the tables that they are in.
const COLUMNS: &str =
    "m.id, m.sender, coalesce(m.sender_name, s.name), m.recipient, r.name, m.text, m.reply_to,
     m.sent_at, m.state, m.offered_at, m.offered_via, m.read_at, m.read_via, m.expires_at
     FROM messages m JOIN peers s ON s.id = m.sender JOIN peers r ON r.id = m.recipient";

/// Returns the newest messages that fit the request, oldest first.
///
/// # Errors
///
/// [`ErrorCode::NotFound`] for an unknown message or peer.
pub fn list_messages(
    tx: &Tx<'_>,
    caller: &Caller,
    request: &ListMessages,
) -> Result<MessageList, Fault> {
    let limit = match request.limit {
        0 => DEFAULT_LIMIT,
        limit => limit.min(MAX_LIMIT),
    };
    let peer = match &request.peer {
        Some(word) => Some(registry::resolve(tx, word)?.id().to_string()),
        None => request.sent.then(|| caller.peer.to_string()),
    };
    let seqs = match (&request.id, &peer) {
        (Some(id), _) => seq_of(tx, id)?.into_iter().collect(),
        (None, Some(peer)) => newest_of_peer(tx, peer, request.sent, limit)?,
        (None, None) => newest(tx, limit)?,
    };
    let mut statement = tx.db.prepare_cached(&format!(
        "SELECT {COLUMNS} WHERE m.seq = ?1 AND m.seq > 0
             AND (?2 IS NULL OR m.sender = ?2 OR (m.recipient = ?2 AND NOT ?3))",
    ))?;
    let mut messages: Vec<Message> = Vec::new();
    let mut bytes = 0;
    let mut truncated = false;
    for seq in seqs {
        let found = statement.query_row(params![seq, peer, request.sent], message).optional()?;
        let Some(message) = found else { continue };
        bytes += message.text.len();
        truncated = bytes > MAX_BYTES && !messages.is_empty();
        if truncated {
            break;
        }
        messages.push(message);
    }
    if let (Some(id), true) = (&request.id, messages.is_empty()) {
        return Err(ApiError::new(ErrorCode::NotFound, format!("there is no message {id}"))
            .missing(Missing::Message)
            .into());
    }
    messages.reverse();
    Ok(MessageList { messages, truncated })
}

/// Returns the sequence numbers of the newest messages, the newest first.
fn newest(tx: &Tx<'_>, limit: u32) -> Result<Vec<i64>, Fault> {
    let mut statement = tx
        .db
        .prepare_cached("SELECT seq FROM messages WHERE seq > 0 ORDER BY seq DESC LIMIT ?1")?;
    Ok(statement.query_map([limit], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// Returns the sequence numbers of the newest messages that a peer sent, and got unless `sent`, the
/// newest first.
///
/// Of the unread messages those that it sent are known in memory.
fn newest_of_peer(tx: &Tx<'_>, peer: &str, sent: bool, limit: u32) -> Result<Vec<i64>, Fault> {
    let unread = tx.state.sent_unread.of(tx.db, &PeerId::from_text(peer))?;
    let newest: Vec<i64> = unread.into_iter().rev().take(limit as usize).collect();
    // Serialising numbers cannot fail.
    let newest = serde_json::to_string(&newest).unwrap_or_default();
    let mut statement = tx.db.prepare_cached(
        "SELECT seq FROM (
             SELECT seq FROM (SELECT seq FROM messages INDEXED BY messages_done_by_sender
                 WHERE sender = ?1 AND state NOT IN ('queued', 'offered') AND seq > 0
                 ORDER BY seq DESC LIMIT ?2)
             UNION ALL
             SELECT value AS seq FROM json_each(?4)
             UNION ALL
             SELECT seq FROM (SELECT seq FROM messages INDEXED BY messages_done_by_recipient
                 WHERE recipient = ?1 AND NOT ?3 AND state NOT IN ('queued', 'offered') AND seq > 0
                 ORDER BY seq DESC LIMIT ?2)
             UNION ALL
             SELECT seq FROM (SELECT seq FROM messages INDEXED BY messages_unread
                 WHERE recipient = ?1 AND NOT ?3 AND state IN ('queued', 'offered') AND seq > 0
                 ORDER BY seq DESC LIMIT ?2))
         ORDER BY seq DESC LIMIT ?2",
    )?;
    let seqs = statement.query_map(params![peer, limit, sent, newest], |row| row.get(0))?;
    Ok(seqs.collect::<rusqlite::Result<_>>()?)
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
