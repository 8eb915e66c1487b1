//! Waking: a session that is idle is told that mail waits. A wake carries no text of a peer, and
//! it is never a delivery.

use serde::{Deserialize, Serialize};

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

/// The answer to [`AwaitWake`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Wake {
    /// So many messages wait. The wake is the caller's: nobody else gives it.
    Mail { waiting: u64 },
    /// A newer one waits now, or the client shows another session.
    Replaced,
    /// Something of a later version; it wakes nobody.
    #[serde(other)]
    Unknown,
}
