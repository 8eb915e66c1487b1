//! Waking: a session that is idle is told that mail waits. A wake carries no text of a peer, and
//! it is never a delivery.

use serde::{Deserialize, Serialize};

use crate::protocol::{PeerId, ProcessId};

/// `POST /v1/wake`: answered when mail waits that the session is to be woken for; until then the
/// request stays open.
///
/// One waits for each client: a newer one takes the place of an older one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AwaitWake {
    /// The session that the client shows now.
    pub session: String,
    /// The client's process.
    #[serde(default)]
    pub client: Option<ProcessId>,
}

/// Why a session is to be woken. Whoever does it says so by [`WakeGiven`]; if nobody does, somebody
/// is told again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub peer: PeerId,
    /// How many messages wait.
    pub waiting: u64,
    /// The last of them, by its place in the order of messages.
    pub upto: i64,
}

/// The answer to [`AwaitWake`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Wake {
    /// Mail waits.
    Mail(Reason),
    /// Mail waits, and a turn seems to be under way. Only for one that said that it can look.
    Look(Look),
    /// A newer one waits now, or the client shows another session.
    Replaced,
    /// Something of a later version; it wakes nobody.
    #[serde(other)]
    Unknown,
}

/// What `POST /v1/wake` may be told in its query: an older broker does not read it.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Looks {
    /// The caller can look whether the client is idle, and wants to be asked for that in so many
    /// seconds at the earliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_in: Option<u64>,
}

/// A turn's end that no hook told: an interruption is heard of by nobody. Who is beside the client
/// is to look whether it is idle, and says so by [`Looked`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    pub peer: PeerId,
    /// The turn that seems to be under way. A later event of a hook is another.
    pub turn: u64,
}

/// `POST /v1/wake/looked`: what the client itself says of the turn. Who does not know says nothing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Looked {
    pub peer: PeerId,
    /// As in the [`Look`].
    pub turn: u64,
    /// The client waits for its person; otherwise it is at work.
    pub idle: bool,
}

/// `POST /v1/wake/given`: the session was told, so these messages are no reason for another wake.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WakeGiven {
    pub peer: PeerId,
    pub upto: i64,
}
