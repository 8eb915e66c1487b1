//! Small files of a git directory, read without trust: what is no plain file, or larger than any
//! of git's own, is not there.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// A config file of a repository with thousands of branches is a few hundred kilobytes.
const MAX_FILE: u64 = 1024 * 1024;

/// The whole content of a plain file. A pipe in its place is not waited for.
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

/// The content of a file that holds one line, which may hold any character but its end.
pub fn first_line(path: &Path) -> Option<Vec<u8>> {
    let mut content = read(path)?;
    while content.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
        content.pop();
    }
    Some(content).filter(|line| !line.is_empty() && !line.contains(&0))
}

/// A recorded path, canonical.
pub fn resolve(base: &Path, recorded: &[u8]) -> Option<PathBuf> {
    if recorded.is_empty() {
        return None;
    }
    std::fs::canonicalize(base.join(OsStr::from_bytes(recorded))).ok()
}

/// Whether two paths lead to one thing, however each is spelt.
pub fn same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).ok().map(|data| (data.dev(), data.ino()));
    identity(one).is_some_and(|one| Some(one) == identity(other))
}

/// Whether a repository's index is its own. A link in its place would show the names of another
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
