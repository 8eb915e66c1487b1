//! Lock files, and the description of its owner that each holds.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::sys::files::own::{MAX_RECORD, open_own, open_own_to_write};

/// An exclusive lock on a file. Dropping it, or the end of the process, releases it.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    path: PathBuf,
    /// Device and inode of the file.
    identity: (u64, u64),
}

impl LockFile {
    fn open(path: &Path) -> io::Result<File> {
        open_own(path, OpenOptions::new().read(true).write(true).create(true).truncate(false))
    }

    /// Takes the lock; `None` if another process has it.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or locked for another reason.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = Self::open(path)?;
            match file.try_lock() {
                Ok(()) => {
                    if let Some(lock) = Self::of(file, path)? {
                        return Ok(Some(lock));
                    }
                }
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
    }

    /// Waits for the lock without a limit. Blocks: not for async threads.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or locked.
    pub fn take(path: &Path) -> io::Result<Self> {
        loop {
            let file = Self::open(path)?;
            file.lock()?;
            if let Some(lock) = Self::of(file, path)? {
                return Ok(lock);
            }
        }
    }

    /// Returns the lock on a file that this process has locked; `None` if it is not the file at
    /// `path`, whose lock is another one.
    fn of(file: File, path: &Path) -> io::Result<Option<Self>> {
        // It was removed or replaced between opening and locking it.
        if !is_at(&file, path)? {
            return Ok(None);
        }
        let metadata = file.metadata()?;
        if metadata.nlink() > 1 {
            // What is written into it would be in the file of the other name, which keeps it. No
            // process has the lock, so another file can take its place.
            std::fs::remove_file(path)?;
            return Ok(None);
        }
        // The description is that of an earlier owner.
        file.set_len(0)?;
        Ok(Some(Self { file, path: path.into(), identity: (metadata.dev(), metadata.ino()) }))
    }

    /// Returns what the last owner wrote into the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn description(&self) -> io::Result<String> {
        record(open_own(&self.path, OpenOptions::new().read(true))?)
    }

    /// Writes a description of the owner into the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn describe(&mut self, text: &str) -> io::Result<()> {
        self.file.rewind()?;
        write_over(&mut self.file, text)
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns whether the file is still at its path, as far as can be seen. If another file is there,
    /// a process that locks that one would not notice this lock.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        match std::fs::symlink_metadata(&self.path) {
            Ok(there) => (there.dev(), there.ino()) == self.identity,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// Writes a description into a lock file that this process holds elsewhere.
///
/// # Errors
///
/// If the file cannot be written.
pub fn describe_held(path: &Path, text: &str) -> io::Result<()> {
    write_over(&mut open_own_to_write(path, OpenOptions::new().write(true))?, text)
}

/// Overwrites the old text in one write, padded with blanks to its length: a reader sees the old or
/// the new text and never an empty file.
fn write_over(file: &mut File, text: &str) -> io::Result<()> {
    let before = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    file.write_all(format!("{text:before$}").as_bytes())
}

/// Reads what is in a lock file: the lock is held, whatever its file says.
fn record(file: File) -> io::Result<String> {
    let mut record = Vec::new();
    file.take(MAX_RECORD).read_to_end(&mut record)?;
    Ok(String::from_utf8_lossy(&record).into_owned())
}

/// Returns whether an open file is the one at `path`.
///
/// # Errors
///
/// If one of the two cannot be examined.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok(ours.dev() == there.dev() && ours.ino() == there.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns what the owner of a lock wrote into it; `None` if the lock is free.
///
/// # Errors
///
/// If the file is there but cannot be read, is no regular file, or is another user's, which proves
/// nothing.
pub fn lock_holder(path: &Path) -> io::Result<Option<String>> {
    let file = match open_own(path, OpenOptions::new().read(true)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Shared, so that two processes that ask at once do not take each other for the owner.
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => record(file).map(Some),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_holder_and_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        assert_eq!(lock_holder(&path).unwrap(), None);
        let mut held = LockFile::try_take(&path).unwrap().unwrap();
        held.describe("me").unwrap();
        assert!(LockFile::try_take(&path).unwrap().is_none());
        assert_eq!(lock_holder(&path).unwrap().as_deref(), Some("me"));
        // It is held whatever its file says, and an endless one is not read to its end.
        std::fs::write(&path, b"\xff\xfe{").unwrap();
        assert!(lock_holder(&path).unwrap().is_some());
        File::options().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert!(lock_holder(&path).unwrap().is_some());
        drop(held);
        // A program that another test starts just now has our files open until it runs.
        let until = |holds: &dyn Fn() -> bool| {
            let since = std::time::Instant::now();
            while !holds() {
                assert!(since.elapsed().as_secs() < 30, "the lock is still held");
                std::thread::yield_now();
            }
        };
        until(&|| lock_holder(&path).unwrap().is_none());
        until(&|| LockFile::try_take(&path).unwrap().is_some());
    }

    /// Opens the file at `path` and has it removed from there, as a process that is suspended
    /// between opening and locking it does.
    fn opened_and_removed(path: &Path) -> File {
        drop(LockFile::try_take(path).unwrap());
        let file = LockFile::open(path).unwrap();
        std::fs::remove_file(path).unwrap();
        file
    }

    #[test]
    fn a_lock_on_a_removed_file_counts_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let removed = opened_and_removed(&path);
        removed.lock().unwrap();
        assert!(LockFile::of(removed, &path).unwrap().is_none(), "no file is at the path");

        let removed = opened_and_removed(&path);
        removed.lock().unwrap();
        let held = LockFile::try_take(&path).unwrap().unwrap();
        assert!(LockFile::of(removed, &path).unwrap().is_none(), "another file is at the path");
        assert!(held.is_in_place() && lock_holder(&path).unwrap().is_some());

        // Nor does an owner whose file was removed own the lock of the file that is there.
        std::fs::remove_file(&path).unwrap();
        assert!(!held.is_in_place() && lock_holder(&path).unwrap().is_none());
        let next = LockFile::try_take(&path).unwrap().unwrap();
        assert!(next.is_in_place() && !held.is_in_place());
    }

    #[test]
    fn whoever_waited_for_a_file_that_was_removed_takes_the_lock_of_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lock");
        let first = LockFile::take(&path).unwrap();
        let waiting = path.clone();
        let waits = std::thread::Builder::new().name("waits".to_owned());
        let waits = waits.spawn(move || LockFile::take(&waiting).unwrap()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        drop(first);
        let taken = waits.join().unwrap();
        assert!(taken.is_in_place());
        assert!(LockFile::try_take(&path).unwrap().is_none());
    }

    #[test]
    fn a_file_of_a_second_name_is_not_written_and_another_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let (path, precious) = (dir.path().join("x.lock"), dir.path().join("precious"));
        std::fs::write(&precious, "kept").unwrap();
        std::fs::hard_link(&precious, &path).unwrap();
        assert!(describe_held(&path, "me").is_err());
        let mut held = LockFile::try_take(&path).unwrap().unwrap();
        held.describe("me").unwrap();
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "kept");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "me");
    }

    #[test]
    fn a_link_to_another_lock_is_neither_taken_nor_believed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("x.lock"), dir.path().join("other.lock"));
        let mut held = LockFile::try_take(&other).unwrap().unwrap();
        held.describe("another").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(lock_holder(&path).is_err() && LockFile::try_take(&path).is_err());
        assert!(describe_held(&path, "me").is_err());
        assert_eq!(lock_holder(&other).unwrap().as_deref(), Some("another"));
    }
}
