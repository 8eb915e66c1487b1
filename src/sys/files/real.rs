//! Real paths: a path as the system resolves it, so that one file has one path whatever names lead to
//! it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// The number of symbolic links that are followed: as many as Linux follows.
const MAX_LINKS: usize = 40;

/// Returns the real path: symbolic links resolved, and `.`, `..` and double slashes removed.
///
/// Unlike `canonicalize` it also resolves a link whose target does not exist yet. A part that is
/// missing or cannot be read is taken as it is written.
#[must_use]
pub fn real_path(path: &Path) -> PathBuf {
    match walk(path, |_, _| Ok::<(), Infallible>(())) {
        Ok(real) => real,
        Err(never) => match never {},
    }
}

/// Returns whether two paths lead to the same place.
#[must_use]
pub fn same_place(one: &Path, other: &Path) -> bool {
    one == other || real_path(one) == real_path(other)
}

/// Returns the device and inode of the file that a path leads to, as text: the same in all mount
/// namespaces of a machine.
#[must_use]
pub fn identity(path: &Path) -> Option<String> {
    let file = std::fs::metadata(path).ok()?;
    Some(format!("{}:{}", file.dev(), file.ino()))
}

/// Resolves a path and passes each entry on the way (a directory, a link, at last the file itself)
/// to `visit`, together with the real path of its directory. Returns the real path.
///
/// # Errors
///
/// The first error of `visit`, which ends the walk.
pub fn walk<E>(
    path: &Path,
    mut visit: impl FnMut(&Path, &Metadata) -> Result<(), E>,
) -> Result<PathBuf, E> {
    let mut at = PathBuf::new();
    let mut ahead: VecDeque<OsString> = components(path);
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        if part == "/" {
            at = PathBuf::from("/");
            continue;
        }
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        if let Ok(entry) = std::fs::symlink_metadata(&next) {
            visit(&at, &entry)?;
            if entry.is_symlink()
                && links < MAX_LINKS
                && let Ok(target) = std::fs::read_link(&next)
            {
                links += 1;
                let mut parts = components(&target);
                parts.append(&mut ahead);
                ahead = parts;
                continue;
            }
        }
        at = next;
    }
    Ok(at)
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn one_place_has_one_real_path_whatever_names_lead_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("home/me")).unwrap();
        symlink("home", top.join("link")).unwrap();
        let file = top.join("home/me/a.db");
        for name in
            ["home/me/a.db", "link/me//a.db", "home/./me/../me/a.db", "link/../home/me/a.db"]
        {
            assert_eq!(real_path(&top.join(name)), file, "{name}");
        }
        assert!(same_place(&top.join("link/me/"), &top.join("home/me")));
        assert!(!same_place(&top.join("link/me"), &top.join("home")));
        // One whose target is not there yet, by a relative link and by an absolute one.
        symlink("../new/b.db", top.join("home/b.db")).unwrap();
        assert_eq!(real_path(&top.join("link/b.db")), top.join("new/b.db"));
        symlink(top.join("new/c.db"), top.join("c.db")).unwrap();
        assert_eq!(real_path(&top.join("c.db")), top.join("new/c.db"));
        // A link to itself ends as well.
        symlink("loop", top.join("loop")).unwrap();
        assert_eq!(real_path(&top.join("loop")), top.join("loop"));
    }
}
