//! The result of `list_peers`: who this session is, and the peers, nearest first.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use crate::mcp::tools::results::{
    MAX_SUMMARY, Output, ROOM, activity, commonest, describe_backlog, display_name, fitting,
    if_any, if_said, if_some, if_true, name_of, waiting_notice, waiting_paragraph,
};
use crate::protocol::Timestamp;
use crate::protocol::peers::{Peer, PeerKind, PeerList, Reachability};
use crate::protocol::scope::Scope;
use crate::sys::clock;
use crate::text;
use crate::text::message::MAX_NAME;

/// The longest parts of an entry, in characters: what is needed to choose a peer.
const LISTED_SUMMARY: usize = 200;
const LISTED_PATH: usize = 120;

/// Stands for a peer's name in a directory that several peers share but for their names.
const NAME: &str = "{name}";

#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ListPeersResult {
    me: Option<PeerView>,
    /// what holds for me and the peers where they say nothing else; {name} is their name
    default: Option<DefaultView>,
    peers: Vec<PeerView>,
    /// how many more peers there are
    more: Option<u64>,
    /// how to find them
    narrow: Option<String>,
    /// peers that are away, with messages that wait for them or a name under which they return
    away: Option<u64>,
    notes: Option<Vec<String>>,
    mail: Option<String>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
struct DefaultView {
    reach: Option<&'static str>,
    activity: Option<&'static str>,
    cwd: Option<String>,
}

/// A peer, as the list shows it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
struct PeerView {
    id: String,
    name: Option<String>,
    /// for me: whether others see me
    live: Option<bool>,
    reach: Option<&'static str>,
    /// busy, idle or waiting: a dialog is open
    activity: Option<&'static str>,
    cwd: Option<String>,
    summary: Option<String>,
    /// a session that ends with its answer (claude -p)
    one_shot: Option<bool>,
    /// its client, if that is not Claude Code
    client: Option<String>,
    /// messages that wait for it, and how old the oldest is
    unread: Option<u64>,
    oldest_unread: Option<String>,
}

impl PeerView {
    fn new(peer: &Peer, now: Timestamp) -> Self {
        Self {
            id: text::id(&peer.id),
            name: name_of(peer),
            live: None,
            reach: Some(peer.reach.known().as_str()),
            activity: activity(peer),
            cwd: if_said(text::path(&peer.cwd, LISTED_PATH)),
            summary: if_said(text::line(&peer.summary, LISTED_SUMMARY)),
            one_shot: if_true(peer.one_shot),
            client: if_said(text::line(&peer.client_name, MAX_NAME))
                .filter(|_| peer.kind == PeerKind::Client),
            unread: if_any(peer.unread),
            oldest_unread: peer.oldest_unread.map(|at| at.age(now)),
        }
    }

    /// Returns the directory, if it can be shared as it is.
    fn plain_cwd(&self) -> Option<&str> {
        self.cwd.as_deref().filter(|cwd| !cwd.contains(NAME))
    }

    /// Returns the directory with [`NAME`] in the place of the name, if the last part is the name.
    fn cwd_by_name(&self) -> Option<String> {
        let (parent, last) = self.plain_cwd()?.rsplit_once('/')?;
        (Some(last) == self.name.as_deref()).then(|| format!("{parent}/{NAME}"))
    }
}

/// Takes what most of the views share out of them, and returns it.
fn share(views: &mut [&mut PeerView]) -> Option<DefaultView> {
    let reach = commonest(views.iter().filter_map(|view| view.reach));
    // It is shared only if all have one, because none is not the same.
    let has_all = views.iter().all(|view| view.live.is_some() || view.activity.is_some());
    let activity = commonest(views.iter().filter_map(|view| view.activity)).filter(|_| has_all);
    let cwds =
        views.iter().flat_map(|view| [view.plain_cwd().map(str::to_owned), view.cwd_by_name()]);
    let cwd = commonest(cwds.flatten());
    for view in views {
        if view.reach == reach {
            view.reach = None;
        }
        if view.activity == activity {
            view.activity = None;
        }
        let has_shared = view.plain_cwd() == cwd.as_deref() || view.cwd_by_name() == cwd;
        if cwd.is_some() && has_shared {
            view.cwd = None;
        } else if cwd.is_some() && view.cwd.is_none() {
            // It has none, and not the shared one.
            view.cwd = Some(String::new());
        }
    }
    let shared = DefaultView { reach, activity, cwd };
    (shared.reach.is_some() || shared.cwd.is_some()).then_some(shared)
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub scope: Scope,
    /// The beginning of the names.
    pub name: Option<&'a str>,
}

