//! Advice about a file that cannot be used, by the system's error.

use std::io;

use rustix::io::Errno;

use crate::sys::files::own::NotOurs;

const OTHER_PLACES: &str = "CLAUDE_PEERS_DB (the database), XDG_STATE_HOME (token and log) or XDG_RUNTIME_DIR (socket and locks)";

/// Returns what to do about a file of ours that cannot be used.
#[must_use]
pub fn hint(error: &io::Error) -> String {
    use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory, StorageFull};
    if let Some(problem) = NotOurs::of(error) {
        return problem.hint().to_owned();
    }
    let errno = Errno::from_io_error(error);
    match (error.kind(), errno) {
        (AlreadyExists | IsADirectory | NotADirectory, _) => {
            "Something else is at that path: move it away.".to_owned()
        }
        (StorageFull, _) => "The disk is full and has no free space: make room and try again.".to_owned(),
        (_, Some(Errno::DQUOT)) => format!(
            "Your quota on that file system is used up: make room, or choose another location with {OTHER_PLACES}."
        ),
        (_, Some(Errno::FBIG)) => {
            "The limit on the size of files is reached (`ulimit -f`): raise it where the broker is started, and try again.".to_owned()
        }
        (_, Some(Errno::ROFS)) => {
            format!(
                "That file system is mounted read-only: mount it with write permissions, or choose a writable location with {OTHER_PLACES}."
            )
        }
        (_, Some(Errno::MFILE | Errno::NFILE)) => {
            "Too many files are open: stop programs that are not needed, or raise the limit (`ulimit -n`).".to_owned()
        }
        (_, Some(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS)) => format!(
            "That file system has no locks: choose a location on a local disk with {OTHER_PLACES}."
        ),
        (_, Some(Errno::AGAIN)) => NO_THREADS.to_owned(),
        (_, Some(Errno::NOMEM)) => "There is no memory left: stop programs that are not needed, and try again.".to_owned(),
        (_, Some(Errno::STALE | Errno::IO)) => {
            "The disk or the file server is failing: look at the system's log (`dmesg`), or choose another location with CLAUDE_PEERS_DB and XDG_STATE_HOME.".to_owned()
        }
        _ => "Check its owner, its permissions and the free space there.".to_owned(),
    }
}

/// What to do if no thread and no process can be started.
pub const NO_THREADS: &str = "No more threads or processes are allowed (`ulimit -u`, or the limit of pids of a container or service): stop programs that are not needed, or raise the limit.";

/// Returns what to do about a socket that cannot be made.
#[must_use]
pub fn socket_hint(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NODEV) => {
            "No socket can be made there: the file system does not support sockets, or a sandbox forbids them. Choose another directory with XDG_RUNTIME_DIR, or the socket itself with CLAUDE_PEERS_SOCKET.".to_owned()
        }
        _ => hint(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_has_advice_that_fits_it() {
        for (errno, word) in [
            (Errno::NOSPC, "make room"),
            (Errno::DQUOT, "quota"),
            (Errno::FBIG, "ulimit -f"),
            (Errno::ROFS, "XDG_STATE_HOME"),
            (Errno::MFILE, "ulimit -n"),
            (Errno::NFILE, "ulimit -n"),
            (Errno::NOLCK, "CLAUDE_PEERS_DB"),
            (Errno::OPNOTSUPP, "no locks"),
            (Errno::NOSYS, "no locks"),
            (Errno::AGAIN, "ulimit -u"),
            (Errno::STALE, "dmesg"),
            (Errno::NOTDIR, "move it away"),
            (Errno::ACCESS, "permissions"),
        ] {
            let said = hint(&errno.into());
            assert!(said.contains(word), "{errno:?}: {said}");
        }
        assert!(socket_hint(&Errno::PERM.into()).contains("CLAUDE_PEERS_SOCKET"));
        assert!(socket_hint(&Errno::NOSPC.into()).contains("make room"));
    }
}
