//! The tools' results, as text and as structured content.
//!
//! Claude Code shows its model the structured content only (measured with 2.1.330), other clients
//! show the text. So each form says everything, in sentences where their words matter. Everything
//! that another peer wrote passes through [`crate::text`] on its way in.

mod sent;
mod unread;

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::protocol::Timestamp;
use crate::protocol::peers::{Peer, PeerKind, PeerList, ProfileSet, Reachability};
use crate::protocol::scope::Scope;
use crate::sys::clock;
use crate::text;
use crate::text::message::{MAX_NAME, MAX_PATH};

pub use sent::{SendMessageResult, answered, send_message, sent_to_scope, wait_failed};
pub use unread::{CheckMessagesResult, check_messages};

const MAX_SUMMARY: usize = 500;

/// A result in both forms.
pub struct Output {
    pub text: String,
    pub structured: serde_json::Value,
}

impl Output {
    fn new(text: String, structured: &impl Serialize) -> Self {
        // Our own plain structs always serialise, and the text says the same.
        let mut structured = serde_json::to_value(structured).unwrap_or_default();
        remove_nulls(&mut structured);
        Self { text, structured }
    }
}

/// Removes members that are null, as the schemas say: not every client knows a type that may be null.
fn remove_nulls(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(object) => {
            object.retain(|_, member| !member.is_null());
            object.values_mut().for_each(remove_nulls);
        }
        serde_json::Value::Array(array) => array.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// A peer, as results show it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PeerView {
    id: String,
    name: Option<String>,
    live: bool,
    /// channel_proven, channel_presumed, hooks, tools, inbox, away or ended
    reachability: ReachabilityView,
    /// live or away since, RFC 3339
    since: String,
    cwd: String,
    summary: String,
    /// a session that ends with its answer (claude -p)
    one_shot: bool,
    /// its client, if that is not Claude Code
    client: Option<String>,
    /// messages that wait for it
    unread: u64,
    oldest_unread: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ReachabilityView {
    ChannelProven,
    ChannelPresumed,
    Hooks,
    Tools,
    Inbox,
    Away,
    Ended,
}

impl PeerView {
    fn new(peer: &Peer) -> Self {
        Self {
            id: peer.id.to_string(),
            name: peer.name.as_deref().map(|name| text::line(name, MAX_NAME)),
            live: peer.live,
            reachability: match peer.reach {
                Reachability::ChannelProven => ReachabilityView::ChannelProven,
                Reachability::ChannelPresumed => ReachabilityView::ChannelPresumed,
                Reachability::Hooks => ReachabilityView::Hooks,
                Reachability::Tools => ReachabilityView::Tools,
                Reachability::Inbox => ReachabilityView::Inbox,
                Reachability::Ended => ReachabilityView::Ended,
                Reachability::Away | Reachability::Unknown => ReachabilityView::Away,
            },
            since: peer.since.to_string(),
            cwd: text::line(&peer.cwd, MAX_PATH),
            summary: text::line(&peer.summary, MAX_SUMMARY),
            one_shot: peer.one_shot,
            client: Some(text::line(&peer.client_name, MAX_NAME))
                .filter(|name| peer.kind == PeerKind::Client && !name.is_empty()),
            unread: peer.unread,
            oldest_unread: peer.oldest_unread.map(|at| at.to_string()),
        }
    }

    /// Returns name and id, as a sentence names the peer.
    fn display_name(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.id),
            None => self.id.clone(),
        }
    }
}

fn describe_reachability(view: &PeerView) -> String {
    match view.reachability {
        ReachabilityView::ChannelProven => "live, gets pushes".to_owned(),
        ReachabilityView::ChannelPresumed => {
            "live, pushed to (not known whether it is shown)".to_owned()
        }
        ReachabilityView::Hooks => "live, its hooks show messages at its next step".to_owned(),
        ReachabilityView::Tools => {
            "live, sees messages when it calls a claude-peers tool".to_owned()
        }
        ReachabilityView::Inbox => "a person at the command line".to_owned(),
        ReachabilityView::Away => format!("away since {}", view.since),
        ReachabilityView::Ended => "ended, cannot come back".to_owned(),
    }
}

