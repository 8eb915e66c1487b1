//! HEAD: the commit or branch that is checked out.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::sys::git::files::{first_line, read};

/// The content of HEAD.
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    Branch(String),
    Detached,
    /// The repository has the reftable format, which only git can read.
    Elsewhere,
}

/// Returns whether a file is a HEAD, by the rule with which git recognises its directories.
pub fn is_head(path: &Path) -> bool {
    let points = |target: &[u8]| target.starts_with(b"refs/");
    if let Ok(target) = std::fs::read_link(path) {
        return points(target.as_os_str().as_bytes());
    }
    let Some(content) = read(path) else {
        return false;
    };
    match content.strip_prefix(b"ref:") {
        Some(target) => points(target.trim_ascii_start()),
        None => content.len() >= 40 && content[..40].iter().all(u8::is_ascii_hexdigit),
    }
}

/// Reads the HEAD of a git directory; `None` if there is none.
pub fn read_head(git_dir: &Path) -> Option<Head> {
    let path = git_dir.join("HEAD");
    // In an old format HEAD is a link to the branch.
    let target = match std::fs::read_link(&path) {
        Ok(target) => target.as_os_str().as_bytes().to_owned(),
        Err(_) => match first_line(&path)?.strip_prefix(b"ref:") {
            Some(target) => target.trim_ascii().to_owned(),
            None => return Some(Head::Detached),
        },
    };
    let name = target.strip_prefix(b"refs/heads/");
    Some(match name {
        Some(b".invalid") => Head::Elsewhere,
        Some(name) => Head::Branch(String::from_utf8_lossy(name).into_owned()),
        None => Head::Branch(String::from_utf8_lossy(&target).into_owned()),
    })
}
