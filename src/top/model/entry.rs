//! A message as it is shown: its texts are harmless for a terminal.

use crate::protocol::messages::{Message, MessageState, Party, Via};
use crate::protocol::{MessageId, PeerId, Timestamp};
use crate::text;
use crate::top::matches::matches;

/// The longest name that is shown, in characters. A line is cut to its columns later.
const MAX_NAME: usize = 60;

/// The longest text of a message in a list, in characters: more than the widest line shows.
const MAX_LINE: usize = 400;

/// How many characters are shown before the first word that was found.
const BEFORE_FOUND: usize = 24;

/// One end of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub id: PeerId,
    /// Its name, or its id if it has none.
    pub name: String,
}

impl End {
    fn of(party: &Party) -> Self {
        Self { id: party.id.clone(), name: name(party.name.as_deref(), &party.id) }
    }
}

/// A message.
#[derive(Debug, Clone)]
pub struct Entry {
    pub id: MessageId,
    pub from: End,
    pub to: End,
    /// The text: of a brief entry one line, else all of it.
    pub text: String,
    pub reply_to: Option<MessageId>,
    pub sent_at: Timestamp,
    pub state: MessageState,
    /// Since when it has this state.
    pub since: Timestamp,
    /// By which way it got there.
    pub via: Option<Via>,
}

impl Entry {
    /// A message with the beginning of its text on one line, for a list.
    #[must_use]
    pub fn brief(message: &Message) -> Self {
        // A long text is cut before the work is done on it.
        let text = start(&message.text, 4 * MAX_LINE);
        Self::with(message, text::terminal_line(text, MAX_LINE))
    }

    /// A message with the part of its text, on one line, in which the words of a search stand.
    #[must_use]
    pub fn found(message: &Message, words: &str) -> Self {
        let line = text::terminal_line(&message.text, usize::MAX);
        let first = matches(&line, words).first().map_or(0, |found| found.start);
        let before = line[..first].char_indices().rev().nth(BEFORE_FOUND).map_or(0, |(at, _)| at);
        let shown = text::cut(&line[before..], MAX_LINE);
        let text = if before == 0 { shown } else { format!("…{}", shown.trim_start()) };
        Self::with(message, text::terminal_line(&text, MAX_LINE))
    }

    /// A message with its whole text.
    #[must_use]
    pub fn whole(message: &Message) -> Self {
        Self::with(message, text::terminal(&message.text).replace('\t', "    "))
    }

    fn with(message: &Message, text: String) -> Self {
        let (since, via) = message.standing();
        Self {
            id: message.id.clone(),
            from: End::of(&message.from),
            to: End::of(&message.to),
            text,
            reply_to: message.reply_to.clone(),
            sent_at: message.sent_at,
            state: message.state,
            since,
            via,
        }
    }

    /// Takes over the state of a newer version of the same message.
    pub fn update(&mut self, message: &Message) {
        (self.since, self.via) = message.standing();
        self.state = message.state;
    }
}

/// Returns a peer's name, or its id if it has none, as one harmless line.
#[must_use]
pub fn name(name: Option<&str>, id: &PeerId) -> String {
    let name = text::terminal_line(name.unwrap_or_default(), MAX_NAME);
    if name.is_empty() { text::terminal_line(id.as_str(), MAX_NAME) } else { name }
}

/// Returns the beginning of a text, at most so many characters long.
fn start(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}
