//! A damaged database: found out, and moved aside whole.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode as Sqlite};

use crate::broker::store::location::{Place, aside};
use crate::broker::store::writer::Writer;
use crate::broker::store::{TransactionHooks, schema};
use crate::sys::files::beside;

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

impl<C: TransactionHooks> Writer<C> {
    /// Moves the damaged database aside and goes on with an empty one.
    pub(super) fn replace(&mut self) {
        let memory = match Connection::open_in_memory() {
            Ok(memory) => memory,
            Err(error) => return tracing::error!(event = "storage", "{error}"),
        };
        // The damaged connection must be closed before its files are moved. Closing it may fail
        // on damage; the files are moved as they are.
        self.let_go(memory);
        let (real, named) = (self.place.real(), self.place.named());
        let fresh = move_aside(real).map_err(|error| error.to_string()).and_then(|moved| {
            let fresh = schema::create(real).map_err(|error| error.to_string())?;
            let place = Place::of(named, real).map_err(|error| error.to_string())?;
            Ok((moved, fresh, place))
        });
        match fresh {
            Ok((moved_to, connection, place)) => {
                tracing::error!(
                    event = "database_damaged",
                    "the database was damaged; it was moved to {} and a new one serves",
                    moved_to.display()
                );
                self.connection = connection;
                self.place = place;
                self.report.set_moved_to(&moved_to);
                self.state.reset();
            }
            // The in-memory connection has no tables: every write fails and says so.
            Err(error) => tracing::error!(event = "storage", "no new database: {error}"),
        }
    }
}
