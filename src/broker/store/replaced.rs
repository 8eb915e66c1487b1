//! The database removed, moved or replaced while the broker runs, and what is done about it.
//!
//! Whatever happened, the broker still has all that it ever acknowledged, in files that are open.
//! What loses least:
//!
//! * Nothing lies at the path: what the broker has is written there anew, whole, before the next
//!   message is accepted or the broker ends. Unless the person who removed it then stops the broker
//!   by `kill-broker`, which is how one begins afresh: an empty one takes its place, and what the
//!   broker had is saved beside it.
//! * Another database lies there: somebody put it there, so it serves from now on; what the broker
//!   had is saved beside it.
//! * Only the log is gone: it is folded into the database, which goes on with a new one.
//! * There is no directory any more, or it cannot be seen what lies there: nothing is accepted until
//!   there is. A broker that must end saves what it has in its state directory.
//!
//! None of it is done in silence.

use std::io;
use std::path::{Path, PathBuf};

use crate::broker::store::error::DAMAGED;
use crate::broker::store::location::{Found, aside};
use crate::broker::store::writer::Writer;
use crate::broker::store::{TransactionHooks, damage};
use crate::endpoint::broker_lock::database_lock;
use crate::protocol::{ApiError, ErrorCode};
use crate::sys::files::{LockFile, real_path, sync_directory};
use crate::sys::sqlite_error::plain;

/// What has become of what the database held.
#[derive(Debug)]
pub(super) enum Kept {
    All,
    /// Another database serves, which knows nothing of it; this is to be said.
    Nothing(ApiError),
}

/// Above this size it is not looked into whether a database is sound in which somebody else wrote.
const ALWAYS_CHECKED: u64 = 64 * 1024 * 1024;

/// What to do where another database serves.
const TRY_AGAIN: &str = "Try again: the sessions that run make themselves known again.";

/// Why the database cannot be had, one sentence; and what to do about it.
pub(super) struct Trouble(pub(super) String, pub(super) String);

impl From<Trouble> for ApiError {
    fn from(Trouble(what, hint): Trouble) -> Self {
        Self::new(ErrorCode::Storage, what).hint(hint)
    }
}

impl<C: TransactionHooks> Writer<C> {
    /// Whether the database lies where it should, and nobody has touched it.
    pub(super) fn stands(&self) -> bool {
        matches!(self.place.look(), Found::Same) && self.lock.is_in_place() && !self.is_parked()
    }

    /// Whether what is written next may go into the files that are open although the database was
    /// removed from its path: notes that come late are no reason to write it there anew, for its
    /// person may be about to begin afresh.
    pub(super) fn may_stay_away(&self, sync: bool) -> bool {
        !sync
            && !self.state.must_sync()
            && !self.is_parked()
            && matches!(self.place.look(), Found::Nothing)
    }

    /// Whether the connection is an empty one, because no database could be opened.
    fn is_parked(&self) -> bool {
        self.connection.path().is_none_or(str::is_empty)
    }

    /// Makes sure that what is committed next, or was just now, lies at the database's path.
    ///
    /// # Errors
    ///
    /// If it does not. What was committed is kept by this process, and by nothing else.
    pub(super) fn stand(&mut self) -> Result<Kept, ApiError> {
        let kept = if self.stands() { Ok(Kept::All) } else { self.restore(&self.place.look()) };
        self.tell_problem(kept.as_ref().err().map(|Trouble(what, _)| what.as_str()));
        kept.map_err(ApiError::from)
    }

    /// The same before a read, which needs no database at its path. One that was removed is not
    /// written anew for it: that may be the first half of a person's way to begin afresh.
    pub(super) fn notice(&mut self) {
        if matches!(self.place.look(), Found::Nothing) {
            self.tell_problem(Some(&format!(
                "the database {} was removed or moved away; the broker still has all that it held, and writes it there anew with the next message",
                self.place.named().display()
            )));
        } else {
            // Who writes next is told.
            let _ = self.stand();
        }
    }

    /// See [`Store::begin_afresh`](crate::broker::store::Store::begin_afresh).
    pub(super) fn begin_afresh(&mut self) -> Result<Option<PathBuf>, ApiError> {
        if !matches!(self.place.look(), Found::Nothing) || self.is_parked() {
            return Ok(None);
        }
        let real = real_path(self.place.named());
        let mut begin = || -> Result<PathBuf, Trouble> {
            self.lock_again(&real)?;
            let saved = self.save(&aside(&real, "removed")).map_err(|error| {
                let what = format!(
                    "the database {} was removed, and what it held cannot be saved: {error}",
                    real.display()
                );
                Trouble(what, crate::sys::files::hint(&error))
            })?;
            self.place.clear_side_files(&real).map_err(|error| unseen(&real, &error))?;
            self.open_anew(&real)?;
            Ok(saved)
        };
        let saved = begin()?;
        self.note(&format!(
            "the database {} was removed while the broker ran; an empty one takes its place, and what the broker had is in {}",
            real.display(),
            saved.display()
        ));
        self.state.reset();
        Ok(Some(saved))
    }

