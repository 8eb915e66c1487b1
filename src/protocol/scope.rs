//! Reaching many: a message to all live sessions of a scope.

use serde::{Deserialize, Serialize};

use crate::protocol::messages::{MessageState, Party};
use crate::protocol::peers::{Peer, Scope};
use crate::protocol::{ApiError, MessageId};

/// How the word for a whole scope begins, where a peer could be named.
pub const PREFIX: &str = "scope:";

impl Scope {
    pub const ALL: [Self; 3] = [Self::Machine, Self::Directory, Self::Repo];

    /// Its word, on the wire and for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Directory => "directory",
            Self::Repo => "repo",
        }
    }

    /// Where its peers are, in words.
    #[must_use]
    pub const fn place(self) -> &'static str {
        match self {
            Self::Machine => "on this machine",
            Self::Directory => "in this directory",
            Self::Repo => "in this repository",
        }
    }

    /// The scope that `scope:repo` and the like mean; `None` for what names one peer.
    ///
    /// # Errors
    ///
    /// What the right words are, if there is no such scope.
    pub fn of_recipient(word: &str) -> Option<Result<Self, String>> {
        let word = word.trim().to_lowercase();
        let named = word.strip_prefix(PREFIX)?.trim_start();
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == named);
        Some(found.ok_or_else(|| {
            let [first, second, last] =
                Self::ALL.map(|scope| format!("{PREFIX}{}", scope.as_str()));
            format!("there is no scope {named:?}, only {first}, {second} and {last}")
        }))
    }
}

/// `POST /v1/messages/scope`: the same text to all live sessions of a scope but the sender.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendToScope {
    pub scope: Scope,
    pub text: String,
    /// For a caller that is no session: the directory that `scope` refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// For a caller that is no session: the repository that `scope` refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// The Claude Code session that a command line was called from, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_session: Option<String>,
}

/// The answer to [`SendToScope`]: for each recipient, the message is stored or was refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SentToScope {
    pub outcomes: Vec<Outcome>,
    /// Messages that wait for the sender.
    pub waiting: u64,
    /// Whose message it is: for a command line, that it speaks as a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Party>,
}

/// What became of the message to one recipient.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The recipient, with its reachability and backlog.
    pub to: Peer,
    /// The message, if it is stored.
    #[serde(default)]
    pub id: Option<MessageId>,
    #[serde(default)]
    pub state: Option<MessageState>,
    /// A call of the recipient's waits for this message and is given it at once.
    #[serde(default)]
    pub awaited: bool,
    /// Why not, otherwise.
    #[serde(default)]
    pub refusal: Option<ApiError>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_told_from_a_peer() {
        for peer in ["", "repo", "backend", "scopes", "scope-repo", "x scope:repo"] {
            assert!(Scope::of_recipient(peer).is_none(), "{peer}");
        }
        for (word, scope) in [
            ("scope:machine", Scope::Machine),
            (" Scope:Directory ", Scope::Directory),
            ("scope: repo", Scope::Repo),
        ] {
            assert_eq!(Scope::of_recipient(word), Some(Ok(scope)));
        }
        for wrong in ["scope:", "scope:galaxy", "scope:repo;x", "scope:\u{1b}[2J"] {
            let error = Scope::of_recipient(wrong).unwrap().unwrap_err();
            for right in ["scope:machine", "scope:directory", "scope:repo"] {
                assert!(error.contains(right), "{error}");
            }
            assert!(!error.contains('\u{1b}'), "{error}");
        }
    }
}
