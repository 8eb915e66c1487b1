//! Atomic writes: a file that gets its name only once its content is complete.
//!
//! On Linux it has no name at all until then (`O_TMPFILE`), so nothing is left if the writer is
//! killed. To replace another file it gets a second name for the time of one system call; if the
//! writer is killed at that moment, the next writer removes that name.

use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

/// The prefix of temporary names.
const PREFIX: &str = ".claude-peers-";

/// A new file of mode 0600 without its final name.
pub struct NewFile(Kind);

enum Kind {
    #[cfg(target_os = "linux")]
    Unnamed(File),
    Named(NamedTempFile),
}

impl NewFile {
    /// Makes a file in `directory`.
    ///
    /// # Errors
    ///
    /// If no file can be made there.
    pub fn within(directory: &Path) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Some(file) = unnamed::within(directory) {
            return Ok(Self(Kind::Unnamed(file)));
        }
        Self::named_within(directory)
    }

    /// Makes a file with a temporary name, for a writer that needs a path.
    ///
    /// # Errors
    ///
    /// If no file can be made in `directory`.
    pub fn named_within(directory: &Path) -> io::Result<Self> {
        tempfile::Builder::new().prefix(PREFIX).tempfile_in(directory).map(Kind::Named).map(Self)
    }

    /// Returns the temporary path, if the file has one.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Kind::Unnamed(_) => None,
            Kind::Named(file) => Some(file.path()),
        }
    }

    pub fn file(&self) -> &File {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Kind::Unnamed(file) => file,
            Kind::Named(file) => file.as_file(),
        }
    }

    /// Gives the file its final name, which must not exist yet.
    ///
    /// # Errors
    ///
    /// If the name exists, or cannot be given.
    pub fn create(self, path: &Path) -> io::Result<()> {
        match self.0 {
            #[cfg(target_os = "linux")]
            Kind::Unnamed(file) => unnamed::link(&file, path),
            Kind::Named(file) => file.persist_noclobber(path).map(drop).map_err(|e| e.error),
        }
    }

    /// Gives the file its final name, replacing any file of that name.
    ///
    /// # Errors
    ///
    /// If the name cannot be given.
    pub fn replace(self, path: &Path) -> io::Result<()> {
        match self.0 {
            #[cfg(target_os = "linux")]
            Kind::Unnamed(file) => unnamed::replace(&file, path),
            Kind::Named(file) => file.persist(path).map(drop).map_err(|e| e.error),
        }
    }
}

#[cfg(target_os = "linux")]
mod unnamed {
    use std::os::fd::AsRawFd as _;
    use std::path::PathBuf;

    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};

    use super::{File, Path, io};
    use crate::sys::files::beside;

    /// Returns `None` where the file system has no `O_TMPFILE`, or `/proc`, by which the file gets
    /// its name, is not mounted.
    pub fn within(directory: &Path) -> Option<File> {
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = File::from(open(directory, flags, Mode::RUSR | Mode::WUSR).ok()?);
        place(&file).symlink_metadata().is_ok().then_some(file)
    }

    fn place(file: &File) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
    }

    pub fn link(file: &File, path: &Path) -> io::Result<()> {
        Ok(linkat(CWD, place(file), CWD, path, AtFlags::SYMLINK_FOLLOW)?)
    }

    pub fn replace(file: &File, path: &Path) -> io::Result<()> {
        let second = beside(path, ".claude-peers-new");
        match link(file, &second) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                std::fs::remove_file(&second)?;
                link(file, &second)?;
            }
            linked => linked?,
        }
        std::fs::rename(&second, path).inspect_err(|_| {
            let _ = std::fs::remove_file(&second);
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::sys::files::beside;

    #[test]
    fn it_has_one_name_when_it_is_whole_and_none_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        let names = || std::fs::read_dir(directory.path()).unwrap().count();
        let with = |text: &str| {
            let new = NewFile::within(directory.path()).unwrap();
            new.file().write_all(text.as_bytes()).unwrap();
            new
        };
        drop(with("given up"));
        assert_eq!(names(), 0);

        with("first").create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(with("refused").create(&path).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");

        // What a kill between two system calls would leave.
        std::fs::write(beside(&path, ".claude-peers-new"), "of another life").unwrap();
        let second = with("second");
        second.replace(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "second");
        if cfg!(target_os = "linux") {
            assert_eq!(names(), 1);
        }
    }
}
