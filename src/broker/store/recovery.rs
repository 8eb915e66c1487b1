//! Recovery when the database's files were removed, moved or replaced while the broker runs.
//!
//! Whatever happened, the broker still has everything that it ever acknowledged, in its open files.
//! What is done loses as little as possible:
//!
//! * There is no file at the path: the contents are written back there, before the next message is
//!   accepted or the broker ends. The exception: the person who removed the file stops the broker by
//!   `kill-broker`, which is the way to begin with an empty database. Then an empty database takes
//!   its place, and the old contents are saved beside it.
//! * There is another database: a person put it there, so it is in use from now on. The old contents
//!   are saved beside it.
//! * Only the write-ahead log is missing: it is checkpointed into the database, which continues with
//!   a new one.
//! * The directory is missing, or the path cannot be examined: nothing is accepted until it can be.
//!   A broker that must end saves the contents in its state directory.
//!
//! Each of these is logged and shown by `status`.

use std::io;
use std::path::{Path, PathBuf};

use crate::broker::store::database::{Database, RecoveryProblem, cannot_see};
use crate::broker::store::error::{DAMAGED, is_damage};
use crate::broker::store::location::{LocationState, aside_path};
use crate::endpoint::broker_lock::database_lock;
use crate::protocol::{ApiError, ErrorCode};
use crate::sys::files::{LockFile, real_path, sync_directory};
use crate::sys::sqlite_error::plain;

/// What has become of the contents of the database.
#[derive(Debug)]
pub(super) enum RecoveryOutcome {
    /// They are in the database.
    Kept,
    /// Another database is in use, which does not have them. The error says so.
    Replaced(ApiError),
}

/// Up to this size, in bytes, a database that another program has changed gets the full integrity
/// check.
const FULLY_CHECKED: u64 = 64 * 1024 * 1024;

/// The hint where another database is in use.
const TRY_AGAIN: &str = "Running sessions are registering again; try again in a moment.";

impl Database {
    /// Whether the database is in its place, and no other program has touched it.
    pub fn is_in_place(&self) -> bool {
        matches!(self.location.check(), LocationState::Unchanged)
            && self.lock.is_in_place()
            && !self.is_parked()
    }

    /// Whether writes that need no fsync may go to the open files although the database was removed
    /// from its path. They are no reason to write it back, because its person may be about to begin
    /// with an empty one.
    pub fn may_write_unlinked(&self) -> bool {
        !self.is_parked() && matches!(self.location.check(), LocationState::Missing)
    }

    /// Makes sure that the next commit, or the last one, is in a file at the database's path.
    ///
    /// # Errors
    ///
    /// If that is not possible. What was committed is kept by this process alone.
    pub fn recover(&mut self) -> Result<RecoveryOutcome, ApiError> {
        let outcome = if self.is_in_place() {
            Ok(RecoveryOutcome::Kept)
        } else {
            self.restore(&self.location.check())
        };
        let problem = outcome.as_ref().err().map(|RecoveryProblem(what, _)| what.as_str());
        self.report_problem(problem);
        outcome.map_err(ApiError::from)
    }

    /// Does the same before a read, which needs no file at the path. A database that was removed is
    /// not written back for a read: its person may be about to begin with an empty one.
    pub fn recover_for_read(&mut self) {
        if matches!(self.location.check(), LocationState::Missing) {
            self.report_problem(Some(&format!(
                "the database {} was removed or moved away; the broker still has its contents, and writes them back with the next message",
                self.location.named().display()
            )));
        } else {
            // The next write gets the error.
            let _ = self.recover();
        }
    }

    /// Begins with an empty database where the open one was removed. Returns where the old contents
    /// were saved, or `None` if the open database is still in place.
    pub fn start_fresh(&mut self) -> Result<Option<PathBuf>, ApiError> {
        if !matches!(self.location.check(), LocationState::Missing) || self.is_parked() {
            return Ok(None);
        }
        let real = real_path(self.location.named());
        let saved = self.save_and_reopen(&real)?;
        self.report_event(&format!(
            "the database {} was removed while the broker was running; a new, empty one is in use, and the old contents are saved in {}",
            real.display(),
            saved.display()
        ));
        self.is_replaced = true;
        Ok(Some(saved))
    }

    fn save_and_reopen(&mut self, real: &Path) -> Result<PathBuf, RecoveryProblem> {
        self.lock_again(real)?;
        let saved = self.save(&aside_path(real, "removed")).map_err(|error| {
            let what = format!(
                "the database {} was removed, and its contents cannot be saved: {error}",
                real.display()
            );
            RecoveryProblem(what, crate::sys::files::hint(&error))
        })?;
        self.location.clear_side_files(real).map_err(|error| cannot_see(real, &error))?;
        self.reopen(real)?;
        Ok(saved)
    }

