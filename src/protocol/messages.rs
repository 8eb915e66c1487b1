//! Messages: sending them, and their states.

use serde::{Deserialize, Serialize};

use crate::protocol::peers::Peer;
use crate::protocol::scope::Scope;
use crate::protocol::{ApiError, MessageId, PeerId, Timestamp};

/// The state of a message: `queued → offered → read`.
///
/// After its time to live a message that was never offered is `expired`, and one that was offered
/// without evidence is `unconfirmed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum MessageState {
    /// Stored, and offered to no receiver yet.
    Queued,
    /// Offered to a receiver; whether the model had it is not known yet.
    Offered,
    /// There is evidence that the model had it.
    Read,
    /// Its time to live ended before it was ever offered.
    Expired,
    /// Its time to live ended after an offer without evidence; it may have been read.
    Unconfirmed,
    /// A state of a later version.
    #[serde(other)]
    Unknown,
}

/// The way by which a message was offered, or by which it is known to have been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
            /// Returns the word for this on the wire, in the database and for people.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// Reads what [`Self::as_str`] returns; an unknown word is [`Self::Unknown`].
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

/// `POST /v1/messages`: sends a message to one peer.
///
/// The broker derives the sender from the session token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SendMessage {
    /// Id, name, or an unambiguous prefix of either.
    pub to: String,
    pub text: String,
    /// The message to which this is a reply; the sender must be its recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<MessageId>,
    /// The Claude Code session that a command line was called from, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_session: Option<String>,
    /// The caller is about to wait for the reply with `POST /v1/mailbox/answer`, so the reply is
    /// reserved for that call.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
}

/// The answer to [`SendMessage`]: the message is stored durably.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Sent {
    pub id: MessageId,
    pub state: MessageState,
    pub sent_at: Timestamp,
    /// The recipient, with its reachability and backlog.
    pub to: Peer,
    /// A call of the recipient is waiting for this message and gets it at once.
    #[serde(default)]
    pub awaited: bool,
    /// How many messages are unread in the sender's own mailbox.
    pub waiting: u64,
    /// The sender, for a command line that speaks as a session.
    #[serde(default)]
    pub from: Option<Party>,
}

/// The most messages of one [`SendBatch`].
pub const MAX_BATCH_MESSAGES: usize = 256;

/// The largest body with a [`SendBatch`], in bytes. One message of any accepted size fits into it.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// `POST /v1/messages/batch`: sends messages of one caller, in this order.
///
/// Each message is accepted or refused for itself. Those that are accepted share one commit. A
/// request of more than [`MAX_BATCH_MESSAGES`] or [`MAX_BATCH_BYTES`] is refused as a whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SendBatch {
    pub messages: Vec<BatchedMessage>,
    /// The batch may have been carried out before: its answer was lost.
    ///
    /// A message that was refused then stays refused if a later one of the batch was accepted, even
    /// if it could be accepted now: it would come after that one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

/// One message of a [`SendBatch`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BatchedMessage {
    /// The idempotency key of this message, which has the place of the header of the same name.
    pub key: String,
    pub message: SendMessage,
}

/// The answer to [`SendBatch`]: an outcome for each message, in the same order.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SentBatch {
    pub outcomes: Vec<BatchOutcome>,
}

/// What became of one message of a [`SendBatch`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BatchOutcome {
    /// The message is stored durably.
    Sent(Box<Sent>),
    /// The message is not stored.
    Refused(ApiError),
}

/// `POST /v1/messages/scope`: sends the same text to all live sessions of a scope but the sender.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SendToScope {
    pub scope: Scope,
    pub text: String,
    /// The directory to which `scope` refers, for a caller that is not a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// The repository to which `scope` refers, for a caller that is not a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The Claude Code session that a command line was called from, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_session: Option<String>,
}

/// The answer to [`SendToScope`]: for each recipient, its message was stored or refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SentToScope {
    pub outcomes: Vec<Outcome>,
    /// How many messages are unread in the sender's own mailbox.
    pub waiting: u64,
    /// The sender, for a command line that speaks as a session.
    #[serde(default)]
    pub from: Option<Party>,
}

/// The result of the message to one recipient.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Outcome {
    /// The recipient, with its reachability and backlog.
    pub to: Peer,
    /// The message, if it is stored.
    #[serde(default)]
    pub id: Option<MessageId>,
    #[serde(default)]
    pub state: Option<MessageState>,
    /// A call of the recipient is waiting for this message and gets it at once.
    #[serde(default)]
    pub awaited: bool,
    /// Why it is not stored.
    #[serde(default)]
    pub refusal: Option<ApiError>,
}

/// One end of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Party {
    pub id: PeerId,
    #[serde(default)]
    pub name: Option<String>,
}

impl Party {
    /// Returns its name, or its id if it has none.
    #[must_use]
    pub fn called(&self) -> &str {
        self.name.as_deref().unwrap_or(self.id.as_str())
    }
}

/// A message and its state.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
    /// Returns since when the message has its state, and by which way it got there.
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

/// How many messages [`ListMessages`] lists if it names no limit.
pub const DEFAULT_LIMIT: u32 = 20;

/// `GET /v1/messages`: query parameters. The newest messages are chosen, and listed oldest first.
///
/// A message must fit all that is given.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ListMessages {
    /// The most messages to list; 0 means the default of 20.
    #[serde(default)]
    pub limit: u32,
    /// Lists only messages from or to this peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Lists only this message: its id, or an unambiguous prefix of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// Lists only messages that this peer sent; without a peer, those that the caller sent.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sent: bool,
    /// Lists only messages that the caller sent or got; with a peer, those between the two.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// Lists only messages with all of these words, in any order. The last may be the beginning of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Lists only messages that were sent at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Lists only messages that were sent before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Lists only messages in these states, separated by commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Lists only the thread of this message: what it answers, and what answers it, over all steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<MessageId>,
    /// Lists only messages that were sent before this one, to go on from an earlier answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<MessageId>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the form that serde calls
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The answer to [`ListMessages`], oldest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MessageList {
    pub messages: Vec<Message>,
    /// Older messages were left out, because the answer would have become too large; `next` is set.
    #[serde(default)]
    pub truncated: bool,
    /// The peer whose messages are listed, if only those of one are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<PeerId>,
    /// There may be older messages that fit: ask again with this as [`ListMessages::before`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<MessageId>,
    /// About how many messages the index of words does not have yet, so that a search did not find them. It
    /// is being built.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unindexed: u64,
}
