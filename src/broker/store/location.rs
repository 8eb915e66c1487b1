//! The files of the open database, and whether they are still in place.
//!
//! A process can go on writing to a file that was removed, moved or replaced, and what it writes
//! there is gone when it ends. So the files are checked before each commit, and once more before the
//! commit is acknowledged. A check is a few system calls that do not wait for the disk.

use std::cell::Cell;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::sys::clock;
use crate::sys::files::{beside, real_path};

/// The suffix of the write-ahead log.
const WAL: &str = "-wal";

/// The suffixes of the files that SQLite keeps beside an open database.
const SIDE_FILES: [&str; 2] = [WAL, "-shm"];

/// The identity of a file, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Returns the identity of the file at `path`, if there is one.
    fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::of(&metadata))
    }
}

/// A file's length and the time of its last change.
type Version = (u64, i64, i64);

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn version(metadata: &Metadata) -> Version {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

/// What is at the path of the open database.
#[derive(Debug)]
pub enum LocationState {
    /// The database, unchanged.
    Unchanged,
    /// The database's file, to which another program has written.
    ModifiedByOther,
    /// The database, without the files that SQLite keeps beside it.
    LogMissing,
    /// The database, with a log that is shorter than before: another program has checkpointed or
    /// cut it.
    LogTruncated,
    /// No file.
    Missing,
    /// No file, and no directory for one.
    DirectoryMissing,
    /// Another file.
    Replaced,
    /// It is not known: the system refuses to say.
    Unknown(io::Error),
}

/// Where the files of the open database are, and what they were when they were last seen.
#[derive(Debug)]
pub struct Location {
    /// The path in the settings, which may be a link.
    named: PathBuf,
    /// The file to which it led when the database was opened.
    real: PathBuf,
    database: FileId,
    /// The paths of [`SIDE_FILES`] beside it.
    side_paths: [PathBuf; 2],
    side_files: [Option<FileId>; 2],
    version: Version,
    /// The log's length when it was last seen. It grows until the whole log is checkpointed.
    log: Cell<u64>,
}

impl Location {
    /// Records the files of a database that was opened just now, under its lock.
    ///
    /// # Errors
    ///
    /// If it is gone already.
    pub fn of(named: &Path, real: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(named)?;
        let side_paths = SIDE_FILES.map(|suffix| beside(real, suffix));
        Ok(Self {
            named: named.to_owned(),
            real: real.to_owned(),
            database: FileId::of(&metadata),
            side_files: side_paths.each_ref().map(|path| FileId::at(path)),
            side_paths,
            version: version(&metadata),
            log: Cell::new(length(&beside(real, WAL))),
        })
    }

    /// Returns the path of the file that was opened.
    #[must_use]
    pub fn real(&self) -> &Path {
        &self.real
    }

    /// Returns the path in the settings.
    #[must_use]
    pub fn named(&self) -> &Path {
        &self.named
    }

    /// Returns the length of the log, in bytes, when it was last seen.
    #[must_use]
    pub fn log_length(&self) -> u64 {
        self.log.get()
    }

    /// Checks what is at the database's path now.
    #[must_use]
    pub fn check(&self) -> LocationState {
        let metadata = match std::fs::metadata(&self.named) {
            Ok(metadata) => metadata,
            Err(error) if is_absence(&error) => {
                return if self.has_directory() {
                    LocationState::Missing
                } else {
                    LocationState::DirectoryMissing
                };
            }
            Err(error) => return LocationState::Unknown(error),
        };
        if FileId::of(&metadata) != self.database {
            return LocationState::Replaced;
        }
        let side_files = self.side_paths.each_ref().map(|path| std::fs::metadata(path).ok());
        let is_in_place = |(found, known): (&Option<Metadata>, &Option<FileId>)| {
            // A file that was not there at first (shared memory, say) need not be there.
            known.is_none() || found.as_ref().map(FileId::of) == *known
        };
        if !side_files.iter().zip(&self.side_files).all(is_in_place) {
            return LocationState::LogMissing;
        }
        let [wal, _] = side_files;
        let log = wal.map_or(0, |wal| wal.len());
        if log < self.log.get() {
            return LocationState::LogTruncated;
        }
        self.log.set(log);
        if version(&metadata) == self.version {
            LocationState::Unchanged
        } else {
            LocationState::ModifiedByOther
        }
    }

    fn has_directory(&self) -> bool {
        let target = real_path(&self.named);
        target.parent().is_some_and(Path::is_dir)
    }

    /// Accepts the files as they are now, after a write of our own or a check of their content.
    pub fn accept_changes(&mut self) {
        if let Ok(metadata) = std::fs::metadata(&self.named)
            && FileId::of(&metadata) == self.database
        {
            self.version = version(&metadata);
        }
        self.log.set(length(&beside(&self.real, WAL)));
    }

    /// Whether the file that was opened still has the name that it had then, wherever the path in
    /// the settings leads now.
    #[must_use]
    pub fn keeps_its_name(&self) -> bool {
        FileId::at(&self.real) == Some(self.database)
    }

    /// Clears the paths beside `database`, where SQLite would take a file for its log.
    ///
    /// Files of the open database are removed, which leaves them to the process that has them open.
    /// Any other log is moved aside.
    ///
    /// # Errors
    ///
    /// If a file cannot be removed or moved.
    pub fn clear_side_files(&self, database: &Path) -> io::Result<()> {
        for (suffix, known) in SIDE_FILES.into_iter().zip(&self.side_files) {
            let path = beside(database, suffix);
            match FileId::at(&path) {
                None => {}
                found if found == *known => std::fs::remove_file(&path)?,
                Some(_) if suffix == WAL => {
                    std::fs::rename(&path, beside(&aside_path(database, "replaced"), suffix))?;
                }
                // A file of shared memory holds no data.
                Some(_) => std::fs::remove_file(&path)?,
            }
        }
        Ok(())
    }
}

/// Whether the error means that there is no file.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Returns a path beside the database, named after the reason and the time, for a database that is
/// replaced by another.
#[must_use]
pub fn aside_path(database: &Path, reason: &str) -> PathBuf {
    let stamp = clock::now().to_string().replace(':', "-");
    beside(database, &format!(".{reason}-{stamp}"))
}

/// Moves a damaged database and its side files aside together, and returns where. Nothing is
/// deleted.
///
/// # Errors
///
/// If a file cannot be moved. The first one is the database itself, so a failure leaves all of them.
pub fn move_damaged_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = aside_path(path, "damaged");
    for suffix in ["", "-wal", "-shm"] {
        match std::fs::rename(beside(path, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}