impl Asked<'_> {
    /// Returns the place of the peers, as the end of a sentence.
    fn place(self) -> String {
        let place = self.scope.place();
        match self.name {
            Some(name) => {
                format!("{place} with a name that begins with {:?}", text::line(name, MAX_NAME))
            }
            None => place.to_owned(),
        }
    }
}

/// A peer in both forms.
struct Entry {
    line: String,
    view: PeerView,
    way: Reachability,
}

impl Entry {
    fn new(peer: &Peer, now: Timestamp) -> Self {
        let view = PeerView::new(peer, now);
        let way = peer.reach.known();
        Self { line: describe(&view, peer, now), view, way }
    }
}

/// Returns the list, with as many peers as a client shows.
pub fn list_peers(list: &PeerList, asked: Asked<'_>, notes: &[String]) -> Output {
    let now = clock::now();
    let head = head(list, notes);
    let me = list.me.as_ref();
    let me =
        me.map(|me| PeerView { live: Some(me.live), activity: None, ..PeerView::new(me, now) });
    let entries: Vec<Entry> = list.peers.iter().map(|peer| Entry::new(peer, now)).collect();
    let (_, output) = fitting(ROOM, entries.len(), |count| {
        let more = list.more + (entries.len() - count) as u64;
        let mut me = me.clone();
        let mut peers: Vec<_> = entries[..count].iter().map(|entry| entry.view.clone()).collect();
        let default = share(&mut me.iter_mut().chain(&mut peers).collect::<Vec<_>>());
        let result = ListPeersResult {
            me,
            default,
            peers,
            more: if_any(more),
            narrow: describe_more(more),
            away: if_any(list.away),
            notes: if_some(notes.iter().map(|note| text::line(note, MAX_SUMMARY)).collect()),
            mail: waiting_notice(list.waiting),
        };
        Output::new(format!("{head}{}", lines(list, &entries[..count], more, asked)), &result)
    });
    output
}

/// Returns the text about this session.
fn head(list: &PeerList, notes: &[String]) -> String {
    let mut out = String::new();
    if let Some(me) = &list.me {
        let cwd = text::path(&me.cwd, LISTED_PATH);
        let _ = writeln!(out, "You are {}, in {cwd}.", display_name(me));
        if me.summary.is_empty() {
            out.push_str("You have no summary yet: set_summary tells others what you work on.\n");
        }
    }
    for note in notes {
        let _ = writeln!(out, "Note: {}", text::line(note, MAX_SUMMARY));
    }
    out
}

/// Returns the text about the peers.
fn lines(list: &PeerList, shown: &[Entry], more: u64, asked: Asked<'_>) -> String {
    let place = asked.place();
    let mut out = match shown.len() as u64 + more {
        0 => format!("No other peer is live {place}.\n"),
        1 => format!("1 other peer {place}:\n"),
        all if more == 0 => format!("{all} other peers {place}:\n"),
        all => format!("{all} other peers {place}, the nearest {}:\n", shown.len()),
    };
    out.extend(shown.iter().map(|entry| entry.line.as_str()));
    describe_ways(shown, &mut out);
    if let Some(narrow) = describe_more(more) {
        let _ = writeln!(out, "{narrow}");
    }
    if list.away > 0 {
        let _ = writeln!(out, "{}", describe_away(list));
    }
    let mut out = out.trim_end().to_owned();
    out.push_str(&waiting_paragraph(list.waiting));
    out
}

/// Says how many peers are not shown, and how to find them.
fn describe_more(more: u64) -> Option<String> {
    (more > 0).then(|| {
        format!("{more} more, farther or longer idle: narrow by scope (repo, directory) or by name, the beginning of a peer's name.")
    })
}

fn describe(view: &PeerView, peer: &Peer, now: Timestamp) -> String {
    let mut out = format!("- {}", display_name(peer));
    if let Some(cwd) = &view.cwd {
        let _ = write!(out, ", in {cwd}");
    }
    let reach = peer.reach.known().as_str();
    let _ = write!(out, ": {reach}{}", describe_backlog(peer, now));
    if peer.one_shot {
        out.push_str(", a one-shot session that ends with its answer");
    }
    if let Some(activity) = view.activity {
        let _ = write!(out, ", {activity}");
    }
    if let Some(client) = &view.client {
        let _ = write!(out, ", client {client}");
    }
    if let Some(summary) = &view.summary {
        let _ = write!(out, "; says: \"{summary}\"");
    }
    out.push('\n');
    out
}

