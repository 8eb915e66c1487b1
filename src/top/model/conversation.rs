//! The messages from and to one peer, as lines of text that can be scrolled.
//!
//! The lines are made once, when a message comes or the width changes, and not for each picture.

use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::protocol::messages::{Message, MessageList};
use crate::protocol::{MessageId, PeerId};
use crate::text::{fit_start, terminal_line};
use crate::top::look::zoned;
use crate::top::model::command::{Problem, Serial, Surroundings};
use crate::top::model::cursor::Step;
use crate::top::model::entry::Entry;
use crate::top::wrap::wrap;

/// How many messages are kept, beyond which the oldest are dropped and can be read again.
const KEPT: usize = 2_000;

/// How many are dropped at once.
const DROPPED: usize = 500;

/// By how much the text of a message is indented.
pub const INDENT: usize = 2;

/// A line of the conversation. Messages are meant by their place in [`Conversation::entries`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A new day begins.
    Day(Date),
    /// Sender, recipient, time and state of a message.
    Head(usize),
    /// The beginning of the message that this one answers.
    Answers(usize, String),
    /// A line of the text of a message.
    Text(usize, String),
    Blank,
}

/// A conversation.
#[derive(Debug, Clone)]
pub struct Conversation {
    pub peer: PeerId,
    /// Its messages, oldest first.
    pub entries: Vec<Entry>,
    pub lines: Vec<Line>,
    /// The first line that is seen.
    pub top: usize,
    /// The newest message is shown as it comes.
    pub follows: bool,
    /// There may be messages before this one.
    pub older: Option<MessageId>,
    /// Newer messages are not loaded: a message that was found is shown in its place.
    pub newer_missing: bool,
    /// The message that was looked for.
    pub found: Option<MessageId>,
    /// The request that is under way.
    pub loading: Option<Serial>,
    /// That request asks for older messages, not for the newest.
    pub asked_older: bool,
    pub problem: Option<Problem>,
    width: usize,
    zone: TimeZone,
}

impl Conversation {
    /// A conversation of which nothing is known yet.
    #[must_use]
    pub fn new(peer: PeerId, zone: TimeZone) -> Self {
        Self {
            peer,
            entries: Vec::new(),
            lines: Vec::new(),
            top: 0,
            follows: true,
            older: None,
            newer_missing: false,
            found: None,
            loading: None,
            asked_older: false,
            problem: None,
            width: 0,
            zone,
        }
    }

    /// Takes the newest messages. Newer ones may have come meanwhile.
    pub fn newest(&mut self, list: &MessageList) {
        let page: Vec<Entry> = list.messages.iter().map(Entry::whole).collect();
        let known = std::mem::take(&mut self.entries);
        let is_new = |entry: &Entry| !page.iter().any(|read| read.id == entry.id);
        // What is not in the answer came after it, unless it is older than all of it.
        let oldest = page.first().map(|entry| entry.sent_at);
        let later = known
            .into_iter()
            .filter(|entry| is_new(entry) && oldest.is_none_or(|oldest| entry.sent_at >= oldest));
        let later: Vec<Entry> = later.collect();
        self.entries = page;
        self.entries.extend(later);
        self.older.clone_from(&list.next);
        self.newer_missing = false;
        self.lay_out();
    }

    /// Takes messages that were sent before all that are loaded.
    pub fn earlier(&mut self, list: &MessageList) {
        let mut page: Vec<Entry> = list.messages.iter().map(Entry::whole).collect();
        page.retain(|entry| !self.entries.iter().any(|known| known.id == entry.id));
        self.older.clone_from(&list.next);
        let before = self.lines.len();
        page.append(&mut self.entries);
        self.entries = page;
        self.lay_out();
        self.top += self.lines.len().saturating_sub(before);
    }

    /// Takes a message that was looked for, with what was sent before and after it.
    pub fn around(&mut self, list: &Surroundings, found: &MessageId) {
        let Surroundings { before, found: one, after } = list;
        self.entries = before.messages.iter().map(Entry::whole).collect();
        self.older.clone_from(&before.next);
        // If there are more newer ones, those between are missing.
        let whole = after.next.is_none();
        let later = if whole { &after.messages } else { &one.messages };
        for message in later {
            if !self.entries.iter().any(|known| known.id == message.id) {
                self.entries.push(Entry::whole(message));
            }
        }
        self.newer_missing = !whole;
        self.found = Some(found.clone());
        self.follows = false;
        self.lay_out();
        let is_found =
            |line: &Line| matches!(line, Line::Head(at) if self.entries[*at].id == *found);
        self.top = self.lines.iter().position(is_found).unwrap_or(0).saturating_sub(INDENT);
    }