fn describe_backlog(peer: &Peer, now: Timestamp) -> String {
    match (peer.unread, peer.oldest_unread) {
        (0, _) => String::new(),
        (count, Some(oldest)) => format!(", {count} unread, the oldest {} old", oldest.age(now)),
        (count, None) => format!(", {count} unread"),
    }
}

/// Returns the last line of every result while messages wait.
fn waiting_notice(waiting: u64) -> Option<String> {
    match waiting {
        0 => None,
        1 => Some("1 message waits for you: call check_messages.".to_owned()),
        count => Some(format!("{count} messages wait for you: call check_messages.")),
    }
}

/// Returns the same as a paragraph of its own.
fn waiting_paragraph(waiting: u64) -> String {
    waiting_notice(waiting).map(|words| format!("\n\n{words}")).unwrap_or_default()
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ListPeersResult {
    me: Option<PeerView>,
    peers: Vec<PeerView>,
    /// peers that are away, with messages that wait for them or a name under which they return
    away: u64,
    notes: Vec<String>,
    /// messages that wait for me
    waiting: u64,
    mail: Option<String>,
}

pub fn list_peers(list: &PeerList, scope: Scope, notes: Vec<String>) -> Output {
    let now = clock::now();
    let mut out = String::new();
    let me = list.me.as_ref().map(PeerView::new);
    if let Some(me) = &me {
        let _ = writeln!(out, "You are {}, in {}.", me.display_name(), me.cwd);
        if me.summary.is_empty() {
            out.push_str("You have no summary yet: set_summary tells others what you work on.\n");
        }
    }
    for note in &notes {
        let _ = writeln!(out, "Note: {}", text::line(note, MAX_SUMMARY));
    }
    let place = scope.place();
    let _ = match list.peers.len() {
        0 => writeln!(out, "No other peer is live {place}."),
        1 => writeln!(out, "1 other peer {place}:"),
        count => writeln!(out, "{count} other peers {place}:"),
    };
    let peers: Vec<PeerView> = list.peers.iter().map(PeerView::new).collect();
    for (view, peer) in peers.iter().zip(&list.peers) {
        let _ = write!(
            out,
            "- {}, in {}: {}{}",
            view.display_name(),
            view.cwd,
            describe_reachability(view),
            describe_backlog(peer, now)
        );
        if view.one_shot {
            out.push_str(", a one-shot session that ends with its answer");
        }
        if let Some(client) = &view.client {
            let _ = write!(out, ", client {client}");
        }
        if !view.summary.is_empty() {
            let _ = write!(out, "; says: \"{}\"", view.summary);
        }
        out.push('\n');
    }
    if list.away > 0 {
        let _ = writeln!(out, "{}", describe_away(list));
    }
    let mut out = out.trim_end().to_owned();
    out.push_str(&waiting_paragraph(list.waiting));
    let mail = waiting_notice(list.waiting);
    Output::new(
        out,
        &ListPeersResult { me, peers, away: list.away, notes, waiting: list.waiting, mail },
    )
}

fn describe_away(list: &PeerList) -> String {
    let waits = match list.away_unread {
        None => String::new(),
        Some(0) => ", nothing waits for them".to_owned(),
        Some(1) => ", 1 message waits for them".to_owned(),
        Some(count) => format!(", {count} messages wait for them"),
    };
    format!("{} away{waits}; what is sent to them waits for their return.", list.away)
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct SetSummaryResult {
    id: String,
    name: Option<String>,
    summary: String,
    /// what happened to the name
    notes: Vec<String>,
    /// messages that wait for me
    waiting: u64,
    mail: Option<String>,
}

pub fn set_summary(set: &ProfileSet) -> Output {
    let view = PeerView::new(&set.peer);
    let notes: Vec<String> = set.notes.iter().map(|note| text::line(note, MAX_SUMMARY)).collect();
    let mut out = format!("Other sessions now see {}: \"{}\"", view.display_name(), view.summary);
    for note in &notes {
        let _ = write!(out, "\nNote: {note}");
    }
    out.push_str(&waiting_paragraph(set.waiting));
    let result = SetSummaryResult {
        id: view.id,
        name: view.name,
        summary: view.summary,
        notes,
        waiting: set.waiting,
        mail: waiting_notice(set.waiting),
    };
    Output::new(out, &result)
}
