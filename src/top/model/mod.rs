//! What `top` knows and shows, without any input or output.
//!
//! Events, answers and actions go in; what the model asks for comes out as commands. The picture is a
//! function of the model alone.

mod act;
pub mod command;
pub mod conversation;
pub mod cursor;
pub mod editor;
pub mod entry;
pub mod feed;
pub mod peers;
pub mod search;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;

use jiff::tz::TimeZone;

use crate::protocol::PeerId;
use crate::protocol::events::Observed;
use crate::protocol::messages::{MessageState, Sent};
use crate::protocol::peers::Reachability;
use crate::top::layout::{Areas, Shape};
use crate::top::model::command::{Command, Outcome, Problem, Serial};
use crate::top::model::conversation::Conversation;
use crate::top::model::editor::Editor;
use crate::top::model::entry::name;
use crate::top::model::feed::Feed;
use crate::top::model::peers::Peers;
use crate::top::model::search::Search;
use crate::top::wrap::wrap;

pub use act::{Action, Click};

/// The most lines of a message that are seen while it is typed.
const EDITOR_LINES: usize = 5;

/// Whether the model is up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    Connecting,
    Live,
    /// The broker went away or cannot be reached; what is shown is what was known last.
    Lost(Problem),
}

/// What is shown beside or below the peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Feed,
    Conversation,
    Search,
}

/// Which pane has the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Focus {
    Peers,
    Content,
}

/// A message that is being written.
#[derive(Debug, Clone)]
pub struct Writing {
    pub to: PeerId,
    pub editor: Editor,
    /// It was sent, and the answer has not come.
    pub sending: bool,
    /// Why it could not be sent. The text is kept.
    pub problem: Option<Problem>,
}

/// A remark on what was done, until the next key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub text: String,
    pub is_problem: bool,
}

/// All that `top` knows.
#[derive(Debug, Clone)]
pub struct Model {
    pub width: u16,
    pub height: u16,
    pub connection: Connection,
    pub peers: Peers,
    pub feed: Feed,
    pub conversation: Option<Conversation>,
    pub search: Option<Search>,
    pub content: Content,
    pub focus: Focus,
    pub writing: Option<Writing>,
    pub notice: Option<Notice>,
    pub help: bool,
    /// Texts that were not sent, by their recipient.
    drafts: HashMap<PeerId, Editor>,
    commands: Vec<Command>,
    /// How many messages are being sent.
    sending: usize,
    serial: Serial,
    changed: bool,
    home: PathBuf,
    zone: TimeZone,
}

impl Model {
    #[must_use]
    pub fn new(home: PathBuf, zone: TimeZone) -> Self {
        Self {
            width: 0,
            height: 0,
            connection: Connection::Connecting,
            peers: Peers::default(),
            feed: Feed::default(),
            conversation: None,
            search: None,
            content: Content::Feed,
            focus: Focus::Peers,
            writing: None,
            notice: None,
            help: false,
            drafts: HashMap::new(),
            commands: Vec::new(),
            sending: 0,
            serial: Serial::default(),
            changed: true,
            home,
            zone,
        }
    }

    /// Whether there is anything new to show since this was asked last.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Returns what the model asks for, once.
    pub fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    fn next_serial(&mut self) -> Serial {
        self.serial.0 += 1;
        self.serial
    }

    /// Takes an event of the broker.
    pub fn observe(&mut self, event: Observed) {
        self.changed = true;
        match event {
            Observed::Snapshot { peers, messages } => {
                self.connection = Connection::Live;
                self.peers.replace(&peers, &self.home);
                self.feed.replace(&messages);
                // Messages may have been missed.
                self.reload();
            }
            Observed::Peer { peer } => self.peers.put(&peer, &self.home),
            Observed::PeerGone { id } => self.peers.remove(&id),
            Observed::Message { message } => {
                self.feed.put(&message);
                if let Some(conversation) = &mut self.conversation {
                    conversation.put(&message);
                }
                if let Some(search) = &mut self.search {
                    search.update(&message);
                }
            }
            // The end of the stream follows.
            Observed::Bye { .. } | Observed::Unknown => {}
        }
        self.settle();
    }

