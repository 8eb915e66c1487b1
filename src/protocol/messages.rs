//! Messages: sending, and what became of them.

use serde::{Deserialize, Serialize};

use crate::protocol::peers::Peer;
use crate::protocol::scope::Scope;
use crate::protocol::{ApiError, MessageId, PeerId, Timestamp};

/// Where a message stands. `queued → offered → read`; after its time-to-live a message that was
/// never offered is `expired`, one that was offered without evidence is `unconfirmed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// Stored; no receiver has had it yet.
    Queued,
    /// Handed to a receiver; whether the model had it is not known yet.
    Offered,
    /// There is evidence that the model had it.
    Read,
    /// Its time ran out before it was ever offered.
    Expired,
    /// Its time ran out after an offer without evidence: nobody knows.
    Unconfirmed,
    /// A state of a later version.
    #[serde(other)]
    Unknown,
}

/// The way by which a message was offered, or by which it is known to have been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// A pushed notification.
    Channel,
    /// The output of a Claude Code hook.
    Hook,
    /// A tool's result.
    Tool,
    /// An answer that names it.
    Reply,
    /// `claude-peers inbox`.
    Cli,
    /// A way of a later version.
    #[serde(other)]
    Unknown,
}

macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        impl $type {
            /// The word for this on the wire, in the database and for people.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The reverse of [`Self::as_str`]; an unknown word is [`Self::Unknown`].
            #[must_use]
            pub fn from_word(word: &str) -> Self {
                match word { $($word => Self::$variant,)* _ => Self::Unknown }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
words!(MessageState {
    Queued = "queued",
    Offered = "offered",
    Read = "read",
    Expired = "expired",
    Unconfirmed = "unconfirmed",
    Unknown = "unknown",
});
words!(Via {
    Channel = "channel",
    Hook = "hook",
    Tool = "tool",
    Reply = "reply",
    Cli = "cli",
    Unknown = "unknown",
});

/// `POST /v1/messages`. The sender is not in it: the broker stamps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendMessage {
    /// Id, name, or an unambiguous prefix of either.
    pub to: String,
    pub text: String,
    /// The message that this one answers; it must have been addressed to the sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// The Claude Code session that a command line was called from, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_session: Option<String>,
    /// The caller is about to wait for the answer by `POST /v1/mailbox/answer`, so that nobody
    /// else is given it in between.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
}

/// The answer to [`SendMessage`]: the message is stored and survives whatever comes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sent {
    pub id: MessageId,
    pub state: MessageState,
    pub sent_at: Timestamp,
    /// The recipient, with its reachability and backlog.
    pub to: Peer,
    /// A call of the recipient's waits for this message and is given it at once.
    #[serde(default)]
    pub awaited: bool,
    /// Messages that wait for the sender.
    pub waiting: u64,
    /// Whose message it is: for a command line, that it speaks as a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Party>,
}

/// `POST /v1/messages/scope`: the same text to all live sessions of a scope but the sender.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendToScope {
    pub scope: Scope,
    pub text: String,
    /// For a caller that is no session: the directory that `scope` refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// For a caller that is no session: the repository that `scope` refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The Claude Code session that a command line was called from, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_session: Option<String>,
}

/// The answer to [`SendToScope`]: for each recipient, the message is stored or was refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SentToScope {
    pub outcomes: Vec<Outcome>,
    /// Messages that wait for the sender.
    pub waiting: u64,
    /// Whose message it is: for a command line, that it speaks as a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Party>,
}

/// What became of the message to one recipient.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The recipient, with its reachability and backlog.
    pub to: Peer,
    /// The message, if it is stored.
    #[serde(default)]
    pub id: Option<MessageId>,
    #[serde(default)]
    pub state: Option<MessageState>,
    /// A call of the recipient's waits for this message and is given it at once.
    #[serde(default)]
    pub awaited: bool,
    /// Why not, otherwise.
    #[serde(default)]
    pub refusal: Option<ApiError>,
}

/// One end of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    pub id: PeerId,
    #[serde(default)]
    pub name: Option<String>,
}

/// A message and where it stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Message {
    pub id: MessageId,
    pub from: Party,
    pub to: Party,
    pub text: String,
    #[serde(default)]
    pub reply_to: Option<MessageId>,
    pub sent_at: Timestamp,
    pub state: MessageState,
    #[serde(default)]
    pub offered_at: Option<Timestamp>,
    #[serde(default)]
    pub offered_via: Option<Via>,
    #[serde(default)]
    pub read_at: Option<Timestamp>,
    #[serde(default)]
    pub read_via: Option<Via>,
    pub expires_at: Timestamp,
}

impl Message {
    /// Since when it stands where it stands, and by which way it got there.
    #[must_use]
    pub fn standing(&self) -> (Timestamp, Option<Via>) {
        match self.state {
            MessageState::Queued | MessageState::Unknown => (self.sent_at, None),
            MessageState::Offered => (self.offered_at.unwrap_or(self.sent_at), self.offered_via),
            MessageState::Read => (self.read_at.unwrap_or(self.sent_at), self.read_via),
            MessageState::Expired => (self.expires_at, None),
            MessageState::Unconfirmed => (self.expires_at, self.offered_via),
        }
    }
}

/// `GET /v1/messages`: query parameters. The newest come first in choice, last in print.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListMessages {
    /// At most so many of the newest; 0 is the default of 20.
    #[serde(default)]
    pub limit: u32,
    /// Only those from or to this peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Only this message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// Only those that this peer sent; without a peer, those of the caller.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sent: bool,
}

/// The answer to [`ListMessages`], oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MessageList {
    pub messages: Vec<Message>,
    /// Older ones were left out, because the answer would have become too large.
    #[serde(default)]
    pub truncated: bool,
}
