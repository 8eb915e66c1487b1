//! Where the open database lies, and whether it still does.
//!
//! A file that was removed, moved or replaced can be written all the same by whoever has it open,
//! and what is written there is gone with him. So it is looked before a commit, and once more before
//! it is acknowledged: a few system calls without a wait.

use std::cell::Cell;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::protocol::Timestamp;
use crate::sys::files::{beside, real_path};

/// What SQLite keeps beside a database that is open.
const LOG: &str = "-wal";
const SIDE_FILES: [&str; 2] = [LOG, "-shm"];

/// One file, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Of what lies at `path`, if anything does.
    fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }
}

/// When a file was last written, and how long it is.
type Written = (u64, i64, i64);

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn written(metadata: &Metadata) -> Written {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

/// What lies where the open database should.
#[derive(Debug)]
pub enum Found {
    /// The database, as it was left.
    Same,
    /// The database's file, in which somebody else has written.
    Written,
    /// The database, but not the files that SQLite keeps beside it.
    WithoutLog,
    /// The database, and a log that is shorter than it was: somebody folded it in, or cut it.
    LogCut,
    Nothing,
    /// Nothing, and there is no directory for it.
    NoDirectory,
    /// Another file.
    Other,
    /// It cannot be seen.
    Unknown(io::Error),
}

/// The files of the open database.
#[derive(Debug)]
pub struct Place {
    /// The path of the settings; perhaps a link.
    named: PathBuf,
    /// The file that it meant when it was opened.
    real: PathBuf,
    database: Identity,
    side_files: [Option<Identity>; 2],
    written: Written,
    /// The log's length when it was last seen. It grows until somebody folds all of it in.
    log: Cell<u64>,
}

impl Place {
    /// Notes the files of a database that was opened just now, under its lock.
    ///
    /// # Errors
    ///
    /// If it is gone already.
    pub fn of(named: &Path, real: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(named)?;
        Ok(Self {
            named: named.to_owned(),
            real: real.to_owned(),
            database: Identity::of(&metadata),
            side_files: SIDE_FILES.map(|suffix| Identity::at(&beside(real, suffix))),
            written: written(&metadata),
            log: Cell::new(length(&beside(real, LOG))),
        })
    }

    /// The file that was opened.
    #[must_use]
    pub fn real(&self) -> &Path {
        &self.real
    }

    /// The path of the settings.
    #[must_use]
    pub fn named(&self) -> &Path {
        &self.named
    }

    #[must_use]
    pub fn look(&self) -> Found {
        let metadata = match std::fs::metadata(&self.named) {
            Ok(metadata) => metadata,
            Err(error) if is_absence(&error) => {
                return if self.has_directory() { Found::Nothing } else { Found::NoDirectory };
            }
            Err(error) => return Found::Unknown(error),
        };
        if Identity::of(&metadata) != self.database {
            return Found::Other;
        }
        let is_there = |(suffix, known): (&str, &Option<Identity>)| {
            // What there was not at first (a file of shared memory, say) need not be there.
            known.is_none() || Identity::at(&beside(&self.real, suffix)) == *known
        };
        if !SIDE_FILES.into_iter().zip(&self.side_files).all(is_there) {
            return Found::WithoutLog;
        }
        let log = length(&beside(&self.real, LOG));
        if log < self.log.get() {
            return Found::LogCut;
        }
        self.log.set(log);
        if written(&metadata) == self.written { Found::Same } else { Found::Written }
    }

    fn has_directory(&self) -> bool {
        let target = real_path(&self.named);
        target.parent().is_some_and(Path::is_dir)
    }

    /// What has been written until now is known.
    pub fn note_written(&mut self) {
        if let Ok(metadata) = std::fs::metadata(&self.named)
            && Identity::of(&metadata) == self.database
        {
            self.written = written(&metadata);
        }
        self.log.set(length(&beside(&self.real, LOG)));
    }

    /// Whether the file that was opened still has the name that it had then, whatever the
    /// settings' path leads to now.
    #[must_use]
    pub fn keeps_its_name(&self) -> bool {
        Identity::at(&self.real) == Some(self.database)
    }

    /// Makes sure that nothing lies beside `database` that SQLite would take for the log of what
    /// lies there: what is left of the open database is removed (whoever has it open keeps it), and
    /// anything else is moved aside.
    ///
    /// # Errors
    ///
    /// If a file cannot be removed or moved.
    pub fn clear_side_files(&self, database: &Path) -> io::Result<()> {
        for (suffix, known) in SIDE_FILES.into_iter().zip(&self.side_files) {
            let path = beside(database, suffix);
            match Identity::at(&path) {
                None => {}
                found if found == *known => std::fs::remove_file(&path)?,
                Some(_) if suffix == LOG => {
                    std::fs::rename(&path, beside(&aside(database, "replaced"), suffix))?;
                }
                // It holds nothing.
                Some(_) => std::fs::remove_file(&path)?,
            }
        }
        Ok(())
    }
}

/// Nothing is there, as far as can be seen.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A name beside the database for one that gave way to another, and when.
#[must_use]
pub fn aside(database: &Path, why: &str) -> PathBuf {
    let stamp = Timestamp::now().to_string().replace(':', "-");
    beside(database, &format!(".{why}-{stamp}"))
}
