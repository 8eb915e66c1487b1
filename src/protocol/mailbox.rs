//! The mailbox, from the receiver's side: take, confirm, and the receipt of pushes.

use serde::{Deserialize, Serialize};

use crate::protocol::js_json;
use crate::protocol::messages::{MessageState, Party, Via};
use crate::protocol::peers::Peer;
use crate::protocol::{MessageId, PeerId, Timestamp};

/// A message on its way to a model or a person.
#[derive(Debug, Clone, Serialize, Deserialize)]
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
    /// It was handed to an earlier receiver, so the model may have seen it already.
    #[serde(default)]
    pub repeat: bool,
    /// It was pushed to this very session, so the model may have seen it already.
    #[serde(default)]
    pub already_pushed: bool,
}

/// Query parameters of the calls that can wait. How long one is ready to wait is no part of what
/// it asks: a repetition with less time left is the same call, with the same idempotency key.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    /// Wait up to so many seconds, and not longer than [`MAX_WAIT`].
    #[serde(default, deserialize_with = "js_json::number_or_zero")]
    pub wait_seconds: u64,
}

/// The longest wait of one call, in seconds. Whoever has more time calls again.
pub const MAX_WAIT: u64 = 600;

/// `POST /v1/mailbox/take`: offer me what is unread, or, with [`Wait`], what comes first.
///
/// What is taken is held back from other receivers for a short lease; it is read once
/// [`Confirm`] says so, and offered again if nobody does.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// Stop before the texts exceed so many bytes (at least one message comes); 0 is no limit.
    #[serde(default, deserialize_with = "js_json::number_or_zero")]
    pub max_bytes: u64,
}

/// The answer to [`Take`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Taken {
    pub messages: Vec<Delivery>,
    /// How many more wait after these.
    pub remaining: u64,
    /// The caller's own messages that are not read yet, newest first, at most ten.
    pub own_unread: Vec<OwnUnread>,
    /// How many these are in all.
    pub own_unread_total: u64,
    /// Whose mailbox it is: for a command line, that it reads a session's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Party>,
}

/// `POST /v1/mailbox/answer`: offer me the answer to this message of mine, and nothing else; with
/// [`Wait`], once it comes.
///
/// An answer names the message. One that names none counts if nobody else waits for one of its
/// sender.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeAnswer {
    pub id: MessageId,
}

/// The answer to [`TakeAnswer`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Answered {
    /// It is read once [`Confirm`] says so, and offered again if nobody does.
    #[serde(default)]
    pub answer: Option<Delivery>,
    /// Where the message that was asked about stands now, and since when.
    pub state: MessageState,
    pub since: Timestamp,
    /// By which way it was offered or read.
    #[serde(default)]
    pub via: Option<Via>,
    /// Its recipient, with its reachability and backlog.
    pub to: Peer,
    /// Messages that wait for the caller.
    pub waiting: u64,
}

/// One of the caller's own messages that nobody is known to have read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OwnUnread {
    pub id: MessageId,
    pub to_id: PeerId,
    #[serde(default)]
    pub to_name: Option<String>,
    pub sent_at: Timestamp,
    pub state: MessageState,
    /// When and by which way it was offered last, if it was.
    #[serde(default)]
    pub offered_at: Option<Timestamp>,
    #[serde(default)]
    pub offered_via: Option<Via>,
}

/// `POST /v1/mailbox/confirm`: these stood in a result that went out.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirm {
    pub ids: Vec<MessageId>,
}

/// `POST /v1/mailbox/written`: these pushes were written to the client. An offer, not a read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    pub ids: Vec<MessageId>,
}

/// The answer to [`Confirm`] and [`Written`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Noted {
    /// How many of the ids were the caller's.
    pub noted: u64,
}
