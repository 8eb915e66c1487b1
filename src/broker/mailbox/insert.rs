//! A message is stored, and its push decided.

use rusqlite::params;

use crate::broker::core::Tx;
use crate::broker::live::waiters::IncomingMessage;
use crate::broker::mailbox::{lease, push};
use crate::broker::registry::Sender;
use crate::broker::store::Fault;
use crate::protocol::messages::MessageState;
use crate::protocol::{MessageId, PeerId};
use crate::sys::random;

/// What is to be stored. All checks were made.
pub struct Letter<'a> {
    pub from: &'a PeerId,
    /// How the sender is shown.
    pub sender: &'a Sender,
    /// The name that was written to while its owner is away.
    pub addressed_name: Option<&'a str>,
    pub text: &'a str,
    pub reply_to: Option<&'a MessageId>,
    /// A place in the order other than the last.
    pub number: Option<i64>,
}

/// What became of it.
pub struct Posted {
    pub id: MessageId,
    pub seq: i64,
    pub state: MessageState,
    /// A call of the recipient's waits for it.
    pub awaited: bool,
}

/// Stores a letter to `to`.
///
/// # Errors
///
/// If the database fails.
pub fn post(tx: &mut Tx<'_>, letter: &Letter<'_>, to: &PeerId) -> Result<Posted, Fault> {
    let id = new_id(tx)?;
    let expires_at = tx.now.plus(tx.state.limits.time_to_live);
    tx.db
        .prepare_cached(
            "INSERT INTO messages (id, sender, recipient, sender_name, sender_summary, sender_cwd,
                                   addressed_name, text, reply_to, sent_at, expires_at, state, seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'queued', ?12)",
        )?
        .execute(params![
            id.as_str(),
            letter.from.as_str(),
            to.as_str(),
            letter.sender.name,
            letter.sender.summary,
            letter.sender.cwd,
            letter.addressed_name,
            letter.text,
            letter.reply_to.map(MessageId::as_str),
            tx.now.millis(),
            expires_at.millis(),
            letter.number,
        ])?;
    let seq = tx.db.last_insert_rowid();
    tx.state.expiry.note_expiry(expires_at);
    let mail =
        IncomingMessage { sender: letter.from.clone(), reply_to: letter.reply_to.cloned(), seq };
    tx.state.live.waiters.note_ambiguous(to, &mail);
    let awaited = lease::is_held(tx, to, seq)?;
    let state = if awaited { MessageState::Queued } else { push::push_new(tx, to, seq)? };
    tx.state.effects.notify(to.clone());
    Ok(Posted { id, seq, state, awaited })
}

/// An id that no message has.
fn new_id(tx: &Tx<'_>) -> Result<MessageId, Fault> {
    loop {
        let id = random::message_id(tx.now);
        let taken: bool = tx
            .db
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM messages WHERE id = ?1)")?
            .query_row([id.as_str()], |row| row.get(0))?;
        if !taken {
            return Ok(id);
        }
    }
}
