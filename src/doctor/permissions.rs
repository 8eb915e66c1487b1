//! Files and directories that must be private: their kind, owner and mode, and how to fix them.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::config::Environment;
use crate::doctor::finding::Finding;
use crate::doctor::shell;
use crate::doctor::shell::{as_root, by_su};
use crate::sys::files::{NotOurs, check_own, effective_uid};
use crate::sys::socket_owner::user_name;

/// The access that is needed to create and rename files in a directory.
pub const CHANGE: Access = Access::WRITE_OK.union(Access::EXEC_OK);

/// The expected kind, access and mode of a file or directory.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    directory: bool,
    /// The access that we need.
    access: Access,
    /// The bits of the mode that give other users too much access.
    open: u32,
}

pub const DIRECTORY: Expected =
    Expected { directory: true, access: Access::READ_OK.union(CHANGE), open: 0o077 };

pub const FILE: Expected =
    Expected { directory: false, access: Access::READ_OK.union(Access::WRITE_OK), open: 0o077 };

/// For the configuration file, which other users may read.
pub const SETTINGS: Expected = Expected { directory: false, access: Access::READ_OK, open: 0o022 };

/// Returns what is wrong with a file or directory. A missing one is not a problem.
///
/// A finding without a fix means that it is only open to other users; the caller adds what follows
/// from that.
pub fn check_permissions(
    environment: &Environment,
    check: &'static str,
    what: &str,
    path: &Path,
    wanted: Expected,
) -> Option<Finding> {
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return dangling(check, what, path);
        }
        Err(error) => return Some(barred(environment, check, what, path, &error)),
    };
    if metadata.uid() != effective_uid() {
        return Some(foreign_owner(environment, check, what, path, metadata.uid()));
    }
    let is_wanted = if wanted.directory { metadata.is_dir() } else { metadata.is_file() };
    if !is_wanted {
        let kind = if wanted.directory { "directory" } else { "file" };
        return Some(
            Finding::failure(check, format!("{what} {shown} is not a {kind}"))
                .fix(rename_command(path)),
        );
    }
    let mode = mode(&metadata);
    // The system decides, not the mode: there are access lists, and root may do everything.
    if access(path, wanted.access) == Err(Errno::ACCESS) {
        let bits = if wanted.directory { "u+rwx" } else { "u+rw" };
        return Some(
            Finding::failure(check, format!("you cannot access {what} {shown} (mode {mode:04o})"))
                .fix(format!("chmod {bits} {}", shell::path(path))),
        );
    }
    (mode & wanted.open != 0).then(|| {
        Finding::warning(check, format!("{what} {shown} is open to others (mode {mode:04o})"))
    })
}

/// Reports a file that is a link, or has a second name, where the broker refuses either.
pub fn check_name(check: &'static str, what: &str, path: &Path) -> Option<Finding> {
    let error = check_own(path).err()?;
    let problem = NotOurs::of(&error)?;
    let finding = Finding::failure(check, format!("{what} {}: {problem}", path.display()));
    Some(match problem {
        NotOurs::Names(_) => finding
            .detail("what is written to it would be in the file of the other name, too")
            .fix(format!("cp -p {0} {0}.own && mv {0}.own {0}", shell::path(path))),
        _ => finding
            .detail("what is written to it would be in another file")
            .fix(rename_command(path)),
    })
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o7777
}

/// Returns the command that moves a file out of the way.
pub fn rename_command(path: &Path) -> String {
    format!("mv {0} {0}.old", shell::path(path))
}

/// Reports a symbolic link whose target does not exist.
fn dangling(check: &'static str, what: &str, path: &Path) -> Option<Finding> {
    let target = std::fs::read_link(path).ok()?;
    let text = format!(
        "{what} {} is a link to {}, which does not exist",
        path.display(),
        target.display()
    );
    Some(Finding::failure(check, text).fix(rename_command(path)))
}

/// Reports a file that cannot be examined because of a directory above it.
fn barred(
    environment: &Environment,
    check: &'static str,
    what: &str,
    path: &Path,
    error: &io::Error,
) -> Finding {
    let seen = path.ancestors().skip(1).find_map(|above| {
        let metadata = std::fs::metadata(above).ok()?;
        Some((above, metadata))
    });
    let finding = Finding::failure(check, format!("{what} {}: {error}", path.display()));
    let Some((above, metadata)) = seen else { return finding };
    if !metadata.is_dir() {
        return finding
            .detail(format!("{} is not a directory", above.display()))
            .fix(rename_command(above));
    }
    if metadata.uid() != effective_uid() {
        let Finding { finding: owner, fix, .. } =
            foreign_owner(environment, check, "the directory", above, metadata.uid());
        return Finding { fix, ..finding.detail(owner) };
    }
    finding
        .detail(format!("you cannot access {} (mode {:04o})", above.display(), mode(&metadata)))
        .fix(format!("chmod u+rwx {}", shell::path(above)))
}

/// Reports a file or directory that belongs to another user.
pub fn foreign_owner(
    environment: &Environment,
    check: &'static str,
    what: &str,
    path: &Path,
    owner: u32,
) -> Finding {
    let finding = Finding::failure(
        check,
        format!("{what} {} belongs to user {}", path.display(), user_name(owner)),
    );
    if path.is_dir() && !is_in_our_place(environment, path) {
        // A setting points into another user's directory, which must not be taken over.
        return finding
            .detail("the settings point to a directory of another user; set them to another path");
    }
    let recursive = if path.is_dir() { "-R " } else { "" };
    let command = format!("chown {recursive}{} {}", effective_uid(), shell::path(path));
    finding.fix(match as_root(environment, &command) {
        Some(command) => command,
        None if may_rename(path) => format!("mv {0} {0}.of-{owner}", shell::path(path)),
        None => by_su(&command),
    })
}

/// Whether this user may rename the file.
pub fn may_rename(path: &Path) -> bool {
    path.parent().is_some_and(|parent| access(parent, CHANGE).is_ok())
}

/// Whether a path is below our home, or in a directory of this user.
fn is_in_our_place(environment: &Environment, path: &Path) -> bool {
    let uid = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.uid());
    environment.path("HOME").is_some_and(|home| path != home && path.starts_with(&home))
        || path.parent().is_some_and(|parent| uid(parent).is_ok_and(|uid| uid == effective_uid()))
}
