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
use crate::sys::private_group::lets_others_write;
use crate::sys::socket_owner::user_name;

/// The sticky bit: only the owner of a directory's entry may remove it, as in `/tmp`.
const STICKY: u32 = 0o1000;

/// What to do if other users could interfere with the database.
const ANOTHER_DATABASE: &str = "Set CLAUDE_PEERS_DB to a path in a directory of your own.";

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
    #[error(
        "the database {} is not used: {}, a directory above it, {problem}", path.display(), entry.display()
    )]
    Database { path: PathBuf, entry: PathBuf, problem: String, may_close: bool },
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
            Self::Database { entry, may_close: true, .. } => {
                format!("{} Or: {ANOTHER_DATABASE}", close_it(entry))
            }
            Self::Database { .. } => ANOTHER_DATABASE.to_owned(),
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
/// everything that we can. Only a link of another is not followed where all users may write. A directory of ours named `claude-peers` that is open to others is
/// closed (mode 0700).
///
/// # Errors
///
/// If another user can change it.
pub fn check_way(path: &Path, home: &Path) -> Result<(), Untrusted> {
    let untrusted = |Exposed { entry, problem, may_close }: Exposed| Untrusted::Way {
        path: path.to_owned(),
        hint: if may_close { close_it(&entry) } else { ANOTHER_PLACE.to_owned() },
        entry,
        problem,
    };
    walk_closed(path, &real_path(home)).map(drop).map_err(untrusted)
}

/// Checks that only our user and root can change what `path`, the path of a database, leads to, and
/// which files are beside it.
///
/// In its own directory no other user may create a file, not even where the sticky bit keeps what is
/// ours: SQLite opens its log by a name that another user could have taken before. For `home`, see
/// [`check_way`].
///
/// # Errors
///
/// If another user can change it.
pub fn check_database(path: &Path, home: &Path) -> Result<(), Untrusted> {
    let home = real_path(home);
    let closed = walk_closed(path, &home).and_then(|real| {
        let directory = real.parent().unwrap_or(Path::new("/"));
        // A missing directory is reported by whoever opens the database.
        let Ok(around) = std::fs::metadata(directory) else { return Ok(()) };
        match () {
            () if home.starts_with(directory) => Ok(()),
            () if !is_trusted(around.uid()) => Err(Exposed::to_owner(directory, &around)),
            () if lets_others_write(&around) => Err(Exposed::to_writers(directory, &around)),
            () => Ok(()),
        }
    });
    closed.map_err(|Exposed { entry, problem, may_close }| Untrusted::Database {
        path: path.to_owned(),
        entry,
        problem,
        may_close,
    })
}

fn close_it(directory: &Path) -> String {
    format!("Remove that permission: chmod go-w {}", directory.display())
}

/// A directory in which another user can change something.
struct Exposed {
    entry: PathBuf,
    problem: String,
    /// It is ours to close.
    may_close: bool,
}

impl Exposed {
    fn to_owner(directory: &Path, is: &Metadata) -> Self {
        let problem = format!("belongs to user {}", user_name(is.uid()));
        Self { entry: directory.to_owned(), problem, may_close: false }
    }

    fn to_maker(directory: &Path, made: &Metadata) -> Self {
        let owner = user_name(made.uid());
        Self {
            entry: directory.to_owned(),
            problem: format!("is writable by others, and user {owner} has created a file in it"),
            may_close: false,
        }
    }

    fn to_writers(directory: &Path, is: &Metadata) -> Self {
        let mode = is.mode() & 0o7777;
        Self {
            entry: directory.to_owned(),
            problem: format!("is writable by others (mode {mode:04o})"),
            // With the sticky bit it is meant for all, like /tmp.
            may_close: mode & STICKY == 0,
        }
    }
}

/// Resolves a path whose directories no other user can change. `home` is a real path.
fn walk_closed(path: &Path, home: &Path) -> Result<PathBuf, Exposed> {
    walk(path, |directory, entry| {
        let Ok(mut around) = std::fs::metadata(directory) else { return Ok(()) };
        if home.starts_with(directory) {
            // Where all users may write, a link can be another's even so, as the system sees it, too
            // (`fs.protected_symlinks`).
            let by_another = entry.is_symlink() && !is_trusted(entry.uid());
            return if around.mode() & 0o002 != 0 && by_another {
                Err(Exposed::to_maker(directory, entry))
            } else {
                Ok(())
            };
        }
        if !is_trusted(around.uid()) {
            return Err(Exposed::to_owner(directory, &around));
        }
        let was_open = lets_others_write(&around);
        if was_open && close(directory, &around) {
            around = std::fs::metadata(directory).unwrap_or(around);
        }
        let (open, sticky) = (lets_others_write(&around), around.mode() & STICKY != 0);
        if open && !sticky {
            return Err(Exposed::to_writers(directory, &around));
        }
        // Another user may have made the entry while the directory was open.
        if was_open && !is_trusted(entry.uid()) {
            return Err(Exposed::to_maker(directory, entry));
        }
        Ok(())
    })
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
    fn a_database_is_used_only_where_nobody_else_can_make_a_file_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path();
        let (place, home) = (top.join("place"), top.join("home"));
        std::fs::create_dir_all(place.join("in")).unwrap();
        std::fs::create_dir(&home).unwrap();
        let check = |path: &Path| check_database(path, &home);
        // Whether it exists or not, and by a link of our own.
        symlink(place.join("x.db"), home.join("link.db")).unwrap();
        for path in [place.join("x.db"), place.join("none/x.db"), home.join("link.db")] {
            check(&path).unwrap();
        }
        std::fs::write(place.join("old.db"), "").unwrap();
        for (open, may_close) in [(0o777, true), (0o1777, false), (0o702, true), (0o1773, false)] {
            mode(&place, open);
            for path in [place.join("x.db"), place.join("old.db"), home.join("link.db")] {
                let error = check(&path).unwrap_err();
                let words = error.to_string();
                assert!(words.contains(&*place.display().to_string()), "{words}");
                assert!(words.contains("is writable by others"), "{words}");
                assert!(error.hint().contains("CLAUDE_PEERS_DB"), "{}", error.hint());
                assert_eq!(error.hint().contains("chmod go-w"), may_close, "{}", error.hint());
            }
            // Above the database's own directory, the sticky bit keeps what is ours.
            let below = check(&place.join("in/x.db"));
            assert_eq!(below.is_ok(), open & STICKY != 0, "{open:o}");
        }
        mode(&place, 0o755);
        if effective_uid() == 0 {
            std::os::unix::fs::chown(&place, Some(12_345), None).unwrap();
            for path in [place.join("x.db"), place.join("old.db"), place.join("in/x.db")] {
                assert!(check(&path).unwrap_err().to_string().contains("user 12345"));
            }
        }
        // Whoever can write in the home can do all.
        mode(&home, 0o777);
        check(&home.join("x.db")).unwrap();
        std::os::unix::fs::chown(&place, Some(effective_uid()), None).unwrap();
        check(&home.join("link.db")).unwrap();
        if effective_uid() == 0 {
            std::os::unix::fs::lchown(home.join("link.db"), Some(12_345), None).unwrap();
            assert!(check(&home.join("link.db")).unwrap_err().to_string().contains("user 12345"));
        }
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
