//! Carrying what the open database holds to another file, and going on with another one.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::broker::store::location::Place;
use crate::broker::store::replaced::{Trouble, unseen};
use crate::broker::store::writer::Writer;
use crate::broker::store::{Doing, Opened, TransactionHooks, schema};
use crate::sys::files::{NewFile, sync_directory};
use crate::sys::sqlite_error::plain;

impl<C: TransactionHooks> Writer<C> {
    /// Writes all that the open database holds to `path`, where nothing lies.
    pub(super) fn save(&self, path: &Path) -> io::Result<PathBuf> {
        self.copy_beside(path)?.create(path)?;
        sync_directory(path)?;
        Ok(path.to_owned())
    }

    /// All that the open database holds, in one new file that is to lie at `path`.
    pub(super) fn copy_beside(&self, path: &Path) -> io::Result<NewFile> {
        let whole = NewFile::named_within(path.parent().unwrap_or(Path::new("/")))?;
        let name = whole.path().unwrap_or(path).to_owned();
        self.connection
            .backup("main", &name, None::<fn(rusqlite::backup::Progress)>)
            .map_err(|error| io::Error::other(plain(&error)))?;
        whole.file().sync_all()?;
        Ok(whole)
    }

    /// Folds the log that is open into the database that is open, wherever they are.
    pub(super) fn fold_in(&self) -> Result<(), String> {
        let busy: rusqlite::Result<bool> =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        match busy {
            Ok(false) => Ok(()),
            Ok(true) => Err("somebody reads it".to_owned()),
            Err(error) => Err(plain(&error)),
        }
    }

    /// Closes the connection, as it is, and keeps an empty one instead.
    pub(super) fn park(&mut self) -> Result<(), String> {
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
    pub(super) fn open_anew(&mut self, real: &Path) -> Result<Opened, Trouble> {
        let (next, opened) = schema::open(real, self.legacy_port, &Doing::default())
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
}
