//! Peers, messages and a model for tests.

use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::protocol::events::Observed;
use crate::protocol::messages::{Message, MessageList, MessageState, Party};
use crate::protocol::peers::{Activity, Peer, PeerKind, Reachability};
use crate::protocol::{MessageId, PeerId, Timestamp};
use crate::top::model::Model;

/// When tests take place: Wednesday, 18 November 2026, 11:06:40 UTC.
pub const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

pub fn model(width: u16, height: u16) -> Model {
    let mut model = Model::new(PathBuf::from("/home/ada"), TimeZone::UTC);
    model.resize(width, height);
    model
}

pub fn id(name: &str) -> PeerId {
    PeerId::from_text(format!("{name}-id"))
}

/// A live peer that is idle.
pub fn peer(name: &str) -> Peer {
    Peer {
        id: id(name),
        name: Some(name.to_owned()),
        kind: PeerKind::Session,
        live: true,
        reach: Reachability::ChannelProven,
        activity: Activity::Idle,
        since: NOW.shifted(-3_600_000),
        summary: String::new(),
        cwd: format!("/home/ada/srv/{name}"),
        repo: None,
        branch: None,
        client_name: "claude-code".to_owned(),
        client_version: "2.1.330".to_owned(),
        one_shot: false,
        unread: 0,
        oldest_unread: None,
    }
}

pub fn away(name: &str) -> Peer {
    let (reach, activity) = (Reachability::Away, Activity::Unknown);
    Peer { live: false, reach, activity, ..peer(name) }
}

fn party(name: &str) -> Party {
    Party { id: id(name), name: Some(name.to_owned()) }
}

/// A message that was offered; later numbers were sent later.
pub fn message(number: u32, from: &str, to: &str, text: &str) -> Message {
    let sent_at = NOW.plus(Duration::from_secs(number.into())).shifted(-1_000_000);
    Message {
        id: MessageId::from_text(format!("m{number:06}")),
        from: party(from),
        to: party(to),
        text: text.to_owned(),
        reply_to: None,
        sent_at,
        state: MessageState::Offered,
        offered_at: Some(sent_at),
        offered_via: None,
        read_at: None,
        read_via: None,
        expires_at: sent_at.plus(Duration::from_secs(604_800)),
    }
}

pub fn read(message: Message) -> Message {
    let read_at = Some(message.sent_at.plus(Duration::from_secs(9)));
    Message { state: MessageState::Read, read_at, ..message }
}

pub fn list(messages: Vec<Message>, next: Option<u32>) -> MessageList {
    let next = next.map(|number| MessageId::from_text(format!("m{number:06}")));
    MessageList { messages, peer: None, truncated: false, next, unindexed: 0 }
}

pub fn snapshot(peers: Vec<Peer>, messages: Vec<Message>) -> Observed {
    Observed::Snapshot { peers, messages }
}

pub fn told(message: Message) -> Observed {
    Observed::Message { message: Box::new(message) }
}

pub fn changed(peer: Peer) -> Observed {
    Observed::Peer { peer: Box::new(peer) }
}
