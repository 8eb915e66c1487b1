//! The newest messages of all peers, as they flow.

use std::collections::VecDeque;

use crate::protocol::MessageId;
use crate::protocol::messages::Message;
use crate::top::model::cursor::{Cursor, Step};
use crate::top::model::entry::Entry;

/// How many messages are kept.
pub const KEPT: usize = 1_000;

/// The newest messages, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Feed {
    entries: VecDeque<Entry>,
    /// The selected message; `None` while the newest is shown as it comes.
    selected: Option<MessageId>,
    cursor: Cursor,
}

impl Feed {
    /// Replaces all messages.
    pub fn replace(&mut self, messages: &[Message]) {
        let newest = &messages[messages.len().saturating_sub(KEPT)..];
        self.entries = newest.iter().map(Entry::brief).collect();
        self.arrange();
    }

    /// Adds a message, or replaces what is known of it.
    pub fn put(&mut self, message: &Message) {
        if let Some(known) = self.entries.iter_mut().rev().find(|known| known.id == message.id) {
            known.update(message);
            return;
        }
        if self.entries.len() == KEPT {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry::brief(message));
        self.arrange();
    }

    fn arrange(&mut self) {
        let selected = self.selected.as_ref();
        let found = selected.and_then(|id| self.entries.iter().position(|entry| entry.id == *id));
        let last = self.entries.len().saturating_sub(1);
        self.cursor.selected = match (found, selected) {
            (Some(line), _) => line,
            // It is too old to be kept.
            (None, Some(_)) => 0,
            (None, None) => last,
        };
        if found.is_none() && selected.is_some() {
            self.remember();
        }
    }

    fn remember(&mut self) {
        let is_last = self.cursor.selected + 1 >= self.entries.len();
        let at = self.entries.get(self.cursor.selected).filter(|_| !is_last);
        self.selected = at.map(|entry| entry.id.clone());
    }

    #[must_use]
    pub const fn entries(&self) -> &VecDeque<Entry> {
        &self.entries
    }

    #[must_use]
    pub fn selected(&self) -> Option<&Entry> {
        self.entries.get(self.cursor.selected)
    }

    #[must_use]
    pub const fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// Whether the newest message is shown as it comes.
    #[must_use]
    pub const fn follows(&self) -> bool {
        self.selected.is_none()
    }

    pub fn step(&mut self, step: Step, height: usize) {
        self.cursor.step(step, self.entries.len(), height);
        self.remember();
    }

    /// Selects a line of the list. Returns whether there is one.
    pub fn select(&mut self, line: usize) -> bool {
        let exists = line < self.entries.len();
        if exists {
            self.cursor.selected = line;
            self.remember();
        }
        exists
    }

    /// Keeps the selection in sight.
    pub fn settle(&mut self, height: usize) {
        self.cursor.settle(self.entries.len(), height);
    }
}
