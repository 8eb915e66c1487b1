//! The mailbox from the receiver's side: take, confirm, and receipts of pushes.

use serde::{Deserialize, Serialize};

use crate::protocol::js_json;
use crate::protocol::messages::{MessageState, Party, Via};
use crate::protocol::peers::Peer;
use crate::protocol::{MessageId, PeerId, Timestamp};

/// A message on its way to a model or a person.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Delivery {
    pub id: MessageId,
    pub from_id: PeerId,
    #[serde(default)]
    pub from_name: Option<String>,
    #[serde(default)]
    pub from_summary: String,
    #[serde(default)]
    pub from_cwd: String,
    pub sent_at: Timestamp,
    pub text: String,
    #[serde(default)]
    pub reply_to: Option<MessageId>,
    /// An earlier receiver was offered it, so the model may have seen it already.
    #[serde(default)]
    pub repeat: bool,
    /// It was pushed to this same session, so the model may have seen it already.
    #[serde(default)]
    pub already_pushed: bool,
}

/// Query parameters of the calls that can wait.
///
/// The time to wait is not part of the request: a retry with less time left is the same call, with
/// the same idempotency key.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// How long to wait, in seconds; at most [`MAX_WAIT`].
    #[serde(default, deserialize_with = "js_json::lenient_number")]
    pub wait_seconds: u64,
}

/// The longest wait of one call, in seconds. A caller with more time calls again.
pub const MAX_WAIT: u64 = 600;

/// `POST /v1/mailbox/take`: requests the unread messages or, with [`Wait`], the first to come.
///
/// Each message has a short lease, in which no other receiver is offered it. It is read after
/// [`Confirm`], and offered again without it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// The most bytes that the messages take in a tool's result, but at least one is returned; 0 means
    /// no limit.
    #[serde(default, deserialize_with = "js_json::lenient_number")]
    pub max_bytes: u64,
}

/// The answer to [`Take`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Taken {
    pub messages: Vec<Delivery>,
    /// How many more messages are unread after these.
    pub remaining: u64,
    /// The caller's own messages that are not read yet, newest first, at most ten.
    pub own_unread: Vec<OwnUnread>,
    /// How many of these there are in all.
    pub own_unread_total: u64,
    /// The owner of the mailbox, for a command line that reads the mail of a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Party>,
}

/// `POST /v1/mailbox/answer`: requests the reply to a message of the caller, and no other message;
/// with [`Wait`], as soon as it comes.
///
/// A message without `reply_to` counts as the reply if no other call waits for a reply of the same
/// sender.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TakeAnswer {
    pub id: MessageId,
}

/// The answer to [`TakeAnswer`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Answered {
    /// The reply. It is read after [`Confirm`], and offered again without it.
    #[serde(default)]
    pub answer: Option<Delivery>,
    /// The state of the message that the caller sent, and since when.
    pub state: MessageState,
    pub since: Timestamp,
    /// The way by which that message was offered or read.
    #[serde(default)]
    pub via: Option<Via>,
    /// The recipient of that message, with its reachability and backlog.
    pub to: Peer,
    /// Messages that wait for the caller.
    pub waiting: u64,
}

/// A message of the caller that is not known to have been read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OwnUnread {
    pub id: MessageId,
    pub to_id: PeerId,
    #[serde(default)]
    pub to_name: Option<String>,
    pub sent_at: Timestamp,
    pub state: MessageState,
    /// When and by which way it was last offered; absent if it was not.
    #[serde(default)]
    pub offered_at: Option<Timestamp>,
    #[serde(default)]
    pub offered_via: Option<Via>,
}

/// `POST /v1/mailbox/confirm`: reports a tool result with these messages as sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    pub ids: Vec<MessageId>,
}

/// `POST /v1/mailbox/written`: reports that these pushes were written to the client.
///
/// That is a receipt, and no evidence that they were read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Written {
    pub ids: Vec<MessageId>,
}

/// The answer to [`Confirm`] and [`Written`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Noted {
    /// How many of the ids belong to messages of the caller's mailbox.
    pub noted: u64,
}
