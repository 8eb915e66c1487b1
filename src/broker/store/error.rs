//! Why the database cannot be used, for people: what, and what to do about it.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::protocol::{ApiError, ErrorCode};
use crate::sys::files;
use crate::sys::files::{NewFile, beside};
use crate::sys::sqlite_error::plain;

/// Why work on the database came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The request is at fault; it is told so.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The database is at fault.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
}

impl Fault {
    pub(super) fn into_api(self) -> ApiError {
        match self {
            Self::Refused(error) => error,
            Self::Database(error) => storage_error(&error, None),
        }
    }
}

/// `database` is where it lies, if the disk is to be asked why.
pub(super) fn storage_error(error: &rusqlite::Error, database: Option<&Path>) -> ApiError {
    use rusqlite::ErrorCode as Sqlite;
    let obstacle = database.and_then(|database| obstacle(error, database));
    let hint = match error.sqlite_error_code() {
        _ if obstacle.is_some() => obstacle.as_ref().map(files::hint).unwrap_or_default(),
        Some(Sqlite::DiskFull) => "The disk is full: make room and try again.".to_owned(),
        Some(Sqlite::ReadOnly | Sqlite::PermissionDenied | Sqlite::CannotOpen) => {
            "The database cannot be written: check its permissions and its file system, and try again.".to_owned()
        }
        Some(Sqlite::DatabaseCorrupt | Sqlite::NotADatabase) => DAMAGED.to_owned(),
        _ => "Try again; `claude-peers status` names the database.".to_owned(),
    };
    let reason = obstacle.map(|error| format!(" ({error})")).unwrap_or_default();
    let what = format!("the database could not be used: {}{reason}", plain(error));
    ApiError::new(ErrorCode::Storage, what).hint(hint)
}

/// What to do where a damaged database gave way to a new one.
pub(super) const DAMAGED: &str =
    "The database is damaged: it was moved aside and a new one serves. Try again.";

/// Why the system keeps us from writing beside `database`, found out by writing there: SQLite keeps
/// the reason to itself.
fn obstacle(error: &rusqlite::Error, database: &Path) -> Option<io::Error> {
    use rusqlite::ErrorCode as Sqlite;
    let code = error.sqlite_error_code()?;
    let is_of_the_disk = matches!(
        code,
        Sqlite::DiskFull
            | Sqlite::SystemIoFailure
            | Sqlite::CannotOpen
            | Sqlite::ReadOnly
            | Sqlite::PermissionDenied
    );
    if is_of_the_disk { write_beside(database).err() } else { None }
}

/// Writes where the next page would go, in a file that vanishes at once.
fn write_beside(database: &Path) -> io::Result<()> {
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let end = length(database).max(length(&beside(database, "-wal")));
    let new = NewFile::within(database.parent().unwrap_or(Path::new("/")))?;
    new.file().write_all_at(&vec![1; 64 * 1024], end)?;
    new.file().sync_data()
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the directory {0} of the database does not exist")]
    NoDirectory(PathBuf),
    #[error("the database {path} is in use by another broker{holder}")]
    InUse { path: PathBuf, holder: String },
    #[error(
        "the database {path} was written by a newer claude-peers (schema {found}, this one knows {known})"
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error(
        "the database {path} belongs to the TypeScript claude-peers, whose broker still runs{holder}"
    )]
    LegacyRuns { path: PathBuf, holder: String },
    #[error("the database {path} holds tables of another program")]
    Foreign { path: PathBuf },
    #[error("the database {path} belongs to user id {owner}")]
    Owner { path: PathBuf, owner: u32 },
    #[error("the database {path} cannot be opened: {}", plain(error))]
    Sqlite { path: PathBuf, error: rusqlite::Error },
    #[error("the database {path} cannot be opened: {error}")]
    Io { path: PathBuf, error: io::Error },
}

impl OpenError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoDirectory(path) => {
                format!("Make {}, or name another place by CLAUDE_PEERS_DB.", path.display())
            }
            Self::InUse { .. } => {
                "Stop that broker (`claude-peers kill-broker` with its settings, where it runs), or name another database by CLAUDE_PEERS_DB.".to_owned()
            }
            Self::Newer { .. } => "Upgrade claude-peers; nothing was changed.".to_owned(),
            Self::LegacyRuns { .. } => {
                "Stop it first (`bun cli.ts kill-broker` in its directory, and end its sessions); nothing was changed.".to_owned()
            }
            Self::Foreign { .. } | Self::Owner { .. } => {
                "Name another database by CLAUDE_PEERS_DB; nothing was changed.".to_owned()
            }
            Self::Sqlite { path, error } => {
                obstacle(error, path).map_or_else(|| PERMISSIONS.to_owned(), |error| files::hint(&error))
            }
            Self::Io { error, .. } => files::hint(error),
        }
    }
}

const PERMISSIONS: &str = "Check the permissions and the free space of its directory.";
