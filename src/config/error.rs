//! Why the configuration cannot be used, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::mistake::Mistake;
use crate::config::value::Expected;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("HOME is not set, so there is no place for the database and the settings")]
    NoHome,
    #[error("HOME is {0}, which is not an absolute path")]
    RelativeHome(PathBuf),
    #[error("HOME is {0}, and there is no such directory")]
    MissingHome(PathBuf),
    #[error(
        "{name} leads to {place}, which belongs to user id {owner}, but claude-peers runs as {}",
        if *user == 0 { "root".to_owned() } else { format!("user id {user}") }
    )]
    AnothersPlace { name: &'static str, place: PathBuf, owner: u32, user: u32 },
    #[error("{name} is {value:?}, but must be {expected}")]
    Value { name: &'static str, value: String, expected: Expected },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "the socket's path is too long for the system: {path} has {length} bytes, {limit} are allowed"
    )]
    SocketPathTooLong { path: String, length: usize, limit: usize },
}

impl ConfigError {
    /// Returns a hint what to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoHome | Self::RelativeHome(_) | Self::MissingHome(_) => {
                "Set HOME to your home directory.".to_owned()
            }
            Self::AnothersPlace { name: "HOME", user: 0, .. } => {
                "Run claude-peers as that user, without sudo; for root itself set HOME to root's home (`sudo -H`, `su -`). Nothing was changed.".to_owned()
            }
            Self::AnothersPlace { name: "HOME", .. } => {
                "Set HOME to your own home directory (`sudo -H`, `su -`). Nothing was changed.".to_owned()
            }
            Self::AnothersPlace { name, .. } => {
                format!("Run claude-peers as that user, or set {name} to a path of your own. Nothing was changed.")
            }
            Self::Value { name, .. } => format!("Correct or unset {name}."),
            Self::File(error) => error.hint(),
            Self::SocketPathTooLong { .. } => {
                "Set XDG_RUNTIME_DIR, or CLAUDE_PEERS_SOCKET, to a shorter path.".to_owned()
            }
        }
    }

    /// Returns the lines of the configuration file that show the mistake, if there is one.
    #[must_use]
    pub fn excerpt(&self) -> Option<[String; 2]> {
        match self {
            Self::File(FileError::Invalid { mistake, .. }) => Some(mistake.excerpt()),
            _ => None,
        }
    }
}

/// Why the configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("the configuration file {path} cannot be read: {error}")]
    Read { path: PathBuf, error: io::Error },
    #[error("the configuration file {path} is not valid: {mistake}")]
    Invalid { path: PathBuf, mistake: Box<Mistake> },
}

impl FileError {
    /// Returns a hint what to do.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Read { path, .. } => {
                format!("Make {} readable for you, or move it away.", path.display())
            }
            Self::Invalid { path, mistake } => {
                format!("Correct line {} of {}.", mistake.line, path.display())
            }
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Read { path, .. } | Self::Invalid { path, .. } => path,
        }
    }
}
