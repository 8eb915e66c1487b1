//! What to do about a file that cannot be used: the error says what is in the way.

use std::io;

use rustix::io::Errno;

const OTHER_PLACES: &str = "CLAUDE_PEERS_DB (the database), XDG_STATE_HOME (token and log) or XDG_RUNTIME_DIR (socket and locks)";

/// What to do about a file of ours that cannot be used.
#[must_use]
pub fn hint(error: &io::Error) -> String {
    use io::ErrorKind::{AlreadyExists, IsADirectory, NotADirectory, StorageFull};
    let errno = Errno::from_io_error(error);
    match (error.kind(), errno) {
        (AlreadyExists | IsADirectory | NotADirectory, _) => {
            "Something else lies in its place: move that away.".to_owned()
        }
        (StorageFull, _) => "The disk is full and has no free space: make room and try again.".to_owned(),
        (_, Some(Errno::DQUOT)) => format!(
            "Your quota on that file system is used up: make room, or name another place by {OTHER_PLACES}."
        ),
        (_, Some(Errno::FBIG)) => {
            "A limit on the size of files is in force (`ulimit -f`): raise it where the broker is started, and try again.".to_owned()
        }
        (_, Some(Errno::ROFS)) => {
            format!(
                "Check the permissions with which that file system is mounted (it is read-only), or name a place that can be written by {OTHER_PLACES}."
            )
        }
        (_, Some(Errno::MFILE | Errno::NFILE)) => {
            "Too many files are open: end what is not needed, or raise the limit (`ulimit -n`).".to_owned()
        }
        (_, Some(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS)) => format!(
            "That file system has no locks: name a place on a local disk by {OTHER_PLACES}."
        ),
        (_, Some(Errno::AGAIN)) => NO_THREADS.to_owned(),
        (_, Some(Errno::NOMEM)) => "There is no memory left: end what is not needed, and try again.".to_owned(),
        (_, Some(Errno::STALE | Errno::IO)) => {
            "Its disk or its server fails: look at the system's log (`dmesg`), or name another place by CLAUDE_PEERS_DB and XDG_STATE_HOME.".to_owned()
        }
        _ => "Check its owner, its permissions and the free space there.".to_owned(),
    }
}

/// What to do where no thread and no process can be started.
pub const NO_THREADS: &str = "No more threads or processes are allowed (`ulimit -u`, or the limit of pids of a container or service): end what is not needed, or raise it.";

/// What to do about a socket that cannot be made.
#[must_use]
pub fn socket_hint(error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NODEV) => {
            "No socket can be made there: its file system has none, or a sandbox forbids them. Name another place by XDG_RUNTIME_DIR, or the socket itself by CLAUDE_PEERS_SOCKET.".to_owned()
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
            (Errno::NOTDIR, "move that away"),
            (Errno::ACCESS, "permissions"),
        ] {
            let said = hint(&errno.into());
            assert!(said.contains(word), "{errno:?}: {said}");
        }
        assert!(socket_hint(&Errno::PERM.into()).contains("CLAUDE_PEERS_SOCKET"));
        assert!(socket_hint(&Errno::NOSPC.into()).contains("make room"));
    }
}