    fn tell_problem(&self, problem: Option<&str>) {
        if self.report.set_problem(problem)
            && let Some(problem) = problem
        {
            tracing::error!(event = "database_replaced", "{problem}");
        }
    }

    fn restore(&mut self, found: &Found) -> Result<Kept, Trouble> {
        let real = real_path(self.place.named());
        match found {
            Found::NoDirectory => return Err(no_directory(&real)),
            Found::Unknown(error) => return Err(unseen(&real, error)),
            _ => {}
        }
        self.lock_again(&real)?;
        match found {
            Found::Nothing => self.write_anew(&real),
            Found::Other => self.go_over_to(&real),
            Found::WithoutLog => self.begin_log(&real),
            Found::Written => self.look_over("somebody else wrote in"),
            Found::LogCut => self.look_over("the log was cut off beside"),
            Found::Same if self.is_parked() => self.open_anew(&real).map(|_| Kept::All),
            Found::Same | Found::NoDirectory | Found::Unknown(_) => Ok(Kept::All),
        }
    }

    /// One database has one broker, be it at another place than before, or its lock file gone.
    fn lock_again(&mut self, real: &Path) -> Result<(), Trouble> {
        let path = database_lock(real);
        if self.lock.path() == path && self.lock.is_in_place() {
            return Ok(());
        }
        let refused = |why: String| {
            Trouble(
                format!("the database {} cannot be locked: {why}", real.display()),
                "`claude-peers kill-broker` ends this broker; the next call starts one that looks anew.".to_owned(),
            )
        };
        let mut lock = LockFile::try_take(&path)
            .map_err(|error| refused(error.to_string()))?
            .ok_or_else(|| refused("another broker has taken its place".to_owned()))?;
        lock.describe(&self.holder).map_err(|error| refused(error.to_string()))?;
        self.lock = lock;
        Ok(())
    }

    /// Nothing lies at the path.
    fn write_anew(&mut self, real: &Path) -> Result<Kept, Trouble> {
        if self.is_parked() {
            return self.begin_anew(real);
        }
        let copy = || -> io::Result<()> {
            let whole = self.copy_beside(real)?;
            self.place.clear_side_files(real)?;
            whole.create(real)?;
            sync_directory(real)
        };
        copy().map_err(|error| {
            Trouble(
                format!(
                    "the database {} was removed or moved away, and cannot be written anew: {error}",
                    real.display()
                ),
                format!("{} Until then nothing is accepted.", crate::sys::files::hint(&error)),
            )
        })?;
        self.open_anew(real)?;
        self.note(&format!(
            "the database {} was removed or moved away while the broker ran; all that it held was written there anew",
            real.display()
        ));
        Ok(Kept::All)
    }

    /// Nothing lies at the path, and we have nothing.
    fn begin_anew(&mut self, real: &Path) -> Result<Kept, Trouble> {
        self.open_anew(real)?;
        let note = format!(
            "the database {} was removed while the broker could not use it; an empty one serves",
            real.display()
        );
        self.note(&note);
        self.state.reset();
        Ok(Kept::Nothing(ApiError::new(ErrorCode::Storage, note).hint(TRY_AGAIN)))
    }

    /// Another file lies at the path, or the path leads to another file.
    fn go_over_to(&mut self, real: &Path) -> Result<Kept, Trouble> {
        let shown = real.display();
        // A link may lead elsewhere now, and what it led to before is where it was.
        let untouched = self.place.keeps_its_name() && self.place.real() != real;
        let saved = match self.saved.take() {
            _ if untouched || self.is_parked() => self.place.real().to_owned(),
            Some(saved) => saved,
            None => self.save(&aside(real, "replaced")).map_err(|error| {
                Trouble(
                    format!("the database {shown} was replaced, and what it held before cannot be saved: {error}"),
                    format!("{} Until then nothing is accepted.", crate::sys::files::hint(&error)),
                )
            })?,
        };
        self.saved = Some(saved.clone());
        if !untouched {
            self.place.clear_side_files(real).map_err(|error| unseen(real, &error))?;
        }
        let opened = self.open_anew(real)?;
        self.saved = None;
        let mut note = format!(
            "the database {shown} was replaced while the broker ran; the one that lies there now serves, what the broker had is in {}",
            saved.display()
        );
        if let Some(moved) = opened.moved_to {
            self.report.set_moved_to(&moved);
            note = format!("{note}; the new one was damaged, and moved to {}", moved.display());
        }
        self.note(&note);
        self.state.reset();
        let error = ApiError::new(ErrorCode::Storage, format!("{note}; nothing was done"));
        Ok(Kept::Nothing(error.hint(TRY_AGAIN)))
    }