    /// Takes that the broker went away, or could not be reached.
    pub fn lost(&mut self, problem: Problem) {
        let lost = Connection::Lost(problem);
        self.changed |= self.connection != lost;
        self.connection = lost;
    }

    /// Takes the size of the terminal.
    pub fn resize(&mut self, width: u16, height: u16) {
        if (self.width, self.height) != (width, height) {
            (self.width, self.height) = (width, height);
            self.changed = true;
            self.settle();
        }
    }

    /// Returns the parts of the terminal; `None` if it is too small.
    #[must_use]
    pub fn areas(&self) -> Option<Areas> {
        let width = usize::from(self.width);
        let content = Areas::of(self.width, self.height, self.shape(0))?.content.width;
        let editor = self.writing.as_ref().map_or(0, |writing| {
            let lines = writing.editor.lines(usize::from(content).saturating_sub(2)).0.len();
            let problem = writing
                .problem
                .as_ref()
                .map_or(0, |problem| wrap(&problem.line(), width.min(content.into())).len());
            // With a line for the title.
            1 + lines.min(EDITOR_LINES) + problem
        });
        Areas::of(self.width, self.height, self.shape(u16::try_from(editor).unwrap_or(u16::MAX)))
    }

    fn shape(&self, editor: u16) -> Shape {
        let is_open = self.content != Content::Feed;
        Shape { peers: self.peers.listed().len().max(2), is_open, editor }
    }

    /// Fits everything that scrolls into its part of the terminal.
    fn settle(&mut self) {
        let Some(areas) = self.areas() else { return };
        if areas.peers.height == 0 {
            // Keys do nothing to what is not seen.
            self.focus = Focus::Content;
        }
        let rows = areas.rows();
        let (width, height) = (usize::from(rows.width), usize::from(rows.height));
        self.peers.settle(areas.peer_rows().height.into());
        self.feed.settle(height);
        if let Some(search) = &mut self.search {
            search.cursor.settle(search.results.len(), results_height(height));
        }
        let Some(conversation) = &mut self.conversation else { return };
        conversation.settle(width, height);
        // What does not fill the pane cannot be scrolled to its start.
        if conversation.lines.len() < height && conversation.problem.is_none() {
            self.load_older();
        }
    }

    /// Opens the conversation of a peer.
    fn open(&mut self, peer: PeerId) {
        if self.conversation.as_ref().is_none_or(|open| open.peer != peer || open.newer_missing) {
            self.conversation = Some(Conversation::new(peer, self.zone.clone()));
            self.reload();
        }
        (self.content, self.focus) = (Content::Conversation, Focus::Content);
    }

    /// Opens the conversation of a peer at a message that was found.
    fn open_at(&mut self, peer: PeerId, found: &entry::Entry) {
        let serial = self.next_serial();
        let mut conversation = Conversation::new(peer.clone(), self.zone.clone());
        conversation.loading = Some(serial);
        self.conversation = Some(conversation);
        let (message, sent_at) = (found.id.clone(), found.sent_at);
        self.commands.push(Command::Around { serial, peer, message, sent_at });
        (self.content, self.focus) = (Content::Conversation, Focus::Content);
    }

    /// Reads the newest messages of the conversation that is open.
    fn reload(&mut self) {
        let serial = self.next_serial();
        let Some(conversation) = &mut self.conversation else { return };
        (conversation.loading, conversation.asked_older) = (Some(serial), false);
        conversation.problem = None;
        let peer = conversation.peer.clone();
        self.commands.push(Command::History { serial, peer, before: None });
    }

