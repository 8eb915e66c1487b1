//! A configuration file of another program: read, replaced atomically, or left alone.
//!
//! A link stays a link; mode, owner, byte order mark and line ends are kept. Read-only files are never
//! written, not even as root.

use std::fs::{DirBuilder, Metadata, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use sha2::{Digest as _, Sha256};

use crate::setup::error::SetupError;
use crate::sys::files::{NewFile, effective_uid, read_limited};

/// The largest file that is read, in bytes.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A file as it was read, or the path of a missing file.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    /// The path as its program names it.
    pub path: PathBuf,
    /// The path with all links resolved.
    pub target: PathBuf,
    /// `None` if there is no file.
    pub bytes: Option<Vec<u8>>,
}

impl ConfigFile {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// If the path leads to something other than a text file.
    pub fn read(path: &Path) -> Result<Self, SetupError> {
        let refused = |problem: &str, hint: &str| Err(SetupError::file(path, problem, hint));
        let target = match path.canonicalize() {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if std::fs::symlink_metadata(path).is_ok() {
                    return refused(
                        "is a link that leads nowhere",
                        "Nothing was changed. Create the file that the link points to, or remove the link.",
                    );
                }
                return Ok(Self { path: path.into(), target: path.into(), bytes: None });
            }
            Err(error) => return Err(SetupError::io("found", path)(error)),
        };
        let metadata = std::fs::metadata(&target).map_err(SetupError::io("looked at", path))?;
        if !metadata.is_file() {
            return refused("is no file", "Nothing was changed. Move it out of the way.");
        }
        if metadata.len() > MAX_BYTES {
            return refused("is too large for a configuration file", "Nothing was changed.");
        }
        let bytes = read_limited(&target, MAX_BYTES).map_err(SetupError::io("read", path))?;
        if std::str::from_utf8(&bytes).is_err() {
            return refused(
                "is not UTF-8 text",
                "Nothing was changed. Save it as UTF-8, and run this again.",
            );
        }
        Ok(Self { path: path.into(), target, bytes: Some(bytes) })
    }

    /// Returns its text without a byte order mark; an empty text if there is no file.
    pub fn text(&self) -> &str {
        let text = self.whole();
        text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
    }

    fn whole(&self) -> &str {
        // It was found to be text when it was read.
        std::str::from_utf8(self.bytes.as_deref().unwrap_or_default()).unwrap_or_default()
    }

    /// Returns the bytes for a new text, with the file's byte order mark.
    pub fn with_text(&self, text: &str) -> Vec<u8> {
        let mark = if self.whole().starts_with(BYTE_ORDER_MARK) { "\u{feff}" } else { "" };
        format!("{mark}{text}").into_bytes()
    }

    /// Checks that the file may be written.
    ///
    /// # Errors
    ///
    /// If it is read-only, or cannot be written.
    pub fn check_writable(&self) -> Result<(), SetupError> {
        let refused = |what: &Path, problem: String| {
            let hint = "Nothing was changed. Change it where it is managed, or make it writable.";
            Err(SetupError::file(what, problem, hint))
        };
        if self.bytes.is_some() {
            let metadata =
                std::fs::metadata(&self.target).map_err(SetupError::io("looked at", &self.path))?;
            if let Some(problem) = read_only(&self.target, &metadata) {
                return refused(&self.path, problem);
            }
        }
        let directory = existing_directory(&self.target);
        let metadata =
            std::fs::metadata(directory).map_err(SetupError::io("looked at", directory))?;
        if !metadata.is_dir() {
            return refused(directory, "is no directory".to_owned());
        }
        if let Some(problem) = read_only(directory, &metadata) {
            return refused(directory, problem);
        }
        if effective_uid() == 0 && metadata.uid() != 0 {
            let problem = format!("belongs to user id {}, and this runs as root", metadata.uid());
            return Err(SetupError::file(directory, problem, "Run this as that user."));
        }
        Ok(())
    }

    /// Returns the directories that have to be made for it, the outermost first.
    pub fn missing_directories(&self) -> Vec<PathBuf> {
        let above = self.target.ancestors().skip(1).take_while(|path| !path.exists());
        let mut missing: Vec<PathBuf> = above.map(Path::to_owned).collect();
        missing.reverse();
        missing
    }

    /// Replaces the content atomically.
    ///
    /// # Errors
    ///
    /// If the file has changed since it was read, or cannot be written. It is then untouched.
    pub fn write(&self, bytes: &[u8]) -> Result<(), SetupError> {
        let cannot = SetupError::io("written", &self.path);
        let directory = self.target.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(&cannot)?;
        let new = NewFile::within(directory).map_err(&cannot)?;
        let mut file = new.file();
        file.write_all(bytes).map_err(&cannot)?;
        if self.bytes.is_some() {
            let metadata = std::fs::metadata(&self.target).map_err(&cannot)?;
            let ours = file.metadata().map_err(&cannot)?;
            if (ours.uid(), ours.gid()) != (metadata.uid(), metadata.gid()) {
                fchown(file, Some(metadata.uid()), Some(metadata.gid()))
                    .map_err(SetupError::io("written as its owner's", &self.path))?;
            }
            let mode = Permissions::from_mode(metadata.mode() & 0o7777);
            file.set_permissions(mode).map_err(&cannot)?;
        }
        file.sync_all().map_err(&cannot)?;
        self.check_unchanged()?;
        let named =
            if self.bytes.is_some() { new.replace(&self.target) } else { new.create(&self.target) };
        named.map_err(&cannot)?;
        sync_directory(directory);
        Ok(())
    }

    /// Removes the file, and the directories of `made` that are then empty.
    ///
    /// # Errors
    ///
    /// As [`ConfigFile::write`].
    pub fn remove(&self, made: &[PathBuf]) -> Result<(), SetupError> {
        self.check_unchanged()?;
        std::fs::remove_file(&self.target).map_err(SetupError::io("removed", &self.path))?;
        for directory in made.iter().rev() {
            // A directory that is in use by now stays.
            let _ = std::fs::remove_dir(directory);
        }
        sync_directory(self.target.parent().unwrap_or(Path::new("/")));
        Ok(())
    }

    fn check_unchanged(&self) -> Result<(), SetupError> {
        let now = Self::read(&self.path)?;
        if now.target == self.target && now.bytes == self.bytes {
            return Ok(());
        }
        Err(SetupError::Meanwhile { path: self.path.clone() })
    }
}

