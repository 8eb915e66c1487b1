//! What a message must be to be listed, beside being one of the candidates.

use crate::protocol::messages::{Message, MessageState};
use crate::protocol::{ApiError, ErrorCode, Timestamp};

/// What a message must be to be listed, beside being one of the candidates.
pub(super) struct Filter {
    pub peer: Option<String>,
    /// The caller, if it wants only messages of its own beside that peer.
    pub own: Option<String>,
    pub sent: bool,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    pub states: Vec<MessageState>,
}

impl Filter {
    /// Whether only unread messages fit, of which there are never many.
    pub fn is_of_unread(&self) -> bool {
        let is_unread =
            |state: &MessageState| matches!(state, MessageState::Queued | MessageState::Offered);
        !self.states.is_empty() && self.states.iter().all(is_unread)
    }

    pub fn fits(&self, message: &Message) -> bool {
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

/// Reads a list of states, separated by commas.
pub(super) fn states(words: &str) -> Result<Vec<MessageState>, ApiError> {
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
