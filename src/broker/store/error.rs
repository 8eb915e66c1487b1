//! Why the database cannot be used, for people: what is wrong, and what to do about it.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode as Sqlite;

use crate::protocol::{ApiError, ErrorCode};
use crate::sys::files;
use crate::sys::files::{NewFile, beside};
use crate::sys::sqlite_error::plain;

/// The hint where a damaged database was replaced by a new one.
pub(super) const DAMAGED: &str =
    "The database was damaged; it was moved aside and a new one is in use. Try again.";

const PERMISSIONS: &str = "Check the permissions and the free space of its directory.";

/// Why a job failed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The request was refused.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The database failed.
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

/// Whether SQLite reports that the file is damaged, or is not a database.
#[must_use]
pub fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(Sqlite::DatabaseCorrupt | Sqlite::NotADatabase))
}

/// Returns the answer to a request that the database could not serve.
///
/// `database` is the path of the database, if the cause is to be looked for on the disk.
pub(super) fn storage_error(error: &rusqlite::Error, database: Option<&Path>) -> ApiError {
    let obstacle = database.and_then(|database| obstacle(error, database));
    let hint = match error.sqlite_error_code() {
        _ if obstacle.is_some() => obstacle.as_ref().map(files::hint).unwrap_or_default(),
        Some(Sqlite::DiskFull) => "The disk is full: make room and try again.".to_owned(),
        Some(Sqlite::ReadOnly | Sqlite::PermissionDenied | Sqlite::CannotOpen) => {
            "The database cannot be written: check its permissions and its file system, and try again.".to_owned()
        }
        Some(Sqlite::DatabaseCorrupt | Sqlite::NotADatabase) => DAMAGED.to_owned(),
        _ => "Try again; `claude-peers status` shows the path of the database.".to_owned(),
    };
    let reason = obstacle.map(|error| format!(" ({error})")).unwrap_or_default();
    let what = format!("the database could not be used: {}{reason}", plain(error));
    ApiError::new(ErrorCode::Storage, what).hint(hint)
}

/// Returns the system's reason why a write to `database` fails.
///
/// SQLite does not pass the reason on, so it is found by writing a file beside the database.
fn obstacle(error: &rusqlite::Error, database: &Path) -> Option<io::Error> {
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

/// Writes at the offset of the database's next page, into a file that vanishes at once.
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
    #[error("the database {path} is in use by another broker{owner}")]
    InUse { path: PathBuf, owner: String },
    #[error(
        "the database {path} was written by a newer claude-peers (schema {found}, this one knows {known})"
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error(
        "the database {path} belongs to the TypeScript claude-peers, whose broker is still running{owner}"
    )]
    LegacyRuns { path: PathBuf, owner: String },
    #[error("{path} is a database of another program")]
    Foreign { path: PathBuf },
    #[error("the database {path} cannot be opened: {}", plain(error))]
    Sqlite { path: PathBuf, error: rusqlite::Error },
    #[error("the database {path} cannot be opened: {error}")]
    Io { path: PathBuf, error: io::Error },
}

impl OpenError {
    /// Returns what to do about it, for a person.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoDirectory(path) => {
                format!("Create {}, or set CLAUDE_PEERS_DB to another path.", path.display())
            }
            Self::InUse { .. } => {
                "Stop that broker: run `claude-peers kill-broker` in the container or on the machine where it runs, with the same settings. Or set CLAUDE_PEERS_DB to another path.".to_owned()
            }
            Self::Newer { .. } => "Upgrade claude-peers; nothing was changed.".to_owned(),
            Self::LegacyRuns { .. } => {
                "Stop it first (`bun cli.ts kill-broker` in its directory, and end its sessions); nothing was changed.".to_owned()
            }
            Self::Foreign { .. } => {
                "Set CLAUDE_PEERS_DB to another path; nothing was changed.".to_owned()
            }
            Self::Sqlite { path, error } => {
                obstacle(error, path).map_or_else(|| PERMISSIONS.to_owned(), |error| files::hint(&error))
            }
            Self::Io { error, .. } => files::hint(error),
        }
    }
}