    fn report_problem(&self, problem: Option<&str>) {
        if self.status.set_problem(problem)
            && let Some(problem) = problem
        {
            tracing::error!(event = "database_replaced", "{problem}");
        }
    }

    fn restore(&mut self, state: &LocationState) -> Result<RecoveryOutcome, RecoveryProblem> {
        let real = real_path(self.location.named());
        match state {
            LocationState::DirectoryMissing => return Err(no_directory(&real)),
            LocationState::Unknown(error) => return Err(cannot_see(&real, error)),
            _ => {}
        }
        self.lock_again(&real)?;
        match state {
            LocationState::Missing => self.write_back(&real),
            LocationState::Replaced => self.switch_to(&real),
            LocationState::LogMissing => self.renew_log(&real),
            LocationState::ModifiedByOther => self.check_integrity("another program changed"),
            LocationState::LogTruncated => {
                self.check_integrity("another program truncated the write-ahead log of")
            }
            LocationState::Unchanged if self.is_parked() => {
                self.reopen(&real).map(|_| RecoveryOutcome::Kept)
            }
            LocationState::Unchanged
            | LocationState::DirectoryMissing
            | LocationState::Unknown(_) => Ok(RecoveryOutcome::Kept),
        }
    }

    /// Takes the lock of the database at `real`, if that is another one than before or its file was
    /// removed: one database has one broker.
    fn lock_again(&mut self, real: &Path) -> Result<(), RecoveryProblem> {
        let path = database_lock(real);
        if self.lock.path() == path && self.lock.is_in_place() {
            return Ok(());
        }
        let refused = |why: String| {
            RecoveryProblem(
                format!("the database {} cannot be locked: {why}", real.display()),
                "Stop this broker with `claude-peers kill-broker`; the next call starts a new one."
                    .to_owned(),
            )
        };
        let mut lock = LockFile::try_take(&path)
            .map_err(|error| refused(error.to_string()))?
            .ok_or_else(|| refused("another broker has locked it".to_owned()))?;
        lock.describe(&self.owner).map_err(|error| refused(error.to_string()))?;
        self.lock = lock;
        Ok(())
    }

    /// Writes the contents back to the path, where there is no file.
    fn write_back(&mut self, real: &Path) -> Result<RecoveryOutcome, RecoveryProblem> {
        if self.is_parked() {
            return self.create_empty(real);
        }
        let copy = || -> io::Result<()> {
            let whole = self.copy_beside(real)?;
            self.location.clear_side_files(real)?;
            whole.create(real)?;
            sync_directory(real)
        };
        copy().map_err(|error| {
            RecoveryProblem(
                format!(
                    "the database {} was removed or moved away, and cannot be written back: {error}",
                    real.display()
                ),
                format!("{} Until then no message is accepted.", crate::sys::files::hint(&error)),
            )
        })?;
        self.reopen(real)?;
        self.report_event(&format!(
            "the database {} was removed or moved away while the broker was running; its contents were written back",
            real.display()
        ));
        Ok(RecoveryOutcome::Kept)
    }

    /// Creates an empty database where there is no file, and the broker has no contents either.
    fn create_empty(&mut self, real: &Path) -> Result<RecoveryOutcome, RecoveryProblem> {
        self.reopen(real)?;
        let note = format!(
            "the database {} was removed while the broker could not use it; a new, empty one is in use",
            real.display()
        );
        self.report_event(&note);
        self.is_replaced = true;
        Ok(RecoveryOutcome::Replaced(ApiError::new(ErrorCode::Storage, note).hint(TRY_AGAIN)))
    }

    /// Switches to the other file at the path, or to which the path leads now.
    fn switch_to(&mut self, real: &Path) -> Result<RecoveryOutcome, RecoveryProblem> {
        let shown = real.display();
        // A link may lead elsewhere now, and the file to which it led before is where it was.
        let untouched = self.location.keeps_its_name() && self.location.real() != real;
        let saved = match self.saved.take() {
            _ if untouched || self.is_parked() => self.location.real().to_owned(),
            Some(saved) => saved,
            None => self.save(&aside_path(real, "replaced")).map_err(|error| {
                RecoveryProblem(
                    format!("the database {shown} was replaced, and its old contents cannot be saved: {error}"),
                    format!("{} Until then no message is accepted.", crate::sys::files::hint(&error)),
                )
            })?,
        };
        self.saved = Some(saved.clone());
        if !untouched {
            self.location.clear_side_files(real).map_err(|error| cannot_see(real, &error))?;
        }
        let opened = self.reopen(real)?;
        self.saved = None;
        let mut note = format!(
            "the database {shown} was replaced while the broker was running; the new one is in use, and the old contents are saved in {}",
            saved.display()
        );
        if let Some(moved) = opened.moved_to {
            self.status.set_moved_to(&moved);
            note = format!("{note}; the new one was damaged and was moved to {}", moved.display());
        }
        self.report_event(&note);
        self.is_replaced = true;
        let error = ApiError::new(ErrorCode::Storage, format!("{note}; nothing was done"));
        Ok(RecoveryOutcome::Replaced(error.hint(TRY_AGAIN)))
    }

