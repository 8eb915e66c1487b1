//! Why there is no configuration.

use std::path::{Path, PathBuf};

use crate::config::{FileError, Source};

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("HOME is not set, so there is no place for the database and the settings")]
    NoHome,
    #[error("HOME is {0}, which is not an absolute path")]
    RelativeHome(PathBuf),
    #[error("HOME is {0}, and there is no such directory")]
    MissingHome(PathBuf),
    #[error(
        "{name} leads to {place}, which belongs to user id {owner}, and this runs as {}",
        if *user == 0 { "root".to_owned() } else { format!("user id {user}") }
    )]
    AnothersPlace { name: &'static str, place: PathBuf, owner: u32, user: u32 },
    #[error("{name} is {value:?}: {problem}")]
    Value { name: String, value: String, problem: String },
    #[error("{key} is {value:?} in {}: {problem}", path.display())]
    InFile { path: PathBuf, key: &'static str, value: String, problem: String },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "the socket's path is too long for the system: {path} has {length} bytes, {limit} are allowed"
    )]
    SocketPathTooLong { path: String, length: usize, limit: usize },
}

impl ConfigError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoHome | Self::RelativeHome(_) | Self::MissingHome(_) => {
                "Set HOME to your home directory.".to_owned()
            }
            Self::AnothersPlace { name: "HOME", user: 0, .. } => {
                "Run it as that user, without sudo; for root itself set HOME to root's home (`sudo -H`, `su -`). Nothing was changed.".to_owned()
            }
            Self::AnothersPlace { name: "HOME", .. } => {
                "Set HOME to your own home directory (`sudo -H`, `su -`). Nothing was changed.".to_owned()
            }
            Self::AnothersPlace { name, .. } => {
                format!("Run it as that user, or name a place of your own by {name}. Nothing was changed.")
            }
            Self::Value { name, .. } => format!("Correct or unset {name}."),
            Self::InFile { path, .. } => format!("Correct {}.", path.display()),
            Self::File(error) => error.hint(),
            Self::SocketPathTooLong { .. } => {
                "Set XDG_RUNTIME_DIR, or CLAUDE_PEERS_SOCKET, to a shorter path.".to_owned()
            }
        }
    }

    /// The same for a value that may stand in the configuration file, where it has another name.
    pub(super) fn of(self, source: Source, key: &'static str, file: &Path) -> Self {
        match self {
            Self::Value { value, problem, .. } if source == Source::File => {
                Self::InFile { path: file.to_owned(), key, value, problem }
            }
            other => other,
        }
    }
}

/// A value of the environment that makes no sense.
pub(super) fn bad(name: &str, value: &str, problem: &str) -> ConfigError {
    ConfigError::Value {
        name: name.to_owned(),
        value: value.to_owned(),
        problem: problem.to_owned(),
    }
}
