//! The mailbox, from the receiver's side: take, confirm, and the receipt of pushes.

use serde::{Deserialize, Serialize};

use super::messages::MessageState;
use super::{MessageId, PeerId, Timestamp};

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

/// `POST /v1/mailbox/take`: offer me what is unread.
///
/// What is taken is held back from other receivers for a short lease; it is read once
/// [`Confirm`] says so, and offered again if nobody does.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Take {
    /// Stop before the texts exceed so many bytes (at least one message comes); 0 is no limit.
    #[serde(default)]
    pub max_bytes: u64,
}

/// The answer to [`Take`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Taken {
    pub messages: Vec<Delivery>,
    /// How many more wait after these.
    pub remaining: u64,
    /// The caller's own messages that are not read yet, newest first, at most ten.
    pub own_unread: Vec<OwnUnread>,
    /// How many these are in all.
    pub own_unread_total: u64,
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
