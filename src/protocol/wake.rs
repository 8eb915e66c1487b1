//! Waking: a hint to an idle session that mail waits.
//!
//! A wake contains no text of a peer, and is never a delivery.

use serde::{Deserialize, Serialize};

use crate::protocol::{PeerId, ProcessId};

/// `POST /v1/wake`: waits until the session is to be woken for mail.
///
/// One request waits for each client process; a newer one replaces an older one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AwaitWake {
    /// The session that the client shows now.
    pub session: String,
    /// The client's process.
    #[serde(default)]
    pub client: Option<ProcessId>,
}

/// Why a session is to be woken.
///
/// The receiver of the wake reports it with [`WakeGiven`]; without that the broker sends another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WakeReason {
    pub peer: PeerId,
    /// How many messages wait.
    pub waiting: u64,
    /// The sequence number of the last of these messages.
    pub upto: i64,
}

/// The answer to [`AwaitWake`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Wake {
    /// Mail waits.
    Mail(WakeReason),
    /// Mail waits, and a turn seems to run: check whether the client is idle. Only for a caller that
    /// set [`WakeOptions::look_in`].
    Look(IdleCheck),
    /// A newer request waits now, or the client shows another session.
    Replaced,
    /// A value of a later version, which causes no wake.
    #[serde(other)]
    #[cfg_attr(test, schemars(skip))]
    Unknown,
}

/// Query parameters of `POST /v1/wake`. An older broker ignores them.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WakeOptions {
    /// The caller can check whether the client is idle, and accepts the first [`IdleCheck`] in so
    /// many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look_in: Option<u64>,
}

/// A request to check whether the client is idle, because no hook reports an interrupted turn.
///
/// The receiver answers with [`IdleCheckResult`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct IdleCheck {
    pub peer: PeerId,
    /// The turn that seems to run. A later hook event begins another.
    pub turn: u64,
}

/// `POST /v1/wake/looked`: the result of an idle check. An unknown result is not reported.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct IdleCheckResult {
    pub peer: PeerId,
    /// As in the [`IdleCheck`].
    pub turn: u64,
    /// Whether the client waits for its person; if not, it is working.
    pub idle: bool,
}

/// `POST /v1/wake/given`: reports a wake, so these messages cause no other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WakeGiven {
    pub peer: PeerId,
    pub upto: i64,
}