/// Returns why a file must not be written. Its mode counts for root, too.
fn read_only(path: &Path, metadata: &Metadata) -> Option<String> {
    if metadata.mode() & 0o222 == 0 {
        return Some(format!("is read-only (mode {:03o})", metadata.mode() & 0o7777));
    }
    access(path, Access::WRITE_OK).err().map(|error| format!("is read-only: {error}"))
}

/// Returns the nearest existing directory above `target`.
fn existing_directory(target: &Path) -> &Path {
    let mut above = target.ancestors().skip(1);
    above.find(|directory| directory.exists()).unwrap_or(Path::new("/"))
}

/// Syncs a directory, best effort.
fn sync_directory(directory: &Path) {
    let _ = std::fs::File::open(directory).and_then(|directory| directory.sync_all());
}

/// Returns the digest of a content.
pub fn digest(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_replaced_behind_its_link_with_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        std::fs::write(&real, "\u{feff}old").unwrap();
        std::fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        symlink("real", &link).unwrap();
        let file = ConfigFile::read(&link).unwrap();
        assert_eq!(file.text(), "old");
        file.check_writable().unwrap();
        file.write(&file.with_text("new")).unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "\u{feff}new");
        assert_eq!(std::fs::metadata(&real).unwrap().mode() & 0o7777, 0o640);
        // What was read before is not what is there now.
        assert!(matches!(file.write(b"x"), Err(SetupError::Meanwhile { .. })));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside it");
    }

    #[test]
    fn what_is_not_to_be_written_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "{}").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        let error = ConfigFile::read(&path).unwrap().check_writable().unwrap_err().to_string();
        assert!(error.contains("is read-only (mode 444)"), "{error}");
        std::fs::remove_file(&path).unwrap();
        symlink("nowhere", &path).unwrap();
        let error = ConfigFile::read(&path).unwrap_err().to_string();
        assert!(error.contains("leads nowhere"), "{error}");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, [0xff, 0xfe, b'{', 0]).unwrap();
        assert!(ConfigFile::read(&path).is_err());
        assert!(ConfigFile::read(dir.path()).is_err());
    }

    #[test]
    fn directories_that_were_made_for_a_file_go_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/x");
        let file = ConfigFile::read(&path).unwrap();
        let made = file.missing_directories();
        file.write(b"{}").unwrap();
        assert_eq!(made, [dir.path().join("a"), dir.path().join("a/b")]);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        ConfigFile::read(&path).unwrap().remove(&made).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
