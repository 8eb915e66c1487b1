//! What a session is doing.

use serde::{Deserialize, Serialize};

/// What a live session is doing, as far as its hooks or its client's own records tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    /// A turn is under way.
    Busy,
    /// No turn is under way: it is ready for a prompt.
    Idle,
    /// A dialog is open, such as a question for a permission: it waits for its person.
    Waiting,
    /// Nothing tells, or the peer is not live.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Activity {
    /// Returns the word on the wire and for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing is known, so that it needs no word.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref)] // the form that serde calls
    pub const fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }
}