    /// Adds a message of this peer, or replaces what is known of it.
    pub fn put(&mut self, message: &Message) {
        if message.from.id != self.peer && message.to.id != self.peer {
            return;
        }
        if let Some(known) = self.entries.iter_mut().rev().find(|known| known.id == message.id) {
            known.update(message);
            return;
        }
        let is_first = self.entries.is_empty() && self.loading.is_some();
        // An old message has changed its state, which is not loaded.
        let is_old = self.entries.first().is_some_and(|first| message.sent_at < first.sent_at);
        if self.newer_missing || is_old && !is_first {
            return;
        }
        self.entries.push(Entry::whole(message));
        if self.follows && self.entries.len() > KEPT {
            self.entries.drain(..DROPPED);
            self.older = self.entries.first().map(|first| first.id.clone());
            self.lay_out();
        } else {
            self.append(self.entries.len() - 1);
        }
    }

    /// Takes the width and height in which it is seen.
    pub fn settle(&mut self, width: usize, height: usize) {
        if self.width != width {
            // The same message stays at the top.
            let at = self.lines.get(self.top).and_then(entry_of);
            self.width = width;
            self.lay_out();
            if let Some(at) = at {
                let place = self.lines.iter().position(|line| entry_of(line) == Some(at));
                self.top = place.unwrap_or(self.top);
            }
        }
        let last = self.last_top(height);
        self.top = if self.follows { last } else { self.top.min(last) };
    }

    fn last_top(&self, height: usize) -> usize {
        self.lines.len().saturating_sub(height)
    }

    /// Scrolls. Returns whether older messages are wanted.
    pub fn scroll(&mut self, step: Step, height: usize) -> bool {
        let (page, last) = (height.saturating_sub(1).max(1), self.last_top(height));
        let was_at_start = self.top == 0;
        self.top = match step {
            Step::Up => self.top.saturating_sub(1),
            Step::Down => self.top + 1,
            Step::PageUp => self.top.saturating_sub(page),
            Step::PageDown => self.top + page,
            Step::First => 0,
            Step::Last => last,
        }
        .min(last);
        let upwards = matches!(step, Step::Up | Step::PageUp | Step::First);
        self.follows = !upwards && self.top == last && !self.newer_missing;
        upwards && was_at_start
    }

    /// Whether older messages can be asked for now.
    #[must_use]
    pub fn can_load(&self) -> bool {
        self.older.is_some() && self.loading.is_none()
    }

    fn lay_out(&mut self) {
        self.lines.clear();
        for at in 0..self.entries.len() {
            self.append(at);
        }
    }

    fn append(&mut self, at: usize) {
        let entry = &self.entries[at];
        let day = zoned(entry.sent_at, &self.zone).date();
        let last =
            at.checked_sub(1).map(|before| zoned(self.entries[before].sent_at, &self.zone).date());
        if !self.lines.is_empty() {
            self.lines.push(Line::Blank);
        }
        if last != Some(day) {
            self.lines.push(Line::Day(day));
        }
        self.lines.push(Line::Head(at));
        let width = self.width.saturating_sub(INDENT);
        if let Some(original) = &entry.reply_to {
            let known = self.entries.iter().rev().find(|known| known.id == *original);
            let start = known
                .map_or(original.as_str(), |known| known.text.lines().next().unwrap_or_default());
            let start = fit_start(&terminal_line(start, 200), width.saturating_sub(9));
            self.lines.push(Line::Answers(at, start));
        }
        let text = wrap(&entry.text, width).into_iter();
        self.lines.extend(text.map(|(_, line)| Line::Text(at, line.to_owned())));
    }
}

/// Returns the place of the message that a line is of.
fn entry_of(line: &Line) -> Option<usize> {
    match line {
        Line::Head(at) | Line::Answers(at, _) | Line::Text(at, _) => Some(*at),
        Line::Day(_) | Line::Blank => None,
    }
}
