//! Why setting up a client failed, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::setup::edit::problem::Problem;

/// Why setting up a client failed. Unless its text says otherwise, nothing was changed, or all changes
/// were reverted.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{path} {problem}")]
    File { path: PathBuf, problem: String, hint: String },
    #[error("{path} cannot be read as configuration: {problem}")]
    Broken { path: PathBuf, problem: String },
    #[error("{path} is left alone: {problem}")]
    Unsuited { path: PathBuf, problem: String, by_hand: String },
    #[error("{path} was changed by another program just now")]
    Meanwhile { path: PathBuf },
    #[error("`{command}` failed: {said}")]
    Command { command: String, said: String },
    #[error("{0}")]
    Program(String),
    #[error("another `claude-peers setup` is at work")]
    Busy,
}

impl SetupError {
    pub(super) fn file(path: &Path, problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), problem: problem.into(), hint: hint.into() }
    }

    pub(super) fn io<'a>(what: &'a str, path: &'a Path) -> impl Fn(io::Error) -> Self + 'a {
        move |error| {
            Self::file(path, format!("cannot be {what}: {error}"), "Nothing was changed there.")
        }
    }

    /// Returns the error for a file that cannot be changed; `by_hand` says what a person could do.
    pub(super) fn text(path: &Path, problem: &Problem, by_hand: &str) -> Self {
        let path = path.to_owned();
        match problem {
            Problem::Broken(problem) => Self::Broken { path, problem: problem.clone() },
            other => {
                Self::Unsuited { path, problem: other.to_string(), by_hand: by_hand.to_owned() }
            }
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Config(error) => error.hint(),
            Self::File { hint, .. } => hint.clone(),
            Self::Broken { .. } => {
                "Nothing was changed. Correct the file there, and run this again.".to_owned()
            }
            Self::Unsuited { by_hand, .. } => {
                format!("Nothing was changed. By hand: {by_hand}.")
            }
            Self::Meanwhile { .. } => "Nothing was changed there. Run this again.".to_owned(),
            Self::Command { .. } => {
                "Run that command yourself to see more. The changes made before it have been undone."
                    .to_owned()
            }
            Self::Program(_) => "Call the program by a plain absolute path.".to_owned(),
            Self::Busy => "Wait for it, and run this again.".to_owned(),
        }
    }
}
