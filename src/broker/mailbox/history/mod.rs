//! The history: all messages with their states, and what is read of it.
//!
//! A request is answered in two steps: which messages come into question, the newest first
//! (`candidates`), and which of them fit (here). All other requests wait meanwhile, so both are
//! bounded, and an answer that has looked at enough says from where to go on.

mod candidates;
pub mod index;
mod prefix;
mod prune;
mod thread;
mod times;
mod words;

use rusqlite::types::ToSql;
use rusqlite::{OptionalExtension as _, Row};

use crate::broker::core::{Caller, Tx};
use crate::broker::mailbox::sequence::seq_of;
use crate::broker::registry;
use crate::broker::store::Fault;
use crate::protocol::error::Missing;
use crate::protocol::messages::{ListMessages, Message, MessageList, MessageState, Party, Via};
use crate::protocol::{ApiError, ErrorCode, MessageId, PeerId, Timestamp};

use candidates::Candidates;

pub use prune::{PruneStep, prune_count, prune_step};

const DEFAULT_LIMIT: u32 = 20;
const MAX_LIMIT: u32 = 10_000;

/// Bytes of text in one answer: all other requests wait while it is read.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// How many messages one answer looks at.
const MAX_LOOKED_AT: usize = 4_000;

/// The columns that [`message`] reads, and the tables that they are in.
const COLUMNS: &str =
    "m.id, m.sender, coalesce(m.sender_name, s.name), m.recipient, r.name, m.text, m.reply_to,
     m.sent_at, m.state, m.offered_at, m.offered_via, m.read_at, m.read_via, m.expires_at
     FROM messages m JOIN peers s ON s.id = m.sender JOIN peers r ON r.id = m.recipient";

/// What a message must be to be listed, beside being one of the candidates.
struct Filter {
    peer: Option<String>,
    /// The caller, if it wants only messages of its own beside that peer.
    own: Option<String>,
    sent: bool,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    states: Vec<MessageState>,
}

impl Filter {
    /// Whether only unread messages fit, of which there are never many.
    fn is_of_unread(&self) -> bool {
        let is_unread =
            |state: &MessageState| matches!(state, MessageState::Queued | MessageState::Offered);
        !self.states.is_empty() && self.states.iter().all(is_unread)
    }

    fn fits(&self, message: &Message) -> bool {
        let sender = |peer: &String| message.from.id.as_str() == peer;
        let recipient = |peer: &String| message.to.id.as_str() == peer && !self.sent;
        let party =
            |peer: &String| [&message.from.id, &message.to.id].iter().any(|id| id.as_str() == peer);
        self.peer.as_ref().is_none_or(|peer| sender(peer) || recipient(peer))
            && self.own.as_ref().is_none_or(party)
            && self.since.is_none_or(|since| message.sent_at >= since)
            && self.until.is_none_or(|until| message.sent_at < until)
            && (self.states.is_empty() || self.states.contains(&message.state))
    }
}

/// Returns the newest messages that fit the request, oldest first.
///
/// # Errors
///
/// [`ErrorCode::NotFound`] for an unknown message or peer, [`ErrorCode::Ambiguous`] for the beginning of
/// several ids, [`ErrorCode::BadRequest`] for a search without words or an unknown state, and
/// [`ErrorCode::Storage`] if the index of words is damaged.
pub fn list_messages(
    tx: &Tx<'_>,
    caller: &Caller,
    request: &ListMessages,
) -> Result<MessageList, Fault> {
    let limit = match request.limit {
        0 => DEFAULT_LIMIT,
        limit => limit.min(MAX_LIMIT),
    } as usize;
    let peer = match &request.peer {
        Some(word) => Some(registry::resolve(tx, word)?.id().to_string()),
        None => (request.sent || request.own).then(|| caller.peer.to_string()),
    };
    let filter = Filter {
        own: request.own.then(|| caller.peer.to_string()),
        peer,
        sent: request.sent,
        since: request.since,
        until: request.until,
        states: states(request.state.as_deref().unwrap_or_default())?,
    };
    let mut candidates = Candidates::new(tx, request, &filter)?;
    let mut list = MessageList { messages: Vec::new(), truncated: false, next: None, unindexed: 0 };
    let (mut bytes, mut looked_at) = (0, 0);
    let mut last = None;
    while let Some(seq) = candidates.next(tx)? {
        let Some(message) = at(tx, seq)? else { continue };
        let id = message.id.clone();
        if filter.fits(&message) {
            bytes += message.text.len();
            list.truncated = bytes > MAX_BYTES && !list.messages.is_empty();
            if list.truncated || list.messages.len() == limit {
                list.next = last;
                break;
            }
            list.messages.push(message);
        }
        looked_at += 1;
        last = Some(id);
        if looked_at == MAX_LOOKED_AT {
            list.next = last;
            break;
        }
    }
    if let (Some(id), true) = (&request.id, list.messages.is_empty()) {
        return Err(unknown_message(id).into());
    }
    list.messages.reverse();
    Ok(list)
}

fn unknown_message(id: &MessageId) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is no message {id}"))
        .missing(Missing::Message)
}

/// Returns the sequence number of a message, from which an earlier answer is to go on.
fn known_seq(tx: &Tx<'_>, id: &MessageId) -> Result<i64, Fault> {
    // It may have been deleted meanwhile, and its place is known all the same.
    let seq = seq_of(tx, id)?.or(id.seq());
    Ok(seq.filter(|seq| *seq > 0).ok_or_else(|| unknown_message(id))?)
}

/// Reads a list of states.
fn states(words: &str) -> Result<Vec<MessageState>, ApiError> {
    let words = words.split(',').map(str::trim).filter(|word| !word.is_empty());
    words
        .map(|word| match MessageState::from_word(word) {
            MessageState::Unknown => {
                let error =
                    ApiError::new(ErrorCode::BadRequest, format!("there is no state {word:?}"));
                Err(error.hint("The states are queued, offered, read, expired and unconfirmed."))
            }
            state => Ok(state),
        })
        .collect()
}

/// Returns the sequence numbers that a statement finds.
fn seqs(tx: &Tx<'_>, statement: &str, parameters: &[&dyn ToSql]) -> Result<Vec<i64>, Fault> {
    let mut statement = tx.db.prepare_cached(statement)?;
    let found = statement.query_map(parameters, |row| row.get(0))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Returns a message that may exist, and is no probe's.
fn at(tx: &Tx<'_>, seq: i64) -> Result<Option<Message>, Fault> {
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
