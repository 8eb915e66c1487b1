//! Peer checks: which user listens at a socket, and which users could replace that socket.
//!
//! A client sends its session's secret and people's messages. So before the first byte of each
//! connection the kernel must report that the listener is our own user, and no other user may be
//! able to change the path that leads to the socket.

use std::fs::Metadata;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::UnixStream;

use crate::sys::files::{effective_uid, real_path, walk};
use crate::sys::socket_owner::user_name;

/// The sticky bit: only the owner of a directory's entry may remove it, as in `/tmp`.
const STICKY: u32 = 0o1000;

/// What to do if other users could interfere.
const ANOTHER_PLACE: &str = "Choose a directory of your own with XDG_RUNTIME_DIR, or another socket with CLAUDE_PEERS_SOCKET.";

/// Why a socket is not trusted, so that nothing is sent.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Untrusted {
    #[error(
        "{} is served by {listener}, and you are {you}: nothing was sent", path.display()
    )]
    Listener { path: PathBuf, listener: String, you: String },
    #[error("cannot find out which user serves {}: {reason}; nothing was sent", path.display())]
    Unknown { path: PathBuf, reason: String },
    #[error("{}, a directory above {}, {problem}: nothing was sent", entry.display(), path.display())]
    Way { path: PathBuf, entry: PathBuf, problem: String, hint: String },
}

impl Untrusted {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Listener { path, .. } => format!(
                "Only you should be able to listen there. Find out who made {}, and move it away, \
                 or choose another socket with CLAUDE_PEERS_SOCKET.",
                path.display()
            ),
            Self::Unknown { .. } => "If this runs in a container, start it so that your user id exists in it: `podman run --userns=keep-id`, `docker run --user \"$(id -u)\"`.".to_owned(),
            Self::Way { hint, .. } => hint.clone(),
        }
    }
}

/// Checks that the listener of a connection is our own user.
///
/// The kernel reports the user who called listen(2), so the user's service manager counts as the
/// user. On macOS root is accepted, too, because launchd runs as root and listens for its users'
/// agents.
///
/// # Errors
///
/// If it is another user, root included, or if that cannot be found out.
pub fn check_listener(stream: &UnixStream, path: &Path) -> Result<(), Untrusted> {
    let unknown = |reason: String| Untrusted::Unknown { path: path.to_owned(), reason };
    let listener = stream.peer_cred().map_err(|error| unknown(error.to_string()))?.uid();
    let ours = effective_uid();
    if cfg!(target_os = "macos") && listener == 0 {
        return Ok(());
    }
    if listener != ours {
        return Err(Untrusted::Listener {
            path: path.to_owned(),
            listener: format!("user {}", user_name(listener)),
            you: user_name(ours),
        });
    }
    if namespace::may_be_anybody(ours) {
        return Err(unknown("in this user namespace several users have our user id".to_owned()));
    }
    Ok(())
}

/// Returns whether a user id is that of our own user.
#[must_use]
pub fn is_ours(user: u32) -> bool {
    user == effective_uid() && !namespace::may_be_anybody(user)
}

/// Checks that only our user and root can change what `path` leads to.
///
/// `home` and the directories above it are not checked: a user who can write there can already do
/// everything that we can. A directory of ours named `claude-peers` that is open to others is
/// closed (mode 0700).
///
/// # Errors
///
/// If another user can change it.
pub fn check_way(path: &Path, home: &Path) -> Result<(), Untrusted> {
    let home = real_path(home);
    let untrusted = |entry: &Path, problem: String, hint: String| Untrusted::Way {
        path: path.to_owned(),
        entry: entry.to_owned(),
        problem,
        hint,
    };
    walk(path, |directory, entry| {
        if home.starts_with(directory) {
            return Ok(());
        }
        let Ok(mut around) = std::fs::metadata(directory) else { return Ok(()) };
        if !is_trusted(around.uid()) {
            return Err(untrusted(
                directory,
                format!("belongs to user {}", user_name(around.uid())),
                ANOTHER_PLACE.to_owned(),
            ));
        }
        let was_open = lets_others_write(&around);
        if was_open && close(directory, &around) {
            around = std::fs::metadata(directory).unwrap_or(around);
        }
        let (open, sticky) = (lets_others_write(&around), around.mode() & STICKY != 0);
        if open && !sticky {
            let mode = around.mode() & 0o7777;
            return Err(untrusted(
                directory,
                format!("is writable by others (mode {mode:04o})"),
                format!("Remove that permission: chmod go-w {}", directory.display()),
            ));
        }
        // Another user may have made the entry while the directory was open.
        if was_open && !is_trusted(entry.uid()) {
            return Err(untrusted(
                directory,
                format!(
                    "is writable by others, and user {} has created a file in it",
                    user_name(entry.uid())
                ),
                ANOTHER_PLACE.to_owned(),
            ));
        }
        Ok(())
    })
    .map(drop)
}

