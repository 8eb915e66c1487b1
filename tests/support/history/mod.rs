//! A checker for histories of black-box runs: what was done and seen goes in, violations come out.
//!
//! A harness drives real processes and notes each send, each message that it sees shown, each state
//! that it is told, and what is stored at the end. All times are of one monotonic clock of the
//! harness. Every operation has a beginning and an end, and what happens inside it may have happened
//! at any instant between the two: a rule is broken only where no order of these instants keeps it.
//!
//! It knows nothing of the program: an operation of which no answer came may or may not have been
//! done, and what nobody saw is not held against anybody. The rules are those of
//! `docs/delivery.md`.
//!
//! Use: `#[path = "…/tests/support/history/mod.rs"] mod history;`, a [`Recorder`] for the run, and
//! [`check`] at its end.

mod index;
mod loss;
mod order;
pub mod read;
mod recorder;
mod repeats;
mod states;
#[cfg(test)]
mod tests;

use std::fmt;

#[allow(unused_imports, reason = "what a send is called that is under way")]
pub use recorder::{Recorder, Sending};

/// Nanoseconds since the harness began.
pub type At = u64;

/// From when to when something was done, as the harness saw it.
///
/// What it did happened not before `began`, and was over when `ended`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub began: At,
    pub ended: At,
}

impl Span {
    /// Whether this was over before the other one began.
    pub fn is_before(self, other: Self) -> bool {
        self.ended < other.began
    }
}

/// Something that happened in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Send(Send),
    Shown(Shown),
    Look(Look),
    Told(Told),
    Began(Life),
    Ended(Life),
    Stored(Stored),
}

/// One attempt to send a text to one peer.
///
/// Texts are unique: the harness writes a number into each. A message to a scope is one event for
/// each peer that may be meant, all with the same text. A retry with the same key is an event of its
/// own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Send {
    pub began: At,
    /// The peer id of the sender.
    pub from: String,
    /// The peer id of the recipient.
    pub to: String,
    pub text: String,
    /// The idempotency key, if the harness chose one.
    pub key: Option<String>,
    /// The message that this one answers.
    pub reply_to: Option<String>,
    /// The sender waits for the reply: replies may overtake.
    pub waits: bool,
    /// Which calls the sender makes one after the other (its MCP server), and the place among them.
    pub place: Option<(String, u64)>,
    /// When the answer came, and what it was; `None` if none came.
    pub answer: Option<(At, Answer)>,
}

impl Send {
    /// A plain send, without an answer yet.
    pub fn new(began: At, from: &str, to: &str, text: &str) -> Self {
        Self {
            began,
            from: from.to_owned(),
            to: to.to_owned(),
            text: text.to_owned(),
            key: None,
            reply_to: None,
            waits: false,
            place: None,
            answer: None,
        }
    }
}

/// What the sender was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is stored, with this id and in this state.
    Accepted { id: String, state: Option<String> },
    /// It is not stored, and why.
    Refused { code: String },
    /// It is not known whether it is stored. Any failure that does not say "not stored" is this.
    Unknown,
}

/// How a message was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As a notification of the session's server.
    Push,
    /// In the output of a hook.
    Hook,
    /// In the result of `check_messages`.
    Tool,
    /// By `claude-peers inbox`, waiting or not.
    Inbox,
    /// To the call that waits for the reply to its question, in a session or on the command line.
    Answer,
}

impl Way {
    /// Returns the word for this in states that are told.
    fn word(self) -> &'static str {
        match self {
            Self::Push => "channel",
            Self::Hook => "hook",
            Self::Tool => "tool",
            Self::Inbox => "cli",
            Self::Answer => "answer",
        }
    }
}

/// A message that was shown to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// From the call to its result. Of a push: from when it cannot have been sent earlier, if that is
    /// known (0 otherwise; the beginning of its instance counts by itself), to when it was read.
    pub span: Span,
    /// The peer id of the one to whom it was shown.
    pub peer: String,
    /// By what: the instance of the server, or any name for another receiver.
    pub receiver: String,
    pub way: Way,
    pub message: Seen,
}

