//! The configuration file, `$XDG_CONFIG_HOME/claude-peers/config.toml`: for what a service must
//! see too, because a service does not see a shell's variables.

use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};

/// Bytes of the largest file that is read.
const LIMIT: u64 = 256 * 1024;

/// The file's contents. A key that nobody knows is an error: it is a typing mistake.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    pub port: Option<u16>,
    pub database: Option<PathBuf>,
    pub channel: Option<String>,
    pub wake: Option<bool>,
    pub name: Option<String>,
    pub idle_exit_seconds: Option<u64>,
    pub hook_milliseconds: Option<u64>,
    pub limits: Limits,
    pub auto_summary: AutoSummary,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub messages_per_minute: Option<u32>,
    pub message_burst: Option<u32>,
    pub max_unread: Option<u32>,
    pub max_recipients: Option<u32>,
    pub max_message_bytes: Option<u32>,
    pub max_summary_chars: Option<u32>,
    pub message_ttl_seconds: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoSummary {
    pub enabled: Option<bool>,
    pub base_url: Option<String>,
    pub model: Option<String>,
}

/// Why the file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("the configuration file {path} cannot be read: {error}")]
    Read { path: PathBuf, error: io::Error },
    #[error("the configuration file {path} is not valid: {error}")]
    Parse { path: PathBuf, error: Box<toml::de::Error> },
}

impl FileError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Read { path, .. } => {
                format!("Make {} readable for you, or move it away.", path.display())
            }
            Self::Parse { path, .. } => format!("Correct {}, or move it away.", path.display()),
        }
    }
}

impl File {
    /// Reads the file; one that is not there is empty.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        match text(path) {
            Ok(text) => toml::from_str(&text)
                .map_err(|error| FileError::Parse { path: path.into(), error: Box::new(error) }),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(Self::default())
            }
            Err(error) => Err(FileError::Read { path: path.into(), error }),
        }
    }
}

impl File {
    /// What can be used of a file with mistakes: where the broker serves, and from which database.
    /// For commands that must work whatever stands in it.
    pub fn salvage(path: &Path) -> Self {
        let text = text(path).unwrap_or_default();
        let (table, _) = DeTable::parse_recoverable(&text);
        let value = |key: &str| table.get_ref().get(key).map(toml::Spanned::get_ref);
        let port = value("port").and_then(|value| match value {
            DeValue::Integer(number) => u16::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        });
        let database = value("database").and_then(|value| match value {
            DeValue::String(text) => Some(PathBuf::from(text.as_ref())),
            _ => None,
        });
        Self {
            port: port.filter(|port| *port != 0),
            database: database.filter(|path| path.is_absolute() || path.starts_with("~")),
            ..Self::default()
        }
    }
}

/// The file's text. Hooks and sessions wait for it, so it is never a pipe that nobody writes to,
/// and never without an end.
fn text(path: &Path) -> io::Result<String> {
    let refused = |problem: &str| Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    if std::fs::metadata(path)?.file_type().is_fifo() {
        return refused("it is a pipe");
    }
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(LIMIT + 1).read_to_string(&mut text)?;
    if read as u64 > LIMIT { refused("it is too large for settings") } else { Ok(text) }
}