    /// Begins a new log where the old one was removed from beside the database.
    fn renew_log(&mut self, real: &Path) -> Result<RecoveryOutcome, RecoveryProblem> {
        let refused = |why: String| {
            RecoveryProblem(
                format!(
                    "the write-ahead log of {} (-wal) was removed, and its contents cannot be written into the database: {why}",
                    real.display()
                ),
                "Try again; until then no message is accepted.".to_owned(),
            )
        };
        self.checkpoint().map_err(refused)?;
        self.location.clear_side_files(real).map_err(|error| refused(error.to_string()))?;
        // The file must be closed before it is opened again, because a process has a file's locks
        // only once.
        self.park().map_err(refused)?;
        self.reopen(real)?;
        self.report_event(&format!(
            "the write-ahead log of {} (-wal) was removed while the broker was running; its contents were written into the database first, so nothing is lost",
            real.display()
        ));
        Ok(RecoveryOutcome::Kept)
    }

    /// Checks a database whose file or log another program has changed: by a checkpoint, which is
    /// harmless, or by copying something over them.
    fn check_integrity(&mut self, what: &str) -> Result<RecoveryOutcome, RecoveryProblem> {
        // Drops the cached pages, which may differ from the file.
        let report: rusqlite::Result<String> =
            self.connection.execute_batch("PRAGMA shrink_memory").and_then(|()| {
                let large = std::fs::metadata(self.location.real())
                    .is_ok_and(|metadata| metadata.len() > FULLY_CHECKED);
                let check =
                    if large { "PRAGMA quick_check(1)" } else { "PRAGMA integrity_check(1)" };
                self.connection.query_row(check, [], |row| row.get(0))
            });
        match report {
            Ok(report) if report == "ok" => {
                // The log may hold the only copy of its rows: SQLite discards the log of a database
                // that it finds empty.
                if let Err(why) = self.checkpoint() {
                    tracing::debug!("the log cannot be checkpointed: {why}");
                }
                self.location.accept_changes();
                tracing::warn!(
                    "{what} the database {}; it is sound",
                    self.location.real().display()
                );
                Ok(RecoveryOutcome::Kept)
            }
            // Pages that are missing count as damage.
            Err(error) if !is_damage(&error) && !is_cut_off(&error) => Err(RecoveryProblem(
                format!(
                    "{what} the database {}, and it cannot be checked: {}",
                    self.location.real().display(),
                    plain(&error)
                ),
                "Try again; until then no message is accepted.".to_owned(),
            )),
            _ => Ok(self.abandon(what)),
        }
    }

    /// Moves the database aside, as it is, because it cannot be trusted any more.
    fn abandon(&mut self, what: &str) -> RecoveryOutcome {
        self.replace_damaged();
        let what = format!(
            "{what} the database {}, which is damaged now: it was moved to {} and a new one is in use; nothing was done",
            self.location.named().display(),
            self.status.moved_to().unwrap_or_default().display()
        );
        RecoveryOutcome::Replaced(ApiError::new(ErrorCode::Storage, what).hint(DAMAGED))
    }

    /// Saves the contents before the broker ends, if they cannot be written to the database's path.
    pub fn recover_or_save(&mut self) {
        let Err(error) = self.recover() else { return };
        if self.is_parked() || self.location.keeps_its_name() {
            return;
        }
        match self.save(&aside_path(&self.rescue_file, "lost")) {
            Ok(lost) => tracing::error!(
                event = "database_replaced",
                "{}; its contents are saved in {}",
                error.message,
                lost.display()
            ),
            Err(failure) => tracing::error!(
                event = "database_replaced",
                "{}; its contents are lost: {failure}",
                error.message
            ),
        }
    }

    /// Logs what happened to the files, and keeps it for `status`.
    fn report_event(&self, note: &str) {
        tracing::error!(event = "database_replaced", "{note}");
        self.status.set_note(note);
    }
}

/// Whether a page is beyond the end of the file.
fn is_cut_off(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|failure| failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
}

fn no_directory(real: &Path) -> RecoveryProblem {
    let directory = real.parent().unwrap_or(Path::new("/")).display();
    RecoveryProblem(
        format!(
            "the directory {directory} of the database was removed or moved away; no message can be stored"
        ),
        format!(
            "Move it back, or create it (mkdir -p {directory}): the broker still has the contents of the database and writes them back."
        ),
    )
}