/// Returns whether an owner is our own user or root, also root as a user namespace shows it.
fn is_trusted(owner: u32) -> bool {
    owner == effective_uid() || owner == 0 || namespace::is_unmapped(owner)
}

/// Closes a directory of ours named `claude-peers` to others. Returns false for any other.
fn close(directory: &Path, is: &Metadata) -> bool {
    let ours = is.uid() == effective_uid()
        && directory.components().any(|part| part.as_os_str() == "claude-peers");
    ours && std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).is_ok()
}

/// Returns whether users other than its owner may create and remove entries of a directory.
///
/// A group whose only member is the owner does not count: many systems give each user such a group
/// and let it write.
#[must_use]
pub fn lets_others_write(directory: &Metadata) -> bool {
    let mode = directory.mode();
    mode & 0o002 != 0 || mode & 0o020 != 0 && !is_private_group(directory.gid(), directory.uid())
}

/// Returns whether `owner` is the only member of a group, by `/etc/passwd` and `/etc/group`.
fn is_private_group(group: u32, owner: u32) -> bool {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    is_alone_in(group, owner, &read("/etc/passwd"), &read("/etc/group"))
}

/// Returns whether `owner` is the only member of a group, by the texts of passwd(5) and group(5).
///
/// A user who is in neither (of a directory service) counts as alone in a group of the same number,
/// as is the custom.
fn is_alone_in(group: u32, owner: u32, accounts: &str, groups: &str) -> bool {
    let mut name = None;
    for fields in accounts.lines().map(|line| line.split(':').collect::<Vec<_>>()) {
        let [login, _, user, primary, ..] = fields.as_slice() else { continue };
        if user.parse() == Ok(owner) {
            name.get_or_insert(*login);
        } else if primary.parse() == Ok(group) {
            return false;
        }
    }
    let mut known = false;
    for fields in groups.lines().map(|line| line.split(':').collect::<Vec<_>>()) {
        let [_, _, number, members] = fields.as_slice() else { continue };
        if number.parse() == Ok(group) {
            known = true;
            if members.split(',').any(|member| !member.is_empty() && Some(member) != name) {
                return false;
            }
        }
    }
    known || group == owner
}

/// User namespaces, in which one user id can stand for several users.
#[cfg(target_os = "linux")]
mod namespace {
    /// Returns whether this is the overflow id, which stands for all users without a mapping here
    /// (user_namespaces(7)), such as the host's root in a container.
    pub fn is_unmapped(user: u32) -> bool {
        user == overflow() && !maps_all(&uid_map())
    }

    /// Returns whether our own id is the overflow id because our user has no mapping here, so that
    /// other users can have the same id.
    pub fn may_be_anybody(ours: u32) -> bool {
        ours == overflow() && !maps(&uid_map(), ours)
    }

    fn overflow() -> u32 {
        let text = std::fs::read_to_string("/proc/sys/kernel/overflowuid").unwrap_or_default();
        text.trim().parse().unwrap_or(65_534)
    }

    fn uid_map() -> String {
        std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default()
    }

    /// Returns whether every user is mapped, as outside of all user namespaces.
    pub(crate) fn maps_all(map: &str) -> bool {
        map.split_whitespace().eq(["0", "0", "4294967295"])
    }