/// A message as it was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub id: String,
    /// The peer id of the sender.
    pub from: String,
    pub text: String,
    /// It is marked as one that may have been shown before.
    pub repeat: bool,
    /// It is marked as one that was pushed into this session before.
    pub already_pushed: bool,
    /// The text is only a part of the message.
    pub part: bool,
}

/// An operation that can show a peer its messages: each call, hook event and command, whatever it
/// showed. A harness notes all of them, those that were killed or failed included.
///
/// Of pushes, the lives of instances say the same; the output of one that was lost is noted here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub began: At,
    pub peer: String,
    pub way: Way,
    /// The harness has read all that it said. If not, it may have shown any message of this peer.
    pub is_seen: bool,
}

/// The state of a message, as somebody was told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub span: Span,
    pub id: String,
    pub state: String,
    /// By which way it was offered or read.
    pub via: Option<String>,
}

/// One life of a session's server: it began, or it ended.
///
/// Of a beginning, `at` is before its process was started; of an end, after its process was waited
/// for and its output was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    pub at: At,
    pub peer: String,
    pub instance: String,
}

/// A message as it is stored when everything has ended and nothing is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub span: Span,
    pub id: String,
    pub from: String,
    pub to: String,
    pub text: String,
    pub state: String,
    pub via: Option<String>,
}

/// What happened in a run, in any order of events.
///
/// Only the order of what one receiver showed matters: it is the order in which it was read.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub events: Vec<Event>,
    /// Whether the [`Event::Stored`] are all messages of the database. Without them, what was
    /// acknowledged must have been shown, or reported as ended.
    pub is_store_known: bool,
}

/// A rule that was broken, and the events that break it.
#[derive(Debug, Clone)]
pub struct Violation {
    pub rule: Rule,
    pub events: Vec<Event>,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The rules of a history.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule { $($(#[$doc])* $name,)* }

        impl Rule {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns what is true of a history that breaks this rule.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}
rules! {
    Lost = "acknowledged, but neither shown, nor unread, nor reported as ended",
    Gone = "acknowledged or shown, but not stored",
    Twice = "one send was stored under two ids",
    SharedId = "two sends were acknowledged with one id",
    RefusedIsStored = "told as refused, but shown or stored",
    Invented = "shown or stored, but never sent",
    Altered = "its text is not the one that was sent",
    WrongSender = "it is shown as another's",
    Foreign = "it was shown to another than its recipient",
    Overtaken = "a message was shown before an earlier one of the same sender",
    PushedTwice = "pushed twice to one instance",
    PushedBehindTool = "pushed to an instance whose tool had shown it",
    Unmarked = "shown again without a mark",
    FalselyMarked = "marked as pushed into this session, in which it was never shown",
    Backwards = "its state went back",
    Understated = "told as never offered after it was shown",
    Overstated = "told as read before anybody can have seen it",
    UnfoundedOffer = "told as offered by a way that cannot have been used",
    ReportedTwice = "its end was reported by two notices",
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.rule.text())?;
        self.events.iter().try_for_each(|event| write!(f, "\n    {event:?}"))
    }
}

/// Returns all violations in a history.
pub fn check(history: &History) -> Vec<Violation> {
    let index = index::Index::new(history);
    let mut found = Vec::new();
    loss::check(&index, &mut found);
    order::check(&index, &mut found);
    repeats::check(&index, &mut found);
    states::check(&index, &mut found);
    found.sort_by_key(|violation| violation.rule);
    found
}

/// Checks a history.
///
/// # Panics
///
/// If it has violations. The message lists them, at most ten of each rule.
#[track_caller]
pub fn assert_holds(history: &History) {
    let found = check(history);
    if found.is_empty() {
        return;
    }
    let mut text = format!("{} violations in {} events", found.len(), history.events.len());
    for rule in Rule::ALL {
        let of_rule = found.iter().filter(|violation| violation.rule == *rule);
        for violation in of_rule.take(10) {
            text.push_str(&format!("\n{violation}"));
        }
    }
    panic!("{text}");
}
