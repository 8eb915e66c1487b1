//! Scopes: sets of peers, and the words that address a message to all peers of a set.

use serde::{Deserialize, Serialize};

/// The beginning of an address that means a whole scope and not one peer.
pub const PREFIX: &str = "scope:";

/// A set of peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// All peers on this machine.
    #[default]
    Machine,
    /// The peers in the same directory.
    Directory,
    /// The peers in the same git repository, including its worktrees and subdirectories.
    Repo,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Machine, Self::Directory, Self::Repo];

    /// Returns the word on the wire and for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Directory => "directory",
            Self::Repo => "repo",
        }
    }

    /// Returns the place of the peers, as the end of a sentence.
    #[must_use]
    pub const fn place(self) -> &'static str {
        match self {
            Self::Machine => "on this machine",
            Self::Directory => "in this directory",
            Self::Repo => "in this repository",
        }
    }

    /// Returns the scope that an address such as `scope:repo` means; `None` for the name or id of
    /// one peer.
    ///
    /// # Errors
    ///
    /// If the address begins with [`PREFIX`] and means no scope; the error lists the scopes.
    pub fn from_address(word: &str) -> Option<Result<Self, String>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_told_from_a_peer() {
        for peer in ["", "repo", "backend", "scopes", "scope-repo", "x scope:repo"] {
            assert!(Scope::from_address(peer).is_none(), "{peer}");
        }
        for (word, scope) in [
            ("scope:machine", Scope::Machine),
            (" Scope:Directory ", Scope::Directory),
            ("scope: repo", Scope::Repo),
        ] {
            assert_eq!(Scope::from_address(word), Some(Ok(scope)));
        }
        for wrong in ["scope:", "scope:galaxy", "scope:repo;x", "scope:\u{1b}[2J"] {
            let error = Scope::from_address(wrong).unwrap().unwrap_err();
            for right in ["scope:machine", "scope:directory", "scope:repo"] {
                assert!(error.contains(right), "{error}");
            }
            assert!(!error.contains('\u{1b}'), "{error}");
        }
    }
}
