//! The database removed, moved or replaced while the broker runs, and what is done about it.
//!
//! Whatever happened, the broker still has all that it ever acknowledged, in files that are open.
//! What loses least:
//!
//! * Nothing lies at the path: what the broker has is written there anew, whole.
//! * Another database lies there: somebody put it there, so it serves from now on; what the broker
//!   had is saved beside it.
//! * Only the log is gone: it is folded into the database, which goes on with a new one.
//! * There is no directory any more, or it cannot be seen what lies there: nothing is accepted until
//!   there is. A broker that must end saves what it has in its state directory.
//!
//! None of it is done in silence.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::place::{Found, Place, aside};
use super::writer::Writer;
use super::{Companion, damage, plain, schema};
use crate::files::{LockFile, NewFile, real_path};
use crate::holder::database_lock;
use crate::protocol::{ApiError, ErrorCode};

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
struct Trouble(String, String);

impl From<Trouble> for ApiError {
    fn from(Trouble(what, hint): Trouble) -> Self {
        Self::new(ErrorCode::Storage, what).hint(hint)
    }
}

impl<C: Companion> Writer<C> {
    /// Whether the database lies where it should, and nobody has touched it.
    pub(super) fn stands(&self) -> bool {
        matches!(self.place.look(), Found::Same) && self.lock.is_in_place() && !self.is_parked()
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
        let found = self.place.look();
        let kept = match found {
            Found::Same if self.lock.is_in_place() && !self.is_parked() => Ok(Kept::All),
            found => self.restore(&found),
        };
        let problem = kept.as_ref().err().map(|Trouble(what, _)| what.as_str());
        if self.report.set_problem(problem)
            && let Some(problem) = problem
        {
            tracing::error!(event = "database_replaced", "{problem}");
        }
        kept.map_err(ApiError::from)
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
            Found::Written => self.look_over(),
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
                format!("{} Until then nothing is accepted.", crate::files::hint(&error)),
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
        self.companion.reset();
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
                    format!("{} Until then nothing is accepted.", crate::files::hint(&error)),
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
        self.companion.reset();
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

    /// Somebody wrote in the database's file, be it that he copied another over it.
    fn look_over(&mut self) -> Result<Kept, Trouble> {
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
                self.place.note_written();
                tracing::warn!(
                    "somebody else wrote in {}; it is sound",
                    self.place.real().display()
                );
                Ok(Kept::All)
            }
            Err(error) if !damage::is_damage(&error) => Err(Trouble(
                format!(
                    "somebody else wrote in the database {}, and it cannot be looked into: {}",
                    self.place.real().display(),
                    plain(&error)
                ),
                "Try again; until then nothing is accepted.".to_owned(),
            )),
            _ => {
                self.replace();
                let moved = self.report.moved_to().unwrap_or_default();
                let what = format!(
                    "somebody else wrote in the database {}, which is damaged now: it was moved to {} and a new one serves; nothing was done",
                    self.place.named().display(),
                    moved.display()
                );
                let error = ApiError::new(ErrorCode::Storage, what);
                Ok(Kept::Nothing(error.hint(TRY_AGAIN)))
            }
        }
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

    /// Writes all that the open database holds to `path`, where nothing lies.
    fn save(&self, path: &Path) -> io::Result<PathBuf> {
        self.copy_beside(path)?.create(path)?;
        sync_directory(path)?;
        Ok(path.to_owned())
    }

    /// All that the open database holds, in one new file that is to lie at `path`.
    fn copy_beside(&self, path: &Path) -> io::Result<NewFile> {
        let whole = NewFile::named_within(path.parent().unwrap_or(Path::new("/")))?;
        let name = whole.path().unwrap_or(path).to_owned();
        self.connection
            .backup("main", &name, None::<fn(rusqlite::backup::Progress)>)
            .map_err(|error| io::Error::other(plain(&error)))?;
        whole.file().sync_all()?;
        Ok(whole)
    }

    /// Folds the log that is open into the database that is open, wherever they are.
    fn fold_in(&self) -> Result<(), String> {
        let busy: rusqlite::Result<bool> =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        match busy {
            Ok(false) => Ok(()),
            Ok(true) => Err("somebody reads it".to_owned()),
            Err(error) => Err(plain(&error)),
        }
    }

    /// Closes the connection, as it is, and keeps an empty one instead.
    fn park(&mut self) -> Result<(), String> {
        let memory = Connection::open_in_memory().map_err(|error| plain(&error))?;
        self.let_go(memory);
        Ok(())
    }

    /// Goes on with `next`. The log of the connection before is left to lie as it is.
    pub(super) fn let_go(&mut self, next: Connection) {
        let before = std::mem::replace(&mut self.connection, next);
        self.synced = true;
        // What may go wrong here concerns files that are not the database any more.
        let _ = schema::keep_log(&before, true);
        if let Err((_, error)) = before.close() {
            tracing::warn!(event = "storage", "closing the database: {error}");
        }
    }

    /// Opens what lies at the path now, and goes on with it.
    fn open_anew(&mut self, real: &Path) -> Result<super::Opened, Trouble> {
        let (next, opened) = schema::open(real, self.legacy_port, &super::Doing::default())
            .map_err(|error| Trouble(error.to_string(), error.hint()))?;
        let place = Place::of(self.place.named(), real).map_err(|error| unseen(real, &error))?;
        // A file that was moved away is left whole; one that was removed takes no harm.
        let moved = self.place.real() != real || !self.place.keeps_its_name();
        if moved && let Err(why) = self.fold_in() {
            tracing::debug!("the log of what was the database is not folded in: {why}");
        }
        self.let_go(next);
        self.place = place;
        Ok(opened)
    }

    fn note(&self, note: &str) {
        tracing::error!(event = "database_replaced", "{note}");
        self.report.set_note(note);
    }
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

fn unseen(real: &Path, error: &io::Error) -> Trouble {
    Trouble(
        format!(
            "it cannot be seen whether the database {} is still there: {error}",
            real.display()
        ),
        crate::files::hint(error).to_owned(),
    )
}

/// A new name is durable once its directory is.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    match File::open(directory)?.sync_all() {
        // Some file systems have nothing to sync there.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}
