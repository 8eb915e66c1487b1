//! What the model asks for, and what comes back.

use crate::client::ClientError;
use crate::protocol::messages::{MessageList, Sent};
use crate::protocol::{MessageId, PeerId, Timestamp};
use crate::text;

/// Tells the answer to the newest request from one that nobody waits for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Serial(pub u64);

/// What the model asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The newest messages of a peer, or those before one of them.
    History {
        serial: Serial,
        peer: PeerId,
        before: Option<MessageId>,
    },
    /// A message of a peer with what was sent before and after it.
    Around {
        serial: Serial,
        peer: PeerId,
        message: MessageId,
        sent_at: Timestamp,
    },
    /// The newest messages with these words, or those before one of them.
    Search {
        serial: Serial,
        words: String,
        before: Option<MessageId>,
    },
    /// Sends a message.
    Send {
        to: PeerId,
        text: String,
    },
    /// Connects now, and starts a broker if none runs.
    Connect,
    /// Draws everything anew.
    Redraw,
    /// Stops the program, as Ctrl-Z does.
    Suspend,
    Quit,
}

/// How many messages [`Command::History`] and [`Command::Search`] ask for.
pub const PAGE: u32 = 100;

/// What came back.
#[derive(Debug)]
pub enum Outcome {
    History {
        serial: Serial,
        result: Result<MessageList, Problem>,
    },
    /// A message that was found, and what was sent before and after it.
    Around {
        serial: Serial,
        found: MessageId,
        result: Result<Surroundings, Problem>,
    },
    Search {
        serial: Serial,
        result: Result<MessageList, Problem>,
    },
    Sent {
        to: PeerId,
        result: Result<Box<Sent>, Problem>,
    },
}

/// A message, and what was sent before and after it.
#[derive(Debug)]
pub struct Surroundings {
    pub before: MessageList,
    pub found: MessageList,
    /// The newest messages that are not older than the one that was found. If there are more of them, it
    /// is not among these.
    pub after: MessageList,
}

/// Why something failed, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub what: String,
    pub hint: Option<String>,
}

impl Problem {
    /// Returns both as one harmless line.
    #[must_use]
    pub fn line(&self) -> String {
        let hint = self.hint.as_deref().unwrap_or_default();
        text::terminal_line(&format!("{} {hint}", self.what), 600)
    }
}

impl From<&ClientError> for Problem {
    fn from(error: &ClientError) -> Self {
        let mut what = error.to_string();
        if !what.ends_with(['.', '!', '?']) {
            what.push('.');
        }
        Self { what, hint: error.hint() }
    }
}