    /// Reads older messages of the conversation that is open, if there are any.
    fn load_older(&mut self) {
        let serial = self.next_serial();
        let Some(conversation) = self.conversation.as_mut().filter(|open| open.can_load()) else {
            return;
        };
        (conversation.loading, conversation.asked_older) = (Some(serial), true);
        conversation.problem = None;
        let before = conversation.older.clone();
        let peer = conversation.peer.clone();
        self.commands.push(Command::History { serial, peer, before });
    }

    /// Takes what came back.
    pub fn finish(&mut self, outcome: Outcome) {
        self.changed = true;
        match outcome {
            Outcome::History { serial, result } => {
                let waits = |open: &&mut Conversation| open.loading == Some(serial);
                if let Some(open) = self.conversation.as_mut().filter(waits) {
                    open.loading = None;
                    match result {
                        Ok(list) if open.asked_older => open.earlier(&list),
                        Ok(list) => open.newest(&list),
                        Err(problem) => open.problem = Some(problem),
                    }
                }
            }
            Outcome::Around { serial, found, result } => {
                let waits = |open: &&mut Conversation| open.loading == Some(serial);
                if let Some(open) = self.conversation.as_mut().filter(waits) {
                    open.loading = None;
                    match result {
                        Ok(list) => open.around(&list, &found),
                        Err(problem) => open.problem = Some(problem),
                    }
                }
            }
            Outcome::Search { serial, result } => {
                let waits = |search: &&mut Search| search.loading == Some(serial);
                if let Some(search) = self.search.as_mut().filter(waits) {
                    search.loading = None;
                    match result {
                        Ok(list) => search.found(&list),
                        Err(problem) => search.problem = Some(problem),
                    }
                    // What was found does not fill the pane.
                    if search.results.len() < usize::from(self.height) / 2 {
                        self.search_further();
                    }
                }
            }
            Outcome::Sent { to, result } => self.sent(&to, result),
        }
        self.settle();
    }

    fn sent(&mut self, to: &PeerId, result: Result<Box<Sent>, Problem>) {
        self.sending = self.sending.saturating_sub(1);
        let writing = self.writing.as_mut().filter(|writing| writing.to == *to);
        match (result, writing) {
            (Ok(sent), writing) => {
                if let Some(writing) = writing {
                    writing.sending = false;
                    writing.editor.clear();
                    writing.problem = None;
                }
                self.drafts.remove(to);
                self.notice = Some(Notice { text: delivery(&sent), is_problem: false });
            }
            (Err(problem), Some(writing)) => {
                writing.sending = false;
                writing.problem = Some(problem);
            }
            (Err(problem), None) => {
                self.notice = Some(Notice { text: problem.line(), is_problem: true });
            }
        }
    }
}

/// Returns how many results of a search are seen: each takes two lines, below the words.
#[must_use]
pub const fn results_height(height: usize) -> usize {
    height.saturating_sub(1) / 2
}

/// Says how far a message has come that was just sent.
fn delivery(sent: &Sent) -> String {
    let to = &sent.to;
    let how = match (sent.state, to.reach) {
        _ if sent.awaited => "it was waiting for a message",
        (MessageState::Offered, Reachability::ChannelProven) => "pushed",
        (MessageState::Offered, _) => "pushed, not yet confirmed",
        (_, Reachability::Hooks) => "its hooks show it at its next step",
        (_, Reachability::Tools) => "it sees it when it next calls a claude-peers tool",
        (_, Reachability::Away) => "it is away; the message is kept until it returns",
        (_, Reachability::Ended) => "it has ended; its successor in that directory gets it",
        (_, Reachability::Inbox) => "it is in the inbox",
        (_, _) => "queued behind earlier messages",
    };
    let as_whom = sent
        .from
        .as_ref()
        .map_or_else(String::new, |from| format!(" as {}", name(from.name.as_deref(), &from.id)));
    let unread = match to.unread {
        0 => String::new(),
        unread => format!(" ({unread} unread there)"),
    };
    format!("Sent to {}{as_whom}: {how}{unread}.", name(to.name.as_deref(), &to.id))
}
