//! Private files and directories, and lock files.
//!
//! Everything of ours lies in directories of mode 0700 and files of mode 0600. The owner of
//! existing ones is checked before they are trusted.

mod hints;
mod lock;
mod new_file;
mod own;
mod real;

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use own::belongs_to;

pub use hints::{NO_THREADS, hint, socket_hint};
pub use lock::{LockFile, describe_held, is_at, lock_holder};
pub use new_file::NewFile;
pub use own::{
    MAX_RECORD, NotOurs, check_own, effective_uid, is_written_by_us_alone, open_own,
    open_own_to_write, read_all, read_limited, read_text,
};
pub use real::{identity, real_path, same_place, walk};

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

    #[test]
    fn a_directory_of_another_user_is_not_used_though_it_is_closed_and_has_our_name() {
        if effective_uid() != 0 {
            // Only root can give a directory away.
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o700, 0o777] {
            let path = dir.path().join(format!("claude-peers/{mode:o}"));
            private_directory(&path).unwrap();
            std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = private_directory(&path).unwrap_err();
            assert!(error.to_string().contains("belongs to user id 12345"), "{error}");
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, mode, "it is left alone");
        }
    }
}