    /// Returns whether a map contains this id.
    pub(crate) fn maps(map: &str, user: u32) -> bool {
        map.lines().any(|line| {
            let mut numbers = line.split_whitespace().map_while(|word| word.parse::<u64>().ok());
            let (first, count) = (numbers.next(), numbers.nth(1));
            let user = u64::from(user);
            first.zip(count).is_some_and(|(first, count)| (first..first + count).contains(&user))
        })
    }
}

/// Only Linux has user namespaces.
#[cfg(not(target_os = "linux"))]
mod namespace {
    pub fn is_unmapped(_user: u32) -> bool {
        false
    }

    pub fn may_be_anybody(_ours: u32) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_way_that_others_can_change_is_not_gone() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let (run, home) = (top.join("run"), top.join("home"));
        std::fs::create_dir_all(run.join("in")).unwrap();
        std::fs::create_dir(&home).unwrap();
        symlink(&run, top.join("link")).unwrap();
        let refused = |path: &Path| check_way(path, &home).unwrap_err().to_string();
        check_way(&run.join("in/broker.sock"), &home).unwrap();
        check_way(&top.join("link/in"), &home).unwrap();
        for open in [0o777, 0o702, 0o757] {
            mode(&run, open);
            // It says which one, however one comes there.
            for path in [run.join("in"), top.join("link/in")] {
                let words = refused(&path);
                assert!(words.contains(&run.display().to_string()), "{words}");
                assert!(words.contains("is writable by others"), "{words}");
            }
        }
        // Sticky: what is ours there stays ours.
        mode(&run, 0o1777);
        check_way(&run.join("in"), &home).unwrap();
        if effective_uid() == 0 {
            std::os::unix::fs::chown(run.join("in"), Some(12_345), None).unwrap();
            assert!(refused(&run.join("in")).contains("user 12345"));
            mode(&run, 0o755);
            std::fs::write(run.join("in/broker.sock"), "").unwrap();
            assert!(refused(&run.join("in/broker.sock")).contains("belongs to user 12345"));
        }
        // Whoever can write in the home can do all.
        mode(&home, 0o777);
        std::fs::create_dir(home.join("state")).unwrap();
        check_way(&home.join("state"), &home).unwrap();
    }

    #[test]
    fn a_directory_of_our_name_is_closed_on_the_way() {
        let directory = tempfile::tempdir().unwrap();
        let ours = directory.path().join("claude-peers");
        std::fs::create_dir(&ours).unwrap();
        std::fs::write(ours.join("broker.sock"), "").unwrap();
        mode(&ours, 0o777);
        check_way(&ours.join("broker.sock"), Path::new("/home/me")).unwrap();
        assert_eq!(std::fs::metadata(&ours).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_group_of_ones_own_is_nobody_else() {
        let accounts = "root:x:0:0::/:/bin/sh\nme:x:1000:1000::/:/bin/sh\nyou:x:1001:1001::/:/bin/sh\n\
                        third:x:1002:100::/:/bin/sh\n";
        let groups =
            "root:x:0:\nme:x:1000:\nyou:x:1001:me\nusers:x:100:\nteam:x:50:me,you\nself:x:60:me\n";
        let alone = |group, owner| is_alone_in(group, owner, accounts, groups);
        assert!(alone(1000, 1000) && alone(0, 0) && alone(60, 1000));
        // Another's, one with another member, one that is another's first.
        assert!(!alone(1001, 1000) && !alone(50, 1000) && !alone(100, 1000));
        // A user of a directory service.
        assert!(alone(70_000, 70_000) && !alone(513, 70_000));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn outside_of_all_namespaces_every_user_has_a_number() {
        assert!(namespace::maps_all("         0          0 4294967295\n"));
        for map in ["", "         0       1000          1\n", "0 100000 65536\n"] {
            assert!(!namespace::maps_all(map), "{map}");
        }
        let map = "         0       1000          1\n         1     100000      65536\n";
        assert!(namespace::maps(map, 0) && namespace::maps(map, 65_534));
        assert!(!namespace::maps(map, 70_000) && !namespace::maps("0 1000 1\n", 65_534));
    }
}
