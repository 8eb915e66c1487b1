//! A damaged database: found out, and moved aside whole.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode as Sqlite};

use super::place::aside;
use crate::files::beside;

/// Above this size a full check is made only after an unclean stop: it costs about 1.3 ms a
/// megabyte.
const ALWAYS_CHECKED: u64 = 64 * 1024 * 1024;

/// Whether SQLite says that the file is damaged, or none of its own.
pub fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(Sqlite::DatabaseCorrupt | Sqlite::NotADatabase))
}

/// Whether the database is sound. `quick_check` reports damage as text, not as an error.
pub fn is_sound(connection: &Connection, path: &Path, was_clean: bool) -> rusqlite::Result<bool> {
    let size = std::fs::metadata(path).map_or(0, |m| m.len());
    if was_clean && size > ALWAYS_CHECKED {
        return Ok(true);
    }
    let report: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(report == "ok")
}

/// Moves the database and its side files away together; nothing is deleted.
///
/// # Errors
///
/// If a file cannot be moved. The first one is the database itself, so a failure leaves all.
pub fn move_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = aside(path, "damaged");
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::rename(beside(path, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}
