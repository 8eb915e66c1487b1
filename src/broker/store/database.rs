//! The open database: its connection, its files and its lock.
//!
//! What is done when the files are not in place any more is in `recovery`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::hooks::Action;

use crate::broker::store::location::{Location, move_damaged_aside};
use crate::broker::store::open::{OpenedStore, OpeningProgress, StoreOptions, create, open};
use crate::broker::store::schema;
use crate::broker::store::status::DatabaseStatus;
use crate::broker::store::transaction::RowWatcher;
use crate::protocol::{ApiError, ErrorCode};
use crate::sys::files::{LockFile, NewFile, beside, sync_directory};
use crate::sys::sqlite_error::plain;

/// From how many bytes on the log is checkpointed when no request is waiting.
const SHORT_LOG: u64 = 4 * 1024 * 1024;

/// From how many bytes on the log is checkpointed in any case.
const LONG_LOG: u64 = 64 * 1024 * 1024;

/// Why the database cannot be used, in one sentence, and what to do about it.
pub(super) struct RecoveryProblem(pub(super) String, pub(super) String);

impl From<RecoveryProblem> for ApiError {
    fn from(RecoveryProblem(what, hint): RecoveryProblem) -> Self {
        Self::new(ErrorCode::Storage, what).hint(hint)
    }
}

pub(super) fn cannot_see(real: &Path, error: &io::Error) -> RecoveryProblem {
    RecoveryProblem(
        format!("cannot determine whether the database {} is still there: {error}", real.display()),
        crate::sys::files::hint(error),
    )
}

/// The database that the broker has open.
pub(super) struct Database {
    pub(super) connection: Connection,
    pub(super) location: Location,
    /// Whether commits of this connection are fsynced now.
    synced: bool,
    /// Whether the rows that change are reported.
    is_watched: bool,
    /// Held until the connection is closed.
    pub(super) lock: LockFile,
    /// The description of this broker in the lock file.
    pub(super) owner: String,
    legacy_port: u16,
    pub(super) status: DatabaseStatus,
    pub(super) rescue_file: PathBuf,
    /// Where the contents of the connection were saved, if another database is to take its place.
    pub(super) saved: Option<PathBuf>,
    /// See [`Database::take_replaced`].
    pub(super) is_replaced: bool,
}

impl Database {
    /// `connection` is as it was opened: its commits are fsynced.
    pub fn new(
        options: StoreOptions<'_>,
        connection: Connection,
        location: Location,
        lock: LockFile,
    ) -> Self {
        Self {
            connection,
            location,
            synced: true,
            is_watched: false,
            lock,
            owner: options.owner.to_owned(),
            legacy_port: options.legacy_port,
            status: options.status,
            rescue_file: options.rescue_file.to_owned(),
            saved: None,
            is_replaced: false,
        }
    }

    /// Whether another database has taken the place of the one before since the last call.
    pub fn take_replaced(&mut self) -> bool {
        std::mem::take(&mut self.is_replaced)
    }

