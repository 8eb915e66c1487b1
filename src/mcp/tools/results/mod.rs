//! The tools' results, as text and as structured content.
//!
//! Claude Code and Codex show their models the structured content only, Gemini and opencode the text
//! only (measured). So each form says everything, in as few words as that takes: what is usual is left
//! out, and what many entries share is said once. Everything that another peer wrote passes through
//! [`crate::text`] on its way in.

mod earlier;
#[cfg(test)]
mod hostile;
mod parts;
mod peers;
mod sent;
#[cfg(test)]
mod standing;
mod unread;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::protocol::Timestamp;
use crate::protocol::peers::{Peer, ProfileSet};
use crate::text;
use crate::text::message::MAX_NAME;

pub use earlier::earlier;
pub use parts::Begun;
pub use peers::{Asked, ListPeersResult, list_peers};
pub use sent::{SendMessageResult, answered, send_message, sent_to_scope, wait_failed};
pub use unread::{CheckMessagesResult, check_messages};

const MAX_SUMMARY: usize = 500;

/// The most bytes of one form of a result, the least that a client shows: Codex cuts at 10,000 bytes.
/// Both forms and what is around them have 20,000.
pub const ROOM: usize = 9_900;

/// A result in both forms.
pub struct Output {
    pub text: String,
    pub structured: Value,
}

impl Output {
    fn new(text: String, structured: &impl Serialize) -> Self {
        // Our own plain structs always serialise, and the text says the same.
        let mut structured = serde_json::to_value(structured).unwrap_or_default();
        remove_nulls(&mut structured);
        Self { text, structured }
    }

    /// Returns the length of the longer form as it is written, in bytes.
    fn len(&self) -> usize {
        let structured = self.structured.to_string().len();
        let text = Value::from(self.text.as_str()).to_string().len();
        structured.max(text)
    }
}

/// Returns how many entries fit, of at most `count`, in forms of at most `room` bytes, and the result.
fn fitting(room: usize, mut count: usize, output: impl Fn(usize) -> Output) -> (usize, Output) {
    loop {
        let result = output(count);
        if count == 0 || result.len() <= room {
            return (count, result);
        }
        count -= (count / 16).max(1);
    }
}

/// Returns the value that occurs most often, if any occurs twice.
fn commonest<T: Ord>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let most = counts.into_iter().filter(|(_, count)| *count > 1).max_by_key(|(_, count)| *count);
    most.map(|(value, _)| value)
}

/// Removes members that are null, as the schemas say: not every client knows a type that may be null.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.retain(|_, member| !member.is_null());
            object.values_mut().for_each(remove_nulls);
        }
        Value::Array(array) => array.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

// What says nothing is left out.

fn if_true(value: bool) -> Option<bool> {
    value.then_some(true)
}

fn if_any(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

fn if_said(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn if_some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

/// Returns what a peer is doing, if that is known.
fn activity(peer: &Peer) -> Option<&'static str> {
    Some(peer.activity.as_str()).filter(|_| !peer.activity.is_unknown())
}

/// Returns a peer's name on one line.
fn name_of(peer: &Peer) -> Option<String> {
    peer.name.as_deref().map(|name| text::line(name, MAX_NAME))
}

/// Returns name and id, as a sentence names the peer.
fn display_name(peer: &Peer) -> String {
    match name_of(peer) {
        Some(name) => format!("{name} ({})", text::id(&peer.id)),
        None => text::id(&peer.id),
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
pub struct SetSummaryResult {
    id: String,
    name: Option<String>,
    summary: String,
    /// what happened to the name
    notes: Option<Vec<String>>,
    mail: Option<String>,
}

pub fn set_summary(set: &ProfileSet) -> Output {
    let summary = text::line(&set.peer.summary, MAX_SUMMARY);
    let notes: Vec<String> = set.notes.iter().map(|note| text::line(note, MAX_SUMMARY)).collect();
    let mut out = format!("Other sessions now see {}: \"{summary}\"", display_name(&set.peer));
    for note in &notes {
        let _ = write!(out, "\nNote: {note}");
    }
    out.push_str(&waiting_paragraph(set.waiting));
    let result = SetSummaryResult {
        id: text::id(&set.peer.id),
        name: name_of(&set.peer),
        summary,
        notes: if_some(notes),
        mail: waiting_notice(set.waiting),
    };
    Output::new(out, &result)
}
