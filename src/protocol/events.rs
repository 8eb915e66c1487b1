//! The observer's stream `GET /v1/events`: all that happens, as server-sent events, each one JSON object.
//!
//! For people who look: a live view, a page, a log that follows. It changes nothing, and an observer is
//! no peer.

use serde::{Deserialize, Serialize};

use crate::protocol::PeerId;
use crate::protocol::messages::Message;
use crate::protocol::peers::Peer;
use crate::protocol::stream::ByeReason;

/// `GET /v1/events`: query parameters.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Observe {
    /// How many of the newest messages the snapshot has, at most [`MAX_RECENT`].
    #[serde(default)]
    pub recent: u32,
}

/// The most messages of a snapshot.
pub const MAX_RECENT: u32 = 1_000;

/// What an observer is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Observed {
    /// The first event. It comes again if the observer read too slowly: what it knows is out of date.
    Snapshot {
        /// The peers, as `GET /v1/peers` with `all` lists them: live ones first.
        peers: Vec<Peer>,
        /// The newest messages, oldest first.
        messages: Vec<Message>,
    },
    /// A peer is new, or anything of it has changed.
    Peer { peer: Box<Peer> },
    /// A peer is not listed any more.
    PeerGone { id: PeerId },
    /// A message is new, or its state has changed. Of several changes in a short time the last is told.
    Message { message: Box<Message> },
    /// The broker ends the stream; the observer may connect again.
    Bye { reason: ByeReason },
    /// An event of a later version, which is ignored.
    #[serde(other)]
    #[cfg_attr(test, schemars(skip))]
    Unknown,
}
