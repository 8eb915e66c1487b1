//! Reads small files of a git directory, whose content is not trusted.
//!
//! Anything but a plain file, and a file larger than any of git's own, counts as absent.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// The largest file that is read, in bytes. The configuration of a repository with thousands of
/// branches has a few hundred kilobytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Returns the content of a plain file. A pipe in its place does not block.
pub fn read(path: &Path) -> Option<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let data = file.metadata().ok()?;
    if !data.is_file() || data.len() > MAX_FILE {
        return None;
    }
    let mut content = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut content).ok()?;
    Some(content)
}

/// Returns the content of a file of one line, which may contain any character but a line end.
pub fn first_line(path: &Path) -> Option<Vec<u8>> {
    let mut content = read(path)?;
    while content.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
        content.pop();
    }
    Some(content).filter(|line| !line.is_empty() && !line.contains(&0))
}

/// Returns the canonical form of a recorded path, relative to `base`.
pub fn resolve(base: &Path, recorded: &[u8]) -> Option<PathBuf> {
    if recorded.is_empty() {
        return None;
    }
    std::fs::canonicalize(base.join(OsStr::from_bytes(recorded))).ok()
}

/// Returns whether two paths lead to the same file.
pub fn same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|data| (data.dev(), data.ino()));
    identity(one).is_some_and(|one| Some(one) == identity(other))
}

/// Returns whether a repository's index is not a link, which could show the files of another
/// repository.
pub fn has_own_index(git_dir: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(git_dir) else {
        return false;
    };
    entries.flatten().all(|entry| {
        let name = entry.file_name();
        let is_index = name == "index" || name.as_bytes().starts_with(b"sharedindex.");
        !is_index || entry.file_type().is_ok_and(|kind| kind.is_file())
    })
}
