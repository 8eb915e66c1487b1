//! The path of our own executable.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

/// Returns the path of this program's file.
///
/// After an upgrade the path has a new file, and Linux marks the running one as ` (deleted)`; the
/// mark is removed.
///
/// # Errors
///
/// If the system does not report the path.
pub fn own_file() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let text = path.to_string_lossy();
    Ok(match text.strip_suffix(" (deleted)") {
        Some(replaced) if Path::new(replaced).exists() => PathBuf::from(replaced),
        _ => path,
    })
}

/// Returns a path that will lead to this program after its next upgrade, too.
///
/// That is the path by which the program was called, because it may be a link that an upgrade
/// redirects (`/usr/local/bin`, Homebrew's `bin`), unless it leads to another file by now. `search`
/// is the value of `PATH`.
///
/// # Errors
///
/// If the system does not report the program's path.
pub fn lasting_path(search: &OsStr) -> io::Result<PathBuf> {
    let own = own_file()?;
    let called = std::env::args_os().next().unwrap_or_default();
    let found = as_called(&called, search).filter(|path| is_same_file(path, &own));
    Ok(unversioned(found.unwrap_or(own)))
}

/// Returns the absolute path of `argv[0]`, found as the shell found it.
fn as_called(called: &OsStr, search: &OsStr) -> Option<PathBuf> {
    let called = Path::new(called);
    let found = if called.components().count() > 1 || called.is_absolute() {
        std::path::absolute(called).ok()?
    } else {
        std::env::split_paths(search)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(called))
            .find(|path| path.is_file())?
    };
    if !found.components().any(|part| part == Component::ParentDir) {
        return Some(found);
    }
    Some(found.parent()?.canonicalize().ok()?.join(found.file_name()?))
}

/// Replaces Homebrew's versioned path (`Cellar/NAME/VERSION`, removed by the next upgrade) with
/// `opt/NAME`, the link to the newest version.
fn unversioned(path: PathBuf) -> PathBuf {
    let parts: Vec<&OsStr> = path.iter().collect();
    let Some(at) = parts.iter().position(|part| *part == "Cellar") else { return path };
    let (Some(name), Some(rest)) = (parts.get(at + 1), parts.get(at + 3..)) else { return path };
    let prefix: PathBuf = parts[..at].iter().collect();
    let link = prefix.join("opt").join(name).join(rest.iter().collect::<PathBuf>());
    if is_same_file(&link, &path) { link } else { path }
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_program_is_found_as_the_shell_found_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("bin")).unwrap();
        std::fs::write(root.join("bin/p"), "").unwrap();
        let search = std::env::join_paths([root.join("none"), root.join("bin")]).unwrap();
        assert_eq!(as_called(OsStr::new("p"), &search), Some(root.join("bin/p")));
        assert_eq!(as_called(OsStr::new("q"), &search), None);
        let absolute = root.join("bin/../bin/p");
        assert_eq!(as_called(absolute.as_os_str(), &search), Some(root.join("bin/p")));
    }

    #[test]
    fn a_version_of_homebrew_is_named_by_its_lasting_link() {
        let dir = tempfile::tempdir().unwrap();
        let versioned = dir.path().join("Cellar/p/0.1.0/bin/p");
        std::fs::create_dir_all(versioned.parent().unwrap()).unwrap();
        std::fs::write(&versioned, "").unwrap();
        assert_eq!(unversioned(versioned.clone()), versioned, "there is no link");
        std::fs::create_dir(dir.path().join("opt")).unwrap();
        symlink("../Cellar/p/0.1.0", dir.path().join("opt/p")).unwrap();
        assert_eq!(unversioned(versioned), dir.path().join("opt/p/bin/p"));
        let plain = dir.path().join("bin/p");
        assert_eq!(unversioned(plain.clone()), plain);
    }
}
