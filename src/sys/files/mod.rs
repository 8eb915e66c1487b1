//! Private files and directories, and lock files.
//!
//! Everything of ours lies in directories of mode 0700 and files of mode 0600. The owner of
//! existing ones is checked before they are trusted.

mod hints;
mod new_file;
mod real;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

pub use hints::{NO_THREADS, hint, socket_hint};
pub use new_file::NewFile;
pub use real::{identity, real_path, same_place, walk};

/// Returns the effective user id, which owns the files that this process makes.
#[must_use]
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Makes `directory`, and missing ones above it, with mode 0700.
///
/// The mode of an existing directory named `claude-peers` (or below one) is corrected. Any other is
/// left as it is, because its purpose is unknown.
///
/// # Errors
///
/// If it cannot be made, is no directory, belongs to another user, or is open to others and not
/// ours by name.
pub fn private_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let metadata = std::fs::metadata(directory)?;
    let refused = |problem: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, problem));
    if metadata.uid() != effective_uid() {
        return Err(belongs_to(metadata.uid()));
    }
    if metadata.mode() & 0o077 != 0 {
        let ours = directory.components().any(|part| part.as_os_str() == "claude-peers");
        if !ours {
            return refused("it is open to others; a directory of mode 0700 is needed".to_owned());
        }
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Writes a file of mode 0600 atomically: a reader sees the old text or the new one.
///
/// # Errors
///
/// If the file cannot be written; the old one is then untouched.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let new = NewFile::within(directory)?;
    new.file().write_all(text.as_bytes())?;
    new.replace(path)
}

/// Makes the name of a new file durable, by syncing its directory.
///
/// # Errors
///
/// If the directory cannot be synced.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    match File::open(directory)?.sync_all() {
        // Some file systems have nothing to sync there.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

/// An exclusive lock on a file. Dropping it, or the end of the process, releases it.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    path: PathBuf,
    /// Device and inode of the file.
    identity: (u64, u64),
}

impl LockFile {
    /// Opens the file, but not through a symbolic link, which could lead to any file.
    fn open(path: &Path) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(NO_LINK)
            .open(path)?;
        refuse_others(&file)?;
        Ok(file)
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
                Ok(()) if is_at(&file, path)? => {
                    // The description is that of an earlier owner.
                    file.set_len(0)?;
                    return Self::of(file, path).map(Some);
                }
                // The file was removed or replaced between opening and locking it.
                Ok(()) => {}
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
            if is_at(&file, path)? {
                file.set_len(0)?;
                return Self::of(file, path);
            }
        }
    }

    fn of(file: File, path: &Path) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { file, path: path.into(), identity: (metadata.dev(), metadata.ino()) })
    }

    /// Returns what the last owner wrote into the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn description(&self) -> io::Result<String> {
        std::fs::read_to_string(&self.path)
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
        match std::fs::metadata(&self.path) {
            Ok(there) => (there.dev(), there.ino()) == self.identity,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }
}

/// Open flags: a symbolic link is an error, and opening a pipe does not block.
const NO_LINK: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

fn refuse_others(file: &File) -> io::Result<()> {
    match file.metadata()?.uid() {
        owner if owner == effective_uid() => Ok(()),
        owner => Err(belongs_to(owner)),
    }
}

fn belongs_to(owner: u32) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, format!("it belongs to user id {owner}"))
}

/// Writes a description into a lock file that this process holds elsewhere.
///
/// # Errors
///
/// If the file cannot be written.
pub fn describe_held(path: &Path, text: &str) -> io::Result<()> {
    write_over(&mut OpenOptions::new().write(true).open(path)?, text)
}

/// Overwrites the old text in one write, padded with blanks to its length: a reader sees the old or
/// the new text and never an empty file.
fn write_over(file: &mut File, text: &str) -> io::Result<()> {
    let before = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    file.write_all(format!("{text:before$}").as_bytes())
}

/// Returns whether an open file is the one at `path`.
///
/// # Errors
///
/// If one of the two cannot be examined.
pub fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok(ours.dev() == there.dev() && ours.ino() == there.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The most bytes of a lock's record that are read; one of ours has some hundred.
const LONGEST_RECORD: u64 = 64 * 1024;

/// Returns what the owner of a lock wrote into it; `None` if the lock is free.
///
/// # Errors
///
/// If the file is there but cannot be read.
pub fn lock_holder(path: &Path) -> io::Result<Option<String>> {
    let file = match OpenOptions::new().read(true).custom_flags(NO_LINK).open(path) {
        // A file of another user proves nothing.
        Ok(file) => refuse_others(&file).map(|()| file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Shared, so that two processes that ask at once do not take each other for the owner.
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            // The lock is held, whatever its file says.
            let mut record = Vec::new();
            file.take(LONGEST_RECORD).read_to_end(&mut record)?;
            Ok(Some(String::from_utf8_lossy(&record).into_owned()))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Returns the path with `suffix` appended to its file name: `a.db` and `-lock` give `a.db-lock`.
#[must_use]
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
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

    #[test]
    fn a_directory_that_lets_others_in_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("claude-peers/run");
        private_directory(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        private_directory(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o700);

        let other = dir.path().join("shared");
        std::fs::create_dir(&other).unwrap();
        std::fs::set_permissions(&other, std::fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(private_directory(&other).is_err());
        assert_eq!(std::fs::metadata(&other).unwrap().mode() & 0o7777, 0o1777);
    }
}
