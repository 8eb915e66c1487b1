//! Why the broker does not run, and what to do about it.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::broker::store::OpenError;
use crate::endpoint::broker_lock::{ELSEWHERE_HINT, Holder, unknown_hint};
use crate::sys::files;
use crate::sys::trust::Untrusted;

/// The `what` of [`RunError::File`] for a socket, whose hint differs from that of other files.
pub const SOCKET: &str = "the socket";

/// Why the broker could not start, or stopped before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("another broker is already running{0}")]
    AlreadyRuns(String),
    /// The owner of the lock does not answer, and is not proven to be a process that may be
    /// signalled from here.
    #[error("the broker's lock {} is held by {}, which cannot be reached from here", .0.lock.display(), .0.described())]
    HeldElsewhere(Box<Holder>),
    /// It is not known whether a broker runs, so none is started.
    #[error("cannot determine whether a broker listens at {socket}: {error}")]
    CannotLook { socket: PathBuf, error: Errno },
    #[error("{what} {path}: {error}")]
    File { what: &'static str, path: PathBuf, error: io::Error },
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    #[error(transparent)]
    Database(#[from] OpenError),
    #[error("the database thread ended; everything that was acknowledged is in the database")]
    StoreEnded,
    #[error("the broker cannot accept connections on its sockets: {0}")]
    Serve(io::Error),
}

impl RunError {
    /// Returns what to do about it, for a person.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::AlreadyRuns(_) => {
                "`claude-peers status` describes it, `claude-peers kill-broker` stops it."
                    .to_owned()
            }
            Self::HeldElsewhere(_) => ELSEWHERE_HINT.to_owned(),
            Self::CannotLook { socket, error } => unknown_hint(*error, socket),
            Self::File { what: SOCKET, error, .. } => files::socket_hint(error),
            Self::File { error, .. } => files::hint(error),
            Self::Untrusted(error) => error.hint(),
            Self::Database(error) => error.hint(),
            Self::StoreEnded | Self::Serve(_) => "Try again.".to_owned(),
        }
    }
}
