//! A search over the whole history.

use crate::protocol::MessageId;
use crate::protocol::messages::{Message, MessageList};
use crate::top::model::command::{Problem, Serial};
use crate::top::model::cursor::{Cursor, Step};
use crate::top::model::editor::Editor;
use crate::top::model::entry::Entry;

/// A search: its words, and what was found.
#[derive(Debug, Clone, Default)]
pub struct Search {
    pub editor: Editor,
    /// The words are being typed.
    pub typing: bool,
    /// The words that were looked for.
    pub words: Option<String>,
    /// What was found, the newest first.
    pub results: Vec<Entry>,
    pub cursor: Cursor,
    /// There may be older messages with these words, before this one.
    pub next: Option<MessageId>,
    /// How many messages are not searched yet.
    pub unindexed: u64,
    pub loading: Option<Serial>,
    pub problem: Option<Problem>,
}

impl Search {
    /// Begins to look for the words that were typed. Returns them, unless there are none.
    pub fn begin(&mut self, serial: Serial) -> Option<String> {
        let words = self.editor.text().trim().to_owned();
        if words.is_empty() {
            return None;
        }
        self.typing = false;
        self.words = Some(words.clone());
        (self.results, self.cursor, self.next) = (Vec::new(), Cursor::default(), None);
        (self.loading, self.problem) = (Some(serial), None);
        Some(words)
    }

    /// Takes what was found.
    pub fn found(&mut self, list: &MessageList) {
        let words = self.words.clone().unwrap_or_default();
        for message in list.messages.iter().rev() {
            if !self.results.iter().any(|known| known.id == message.id) {
                self.results.push(Entry::found(message, &words));
            }
        }
        self.next.clone_from(&list.next);
        self.unindexed = list.unindexed;
    }

    /// Takes the new state of a message, if it was found.
    pub fn update(&mut self, message: &Message) {
        if let Some(known) = self.results.iter_mut().find(|known| known.id == message.id) {
            known.update(message);
        }
    }

    #[must_use]
    pub fn selected(&self) -> Option<&Entry> {
        self.results.get(self.cursor.selected)
    }

    /// Moves the selection. Returns whether older messages are wanted.
    pub fn step(&mut self, step: Step, height: usize) -> bool {
        let before = self.cursor.selected;
        self.cursor.step(step, self.results.len(), height);
        let downwards = matches!(step, Step::Down | Step::PageDown | Step::Last);
        downwards
            && before + 1 >= self.results.len()
            && self.next.is_some()
            && self.loading.is_none()
    }
}
