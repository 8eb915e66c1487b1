//! Waking: a session that is idle is told that mail waits. A wake carries no text of a peer, and
//! it is never a delivery.

use serde::{Deserialize, Serialize};

use super::PeerId;
use crate::process::Process;

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
    pub client: Option<Process>,
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
    /// A newer one waits now, or the client shows another session.
    Replaced,
    /// Something of a later version; it wakes nobody.
    #[serde(other)]
    Unknown,
}

/// `POST /v1/wake/given`: the session was told, so these messages are no reason for another wake.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WakeGiven {
    pub peer: PeerId,
    pub upto: i64,
}
