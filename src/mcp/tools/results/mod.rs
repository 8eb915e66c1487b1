//! The tools' results: text, and the same as structured content.
//!
//! Claude Code shows its model the structured content alone and drops the text (measured with
//! 2.1.330), other clients show the text. So each form says everything, in words where words
//! matter. Everything that another peer wrote passes through [`crate::text`] on its way in.

mod sent;
mod unread;

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::protocol::Timestamp;
use crate::protocol::peers::{Peer, PeerKind, PeerList, ProfileSet, Reachability, Scope};
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
        // Our own plain structs always serialise; the text says the same.
        let mut structured = serde_json::to_value(structured).unwrap_or_default();
        leave_out_nulls(&mut structured);
        Self { text, structured }
    }
}

/// What there is not is not mentioned. The schemas say it so, because not every client knows a
/// type that may be null.
fn leave_out_nulls(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(object) => {
            object.retain(|_, member| !member.is_null());
            object.values_mut().for_each(leave_out_nulls);
        }
        serde_json::Value::Array(array) => array.iter_mut().for_each(leave_out_nulls),
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
    reachability: Reach,
    /// live or away since, RFC 3339
    since: String,
    cwd: String,
    summary: String,
    /// it ends with its answer (claude -p)
    one_shot: bool,
    /// its program, where that is not Claude Code
    client: Option<String>,
    /// messages that wait for it
    unread: u64,
    oldest_unread: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Reach {
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
                Reachability::ChannelProven => Reach::ChannelProven,
                Reachability::ChannelPresumed => Reach::ChannelPresumed,
                Reachability::Hooks => Reach::Hooks,
                Reachability::Tools => Reach::Tools,
                Reachability::Inbox => Reach::Inbox,
                Reachability::Ended => Reach::Ended,
                Reachability::Away | Reachability::Unknown => Reach::Away,
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

    fn called(&self) -> String {
        match &self.name {
            Some(name) => format!("{name} ({})", self.id),
            None => self.id.clone(),
        }
    }
}

fn reach_words(view: &PeerView) -> String {
    match view.reachability {
        Reach::ChannelProven => "live, gets pushes".to_owned(),
        Reach::ChannelPresumed => "live, pushed to (not known whether it is shown)".to_owned(),
        Reach::Hooks => "live, its hooks show mail with its next step".to_owned(),
        Reach::Tools => "live, sees mail when it calls a tool".to_owned(),
        Reach::Inbox => "a person at the command line".to_owned(),
        Reach::Away => format!("away since {}", view.since),
        Reach::Ended => "its program has ended".to_owned(),
    }
}

fn backlog_words(peer: &Peer, now: Timestamp) -> String {
    match (peer.unread, peer.oldest_unread) {
        (0, _) => String::new(),
        (count, Some(oldest)) => format!(", {count} unread, the oldest {} old", oldest.age(now)),
        (count, None) => format!(", {count} unread"),
    }
}

/// What stands at the end of every result while mail waits.
fn mail_words(waiting: u64) -> Option<String> {
    match waiting {
        0 => None,
        1 => Some("1 message waits for you: call check_messages.".to_owned()),
        count => Some(format!("{count} messages wait for you: call check_messages.")),
    }
}

fn mail_line(waiting: u64) -> String {
    mail_words(waiting).map(|words| format!("\n\n{words}")).unwrap_or_default()
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ListPeersResult {
    me: Option<PeerView>,
    peers: Vec<PeerView>,
    /// peers that are not here now, with mail that waits or a name by which they return
    away: u64,
    notes: Vec<String>,
    /// messages that wait for me
    waiting: u64,
    mail: Option<String>,
}

pub fn list_peers(list: &PeerList, scope: Scope, notes: Vec<String>) -> Output {
    let now = Timestamp::now();
    let mut out = String::new();
    let me = list.me.as_ref().map(PeerView::new);
    if let Some(me) = &me {
        let _ = writeln!(out, "You are {}, in {}.", me.called(), me.cwd);
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
            view.called(),
            view.cwd,
            reach_words(view),
            backlog_words(peer, now)
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
        let _ = writeln!(out, "{}", away_words(list));
    }
    let mut out = out.trim_end().to_owned();
    out.push_str(&mail_line(list.waiting));
    let mail = mail_words(list.waiting);
    Output::new(
        out,
        &ListPeersResult { me, peers, away: list.away, notes, waiting: list.waiting, mail },
    )
}

fn away_words(list: &PeerList) -> String {
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
    /// what to know of the name
    notes: Vec<String>,
    /// messages that wait for me
    waiting: u64,
    mail: Option<String>,
}

pub fn set_summary(set: &ProfileSet) -> Output {
    let view = PeerView::new(&set.peer);
    let notes: Vec<String> = set.notes.iter().map(|note| text::line(note, MAX_SUMMARY)).collect();
    let mut out = format!("Others now see {}: \"{}\"", view.called(), view.summary);
    for note in &notes {
        let _ = write!(out, "\nNote: {note}");
    }
    out.push_str(&mail_line(set.waiting));
    let result = SetSummaryResult {
        id: view.id,
        name: view.name,
        summary: view.summary,
        notes,
        waiting: set.waiting,
        mail: mail_words(set.waiting),
    };
    Output::new(out, &result)
}
