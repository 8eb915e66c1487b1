//! The event stream `GET /v1/stream`: server-sent events, each one JSON object.
//!
//! An open stream makes its session live.

use serde::{Deserialize, Serialize};

use crate::protocol::mailbox::Delivery;
use crate::protocol::peers::Peer;
use crate::protocol::wake::{IdleCheck, WakeReason};

/// An event that the broker sends on a session's stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The first event: the session is live.
    Ready { peer: Box<Peer> },
    /// A message to push into the session.
    Message { delivery: Box<Delivery> },
    /// Mail waits and the session is idle: wake it. Only for a server that registered with `wakes`.
    Wake { reason: WakeReason },
    /// Mail waits, and a turn seems to run: check whether the client is idle. Only for a server that
    /// registered with `wakes`.
    Look { look: IdleCheck },
    /// The broker ends the stream; the session may connect again.
    Bye { reason: ByeReason },
    /// An event of a later version, which is ignored.
    #[serde(other)]
    #[cfg_attr(test, schemars(skip))]
    Unknown,
}

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// The broker stops.
    Stopping,
    /// The same instance opened another stream.
    Replaced,
    /// Another reason: connect again.
    #[serde(other)]
    Reconnect,
}