    /// Sets whether the next commit is fsynced. An fsync also covers earlier commits without one.
    pub fn set_synced(&mut self, synced: bool) -> rusqlite::Result<()> {
        if self.synced != synced {
            let mode = if synced { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", mode)?;
            self.synced = synced;
        }
        Ok(())
    }

    /// Whether the rows that change are reported.
    pub const fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// Reports the rows that change to `watcher`, or no longer.
    pub fn watch_rows(&mut self, watcher: Option<RowWatcher>) -> rusqlite::Result<()> {
        self.is_watched = watcher.is_some();
        let hook = watcher.map(|mut watcher| {
            move |_: Action, _: &str, table: &str, row: i64| watcher(table, row)
        });
        self.connection.update_hook(hook)
    }

    /// Sets how long the next transaction waits while another process has the database locked.
    pub fn set_lock_timeout(&self, timeout: Duration) {
        // It sets a number and cannot fail on an open connection.
        let _ = self.connection.busy_timeout(timeout);
    }

    /// Whether the log, as it was seen last, is long enough for a checkpoint.
    pub fn has_long_log(&self) -> bool {
        self.location.log_length() > SHORT_LOG
    }

    /// Makes a checkpoint if the log is long enough. `is_idle` tells that no request is waiting.
    pub fn checkpoint_if_long(&mut self, is_idle: bool) {
        let log =
            std::fs::metadata(beside(self.location.real(), "-wal")).map_or(0, |log| log.len());
        if log > LONG_LOG || (is_idle && log > SHORT_LOG) {
            failpoint!("broker.checkpoint.begun");
            let done = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            failpoint!("broker.checkpoint.made");
            if let Err(error) = done {
                tracing::warn!(event = "storage", "the log cannot be checkpointed: {error}");
            }
            self.location.accept_changes();
        }
    }

    /// Checkpoints and empties the open log, wherever the open files are now.
    pub(super) fn checkpoint(&self) -> Result<(), String> {
        let busy: rusqlite::Result<bool> =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        match busy {
            Ok(false) => Ok(()),
            Ok(true) => Err("another process is reading it".to_owned()),
            Err(error) => Err(plain(&error)),
        }
    }

    /// Saves the contents of the open database at `path`, where there is no file.
    pub(super) fn save(&self, path: &Path) -> io::Result<PathBuf> {
        self.copy_beside(path)?.create(path)?;
        sync_directory(path)?;
        Ok(path.to_owned())
    }

    /// Writes the contents of the open database to one new file in the directory of `path`.
    pub(super) fn copy_beside(&self, path: &Path) -> io::Result<NewFile> {
        let whole = NewFile::named_within(path.parent().unwrap_or(Path::new("/")))?;
        let name = whole.path().unwrap_or(path).to_owned();
        self.connection
            .backup("main", &name, None::<fn(rusqlite::backup::Progress)>)
            .map_err(|error| io::Error::other(plain(&error)))?;
        whole.file().sync_all()?;
        Ok(whole)
    }

    /// Whether the connection is an empty one in memory, because no database could be opened.
    pub(super) fn is_parked(&self) -> bool {
        self.connection.path().is_none_or(str::is_empty)
    }

    /// Closes the database and keeps an empty connection in memory instead.
    pub(super) fn park(&mut self) -> Result<(), String> {
        let memory = Connection::open_in_memory().map_err(|error| plain(&error))?;
        self.switch_connection(memory);
        Ok(())
    }

    /// Continues with the connection `next`. The log of the one before is left as it is.
    fn switch_connection(&mut self, next: Connection) {
        let before = std::mem::replace(&mut self.connection, next);
        self.synced = true;
        self.is_watched = false;
        // A failure concerns files that are not the database any more.
        let _ = schema::set_persist_wal(&before, true);
        if let Err((_, error)) = before.close() {
            tracing::warn!(event = "storage", "the old database cannot be closed: {error}");
        }
    }

    /// Opens the file at `real`, and continues with it.
    pub(super) fn reopen(&mut self, real: &Path) -> Result<OpenedStore, RecoveryProblem> {
        let (next, opened) = open(real, self.legacy_port, &OpeningProgress::default())
            .map_err(|error| RecoveryProblem(error.to_string(), error.hint()))?;
        let location =
            Location::of(self.location.named(), real).map_err(|error| cannot_see(real, &error))?;
        // A database that was moved away is left whole. One that was removed takes no harm.
        let was_moved = self.location.real() != real || !self.location.keeps_its_name();
        if was_moved && let Err(why) = self.checkpoint() {
            tracing::debug!("the log of the old database cannot be checkpointed: {why}");
        }
        self.switch_connection(next);
        self.location = location;
        Ok(opened)
    }

    /// Moves the damaged database aside and continues with an empty one.
    pub fn replace_damaged(&mut self) {
        let memory = match Connection::open_in_memory() {
            Ok(memory) => memory,
            Err(error) => return tracing::error!(event = "storage", "{error}"),
        };
        // The damaged connection must be closed before its files are moved. If that fails because
        // of the damage, the files are moved as they are.
        self.switch_connection(memory);
        let (real, named) = (self.location.real(), self.location.named());
        let fresh = move_damaged_aside(real).map_err(|error| error.to_string()).and_then(|moved| {
            let fresh = create(real).map_err(|error| error.to_string())?;
            let location = Location::of(named, real).map_err(|error| error.to_string())?;
            Ok((moved, fresh, location))
        });
        match fresh {
            Ok((moved_to, connection, location)) => {
                tracing::error!(
                    event = "database_damaged",
                    "the database was damaged; it was moved to {} and a new one is in use",
                    moved_to.display()
                );
                self.connection = connection;
                self.location = location;
                self.status.set_moved_to(&moved_to);
                self.is_replaced = true;
            }
            // The connection in memory has no tables, so every write fails and says so.
            Err(error) => {
                tracing::error!(event = "storage", "no new database can be created: {error}");
            }
        }
    }

    /// Closes the database in order.
    pub fn close(self) {
        let Self { connection, lock, .. } = self;
        if let Err(error) = schema::mark_clean(&connection) {
            tracing::warn!(event = "storage", "the database cannot be closed in order: {error}");
        }
        failpoint!("broker.stop.marked_clean");
        if let Err((_, error)) = connection.close() {
            tracing::warn!(event = "storage", "the database cannot be closed in order: {error}");
        }
        drop(lock);
    }
}
