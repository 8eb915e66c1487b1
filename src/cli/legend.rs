//! Explanations of the words that the commands show, below the help of those that show them.

use std::fmt::Write as _;

use crate::protocol::vocabulary::{MESSAGE_STATES, WAYS, WAYS_TO_REACH};

/// Returns lines with a word and what it means, aligned.
fn entries<'a>(all: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> String {
    let width = all.clone().map(|(word, _)| word.len()).max().unwrap_or(0);
    let mut lines = String::new();
    for (word, meaning) in all {
        // Writing to a string cannot fail.
        let _ = write!(lines, "\n  {word:width$}  {meaning}");
    }
    lines
}

/// The columns STATE and VIA of `peers`.
pub fn of_peers() -> String {
    let states = [
        ("busy", "its session is at work"),
        ("idle", "its session is ready for a prompt"),
        ("waiting", "its session waits for its person: a dialog is open"),
        ("live", "its session is running; what it does is not known"),
        ("away", "not running; messages wait for it"),
        ("ended", "ended; `--all` shows the command that resumes it"),
    ];
    let ways = WAYS_TO_REACH.map(|reach| (reach.short(), reach.meaning()));
    format!(
        "STATE:{}\n\nVIA, how a message reaches it:{}\n\nIn JSON these are `live`, `activity` and `reach`: \
         `channel` is \"channel_proven\" there, and `channel?` is \"channel_presumed\".",
        entries(states.into_iter()),
        entries(ways.into_iter()),
    )
}

/// The states of messages, and by which way they got there.
pub fn of_messages() -> String {
    let states = MESSAGE_STATES.map(|state| (state.as_str(), state.meaning()));
    let ways = WAYS.map(|via| (via.as_str(), via.meaning()));
    format!(
        "The state of a message:{}\n\nHow it was offered or read:{}",
        entries(states.into_iter()),
        entries(ways.into_iter())
    )
}