    /// The log is gone, and the database is there.
    fn begin_log(&mut self, real: &Path) -> Result<Kept, Trouble> {
        let refused = |why: String| {
            Trouble(
                format!(
                    "the log beside the database {} was removed, and cannot be folded in: {why}",
                    real.display()
                ),
                "Try again; until then nothing is accepted.".to_owned(),
            )
        };
        self.fold_in().map_err(refused)?;
        self.place.clear_side_files(real).map_err(|error| refused(error.to_string()))?;
        // It must be closed before it is opened again: a process has a file's locks only once.
        self.park().map_err(refused)?;
        self.open_anew(real)?;
        self.note(&format!(
            "the log beside the database {} was removed while the broker ran; it was folded in before, and nothing is lost",
            real.display()
        ));
        Ok(Kept::All)
    }

    /// Somebody touched the database's file or its log: folded the one into the other, which is his
    /// right, or copied something over them.
    fn look_over(&mut self, what: &str) -> Result<Kept, Trouble> {
        // What SQLite remembers of the file may not be so any more.
        let report: rusqlite::Result<String> =
            self.connection.execute_batch("PRAGMA shrink_memory").and_then(|()| {
                let large = std::fs::metadata(self.place.real())
                    .is_ok_and(|metadata| metadata.len() > ALWAYS_CHECKED);
                let check =
                    if large { "PRAGMA quick_check(1)" } else { "PRAGMA integrity_check(1)" };
                self.connection.query_row(check, [], |row| row.get(0))
            });
        match report {
            Ok(report) if report == "ok" => {
                // What stands in the log alone may be all that there is: of an empty database
                // SQLite throws it away.
                if let Err(why) = self.fold_in() {
                    tracing::debug!("the log is not folded in: {why}");
                }
                self.place.note_written();
                tracing::warn!("{what} {}; it is sound", self.place.real().display());
                Ok(Kept::All)
            }
            // What should be there and is not cannot be read, either.
            Err(error) if !damage::is_damage(&error) && !is_cut_off(&error) => Err(Trouble(
                format!(
                    "{what} the database {}, and it cannot be looked into: {}",
                    self.place.real().display(),
                    plain(&error)
                ),
                "Try again; until then nothing is accepted.".to_owned(),
            )),
            _ => Ok(self.give_up(what)),
        }
    }

    /// What lies at the path cannot be trusted any more: it is moved aside as it is.
    fn give_up(&mut self, what: &str) -> Kept {
        self.replace();
        let what = format!(
            "{what} the database {}, which is damaged now: it was moved to {} and a new one serves; nothing was done",
            self.place.named().display(),
            self.report.moved_to().unwrap_or_default().display()
        );
        Kept::Nothing(ApiError::new(ErrorCode::Storage, what).hint(DAMAGED))
    }

    /// The last moment before the broker ends: what would end with it is saved.
    pub(super) fn stand_or_save(&mut self) {
        let Err(error) = self.stand() else { return };
        if self.is_parked() || self.place.keeps_its_name() {
            return;
        }
        match self.save(&aside(&self.refuge, "lost")) {
            Ok(lost) => tracing::error!(
                event = "database_replaced",
                "{}; what the broker had is in {}",
                error.message,
                lost.display()
            ),
            Err(failure) => tracing::error!(
                event = "database_replaced",
                "{}; what the broker had is lost: {failure}",
                error.message
            ),
        }
    }

    fn note(&self, note: &str) {
        tracing::error!(event = "database_replaced", "{note}");
        self.report.set_note(note);
    }
}

/// Whether a file ends before what should be in it.
fn is_cut_off(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|failure| failure.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
}

fn no_directory(real: &Path) -> Trouble {
    let directory = real.parent().unwrap_or(Path::new("/")).display();
    Trouble(
        format!(
            "the directory {directory} of the database was removed or moved away; nothing can be stored"
        ),
        format!(
            "Bring it back, or make it (mkdir -p {directory}): the broker still has all that it held, and writes it there."
        ),
    )
}

pub(super) fn unseen(real: &Path, error: &io::Error) -> Trouble {
    Trouble(
        format!(
            "it cannot be seen whether the database {} is still there: {error}",
            real.display()
        ),
        crate::sys::files::hint(error),
    )
}
