//! The event stream `GET /v1/stream`: server-sent events, one JSON object each.
//!
//! The open stream *is* the session's presence: it is live as long as the stream is open.

use serde::{Deserialize, Serialize};

use crate::protocol::mailbox::Delivery;
use crate::protocol::peers::Peer;
use crate::protocol::wake::{Look, Reason};

/// What the broker sends down a session's stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The first event: the session is live.
    Ready { peer: Box<Peer> },
    /// A message to push into the session.
    Message { delivery: Box<Delivery> },
    /// Mail waits and the session is idle: wake it. Only for one that registered that it can.
    Wake { reason: Reason },
    /// Mail waits, and a turn seems to be under way. Only for one that registered that it can wake.
    Look { look: Look },
    /// The broker ends the stream; the session may connect again.
    Bye { reason: ByeReason },
    /// An event of a later version; to be ignored.
    #[serde(other)]
    Unknown,
}

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
