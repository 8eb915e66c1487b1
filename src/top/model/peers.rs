//! The peers, in the order in which they are listed, and which of them is selected.

use std::path::Path;

use crate::protocol::peers::{Activity, Peer, PeerKind, Reachability};
use crate::protocol::{PeerId, Timestamp};
use crate::text;
use crate::top::model::cursor::{Cursor, Step};
use crate::top::model::entry::name;

/// What a peer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    Busy,
    Idle,
    /// It waits for its person.
    Waiting,
    /// Live, and nothing tells what it does.
    Live,
    /// The person at the command line.
    Inbox,
    Away,
    Ended,
}

impl PeerState {
    /// The word for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Live => "live",
            Self::Inbox => "-",
            Self::Away => "away",
            Self::Ended => "ended",
        }
    }

    const fn of(peer: &Peer) -> Self {
        match (peer.live, peer.activity, peer.reach) {
            (_, _, Reachability::Inbox) => Self::Inbox,
            (true, Activity::Busy, _) => Self::Busy,
            (true, Activity::Idle, _) => Self::Idle,
            (true, Activity::Waiting, _) => Self::Waiting,
            (true, Activity::Unknown, _) => Self::Live,
            (false, _, Reachability::Ended) => Self::Ended,
            (false, _, _) => Self::Away,
        }
    }
}

/// A peer as it is shown: its texts are harmless for a terminal.
#[derive(Debug, Clone)]
pub struct PeerRow {
    pub id: PeerId,
    pub name: String,
    pub state: PeerState,
    pub reach: Reachability,
    pub unread: u64,
    pub oldest_unread: Option<Timestamp>,
    /// Since when it is live or away.
    pub since: Timestamp,
    /// Its directory, the home as `~`.
    pub directory: String,
    pub branch: String,
    pub summary: String,
    /// The client program and its version.
    pub client: String,
}

impl PeerRow {
    fn new(peer: &Peer, home: &Path) -> Self {
        let line = |text: &str, most| text::terminal_line(text, most);
        let client = format!("{} {}", peer.client_name, peer.client_version);
        Self {
            id: peer.id.clone(),
            name: name(peer.name.as_deref(), &peer.id),
            state: PeerState::of(peer),
            reach: peer.reach,
            unread: peer.unread,
            oldest_unread: peer.oldest_unread,
            since: peer.since,
            directory: line(&in_home(&peer.cwd, home), 500),
            branch: line(peer.branch.as_deref().unwrap_or_default(), 120),
            summary: line(&peer.summary, 500),
            client: if peer.kind == PeerKind::Cli { String::new() } else { line(&client, 80) },
        }
    }

    /// Whether it is live.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(
            self.state,
            PeerState::Busy | PeerState::Idle | PeerState::Waiting | PeerState::Live
        )
    }

    /// Live peers come first, then the person, then those that are away; each by name.
    fn place_in_list(&self) -> (u8, &str, &PeerId) {
        let group = match self.state {
            _ if self.is_live() => 0,
            PeerState::Inbox => 1,
            _ => 2,
        };
        (group, &self.name, &self.id)
    }
}

/// Writes the home at the beginning of a path as `~`.
fn in_home(path: &str, home: &Path) -> String {
    match Path::new(path).strip_prefix(home) {
        Ok(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
        Ok(rest) => format!("~/{}", rest.display()),
        Err(_) => path.to_owned(),
    }
}

/// The peers.
#[derive(Debug, Clone, Default)]
pub struct Peers {
    rows: Vec<PeerRow>,
    /// Those that are listed, as places in `rows`.
    listed: Vec<usize>,
    selected: Option<PeerId>,
    cursor: Cursor,
    /// Those that are away are listed, too.
    pub all: bool,
}

impl Peers {
    /// Replaces all peers.
    pub fn replace(&mut self, peers: &[Peer], home: &Path) {
        self.rows = peers.iter().map(|peer| PeerRow::new(peer, home)).collect();
        self.arrange();
    }

    /// Adds a peer, or replaces what is known of it.
    pub fn put(&mut self, peer: &Peer, home: &Path) {
        let row = PeerRow::new(peer, home);
        match self.rows.iter_mut().find(|known| known.id == row.id) {
            Some(known) => *known = row,
            None => self.rows.push(row),
        }
        self.arrange();
    }

    pub fn remove(&mut self, id: &PeerId) {
        self.rows.retain(|row| row.id != *id);
        self.arrange();
    }

    /// Lists those that are away, too, or not.
    pub fn toggle_all(&mut self) {
        self.all = !self.all;
        self.arrange();
    }

    fn arrange(&mut self) {
        self.rows.sort_by(|a, b| a.place_in_list().cmp(&b.place_in_list()));
        let is_listed = |row: &PeerRow| match row.state {
            PeerState::Away | PeerState::Ended => self.all,
            PeerState::Inbox => self.all || row.unread > 0,
            _ => true,
        };
        self.listed = (0..self.rows.len()).filter(|at| is_listed(&self.rows[*at])).collect();
        let selected = self.selected.as_ref();
        let found = self.listed().position(|row| Some(&row.id) == selected);
        // If it is not listed any more, the one in its place is selected.
        self.cursor.selected =
            found.unwrap_or(self.cursor.selected).min(self.listed.len().saturating_sub(1));
        self.remember();
    }

    fn remember(&mut self) {
        let at = self.listed.get(self.cursor.selected).copied();
        self.selected = at.map(|at| self.rows[at].id.clone());
    }

    /// The peers that are listed, in order.
    pub fn listed(&self) -> impl ExactSizeIterator<Item = &PeerRow> {
        self.listed.iter().map(|at| &self.rows[*at])
    }

    #[must_use]
    pub fn get(&self, id: &PeerId) -> Option<&PeerRow> {
        self.rows.iter().find(|row| row.id == *id)
    }

    #[must_use]
    pub fn selected(&self) -> Option<&PeerRow> {
        self.listed.get(self.cursor.selected).map(|at| &self.rows[*at])
    }

    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub fn step(&mut self, step: Step, height: usize) {
        self.cursor.step(step, self.listed.len(), height);
        self.remember();
    }

    /// Selects a line of the list. Returns whether there is one.
    pub fn select(&mut self, line: usize) -> bool {
        let exists = line < self.listed.len();
        if exists {
            self.cursor.selected = line;
            self.remember();
        }
        exists
    }

    /// Selects a peer, if it is listed.
    pub fn select_peer(&mut self, id: &PeerId) {
        let line = self.listed().position(|row| row.id == *id);
        if let Some(line) = line {
            self.select(line);
        }
    }

    /// Keeps the selection in sight.
    pub fn settle(&mut self, height: usize) {
        self.cursor.settle(self.listed.len(), height);
    }

    /// How many peers are live, how many are not, and how many messages are unread.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, u64) {
        let live = self.rows.iter().filter(|row| row.is_live()).count();
        let away =
            self.rows.iter().filter(|row| matches!(row.state, PeerState::Away | PeerState::Ended));
        (live, away.count(), self.rows.iter().map(|row| row.unread).sum())
    }
}