/// Says once what the words for reachability mean that occur in a list.
fn describe_ways(shown: &[Entry], out: &mut String) {
    let mut ways: Vec<_> = shown.iter().map(|entry| entry.way).collect();
    ways.sort_unstable();
    ways.dedup();
    for way in ways {
        let _ = writeln!(out, "{}: {}.", way.as_str(), way.meaning());
    }
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::protocol::PeerId;

    fn peer(name: &str, cwd: &str, summary: &str) -> Peer {
        Peer {
            id: PeerId::from_text(format!("{:a>8}", name.len())),
            name: Some(name.to_owned()),
            kind: PeerKind::Session,
            live: true,
            reach: Reachability::Tools,
            activity: crate::protocol::peers::Activity::Unknown,
            branch: None,
            since: Timestamp::from_millis(0),
            summary: summary.to_owned(),
            cwd: cwd.to_owned(),
            repo: None,
            client_name: String::new(),
            client_version: String::new(),
            one_shot: false,
            unread: 0,
            oldest_unread: None,
        }
    }

    fn list(me: Peer, peers: Vec<Peer>, more: u64) -> Output {
        let list = PeerList {
            me: Some(me),
            peers,
            more,
            away: 0,
            away_unread: Some(0),
            ended: Vec::new(),
            more_ended: false,
            waiting: 0,
        };
        list_peers(&list, Asked { scope: Scope::Machine, name: None }, &[])
    }

    /// Returns the length of a result as it is written.
    fn written(output: &Output) -> usize {
        let text = Value::from(output.text.as_str()).to_string();
        text.chars().count() + output.structured.to_string().chars().count()
    }

    #[test]
    fn ten_peers_cost_half_of_what_they_did() {
        const NAMES: [&str; 10] = [
            "login", "backend", "frontend", "docs", "infra", "mobile", "billing", "search", "ops",
            "tools",
        ];
        let place = |name: &str| format!("/home/ann/src/{name}");
        let peers = || NAMES.iter().map(|name| peer(name, &place(name), ""));
        let bare = list(peer("shop", &place("shop"), ""), peers().collect(), 0);
        // It was 1,950 characters.
        assert!(bare.structured.to_string().len() <= 460, "{}", bare.structured);
        let summary = "Fixes the tests of the checkout and its API.";
        let described: Vec<Peer> =
            peers().map(|peer| Peer { summary: summary.to_owned(), ..peer }).collect();
        let described = list(peer("shop", &place("shop"), summary), described, 0);
        // It was 2,434 characters.
        assert!(described.structured.to_string().len() <= 1_087, "{}", described.structured);
    }

    #[test]
    fn what_peers_share_is_said_once_and_what_differs_is_said() {
        let mut away = peer("docs", "/srv/docs", "");
        (away.reach, away.unread) = (Reachability::Away, 3);
        let odd = peer("odd", "/src/{name}", "");
        let none = peer("none", "", "");
        let peers =
            vec![peer("api", "/src/api", ""), peer("api-2", "/src/api", ""), away, odd, none];
        let shown = list(peer("shop", "/src/shop", ""), peers, 0).structured;
        let default = &shown["default"];
        assert_eq!((&default["reach"], &default["cwd"]), (&"tools".into(), &"/src/{name}".into()));
        let cwd = |at: usize| shown["peers"][at].get("cwd").and_then(Value::as_str);
        assert_eq!(cwd(0), None);
        assert_eq!(
            [cwd(1), cwd(2), cwd(3), cwd(4)],
            ["/src/api", "/srv/docs", "/src/{name}", ""].map(Some)
        );
        assert_eq!(shown["peers"][2]["reach"], "away");
        assert_eq!(shown["peers"][2]["unread"], 3);
        assert!(shown["peers"][0].get("unread").is_none() && shown["me"]["live"] == true);
    }

    #[test]
    fn a_list_of_any_length_fits_and_says_how_many_more_there_are() {
        let long = "the checkout \"API\" \u{202e}\\ ".repeat(30);
        for (name, cwd, summary) in [
            ("p", "/src/p", ""),
            ("a-longer-name-of-a-session-2", "/home/ann/src/shop/packages/checkout", "The API."),
            (long.as_str(), long.as_str(), long.as_str()),
        ] {
            for count in [0, 1, 60, 1_000] {
                let peers = vec![peer(name, cwd, summary); count];
                let output = list(peer(name, cwd, summary), peers, 1_000 - count as u64);
                assert!(written(&output) <= 20_000 - 200, "{count}: {}", written(&output));
                let shown = output.structured["peers"].as_array().unwrap().len();
                assert_eq!(output.structured["more"].as_u64().unwrap_or(0), 1_000 - shown as u64);
                assert!(shown >= count.min(8), "{shown} of {count}");
                let more = format!("{} more", 1_000 - shown);
                assert!(output.text.contains(&more) && output.structured["narrow"].is_string());
            }
        }
    }
}
