//! A line about a session: for a status line, which is drawn often and must cost little.

use serde::{Deserialize, Serialize};

use crate::protocol::PeerId;

/// `GET /v1/brief`: query parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Brief {
    /// The session id in its client; without one, the command line is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// The answer to [`Brief`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BriefStatus {
    /// The session's peer; `None` if it has none.
    #[serde(default)]
    pub id: Option<PeerId>,
    #[serde(default)]
    pub name: Option<String>,
    /// How many other peers are live.
    pub live: u64,
    /// How many of them are in the session's repository or directory.
    pub near: u64,
    /// The backlog of its mailbox.
    pub unread: u64,
}
