//! Why a call came to nothing, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

use crate::endpoint::broker_lock::{ELSEWHERE_HINT, unknown_hint};
use crate::protocol::{ApiError, ErrorCode};
use crate::sys::files;
use crate::sys::trust::Untrusted;

/// The result of a call.
pub type Result<T> = std::result::Result<T, ClientError>;

/// The database is in use by a broker to which no way leads from here.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the database {} is in use by another broker ({holder})", database.display())]
pub struct OutOfReach {
    pub database: PathBuf,
    pub holder: String,
}

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The broker refused.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// Nobody listens, and the caller did not want a broker started.
    #[error("no broker is running")]
    NotRunning,
    /// Nobody listens, and whoever did counts in another pid namespace.
    #[error("the broker at {} runs outside of this container, and has ended", .0.display())]
    Outside(PathBuf),
    #[error(transparent)]
    Start(#[from] StartError),
    /// Somebody else listens, or could.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    #[error(transparent)]
    OutOfReach(#[from] OutOfReach),
    #[error("the broker does not answer")]
    Silent,
    #[error("the broker cannot be reached: {0}")]
    Broken(String),
    #[error("the broker gave an answer that makes no sense: {0}")]
    Nonsense(String),
}

impl ClientError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(error) => error.hint.clone(),
            Self::NotRunning => Some("Any session, or `claude-peers peers`, starts it.".to_owned()),
            Self::Outside(_) => Some("Any session outside, or `claude-peers peers` there, starts it; one that is started here would not have its mail. Unset CLAUDE_PEERS_SOCKET for a broker of this container.".to_owned()),
            Self::Start(error) => error.hint(),
            Self::Untrusted(error) => Some(error.hint()),
            Self::OutOfReach(_) => Some(ELSEWHERE_HINT.to_owned()),
            Self::Silent => Some("`claude-peers kill-broker` ends it; the next call starts a new one, and no message is lost. Whether this call was carried out is not known: check before you repeat it.".to_owned()),
            Self::Broken(_) | Self::Nonsense(_) => Some("Try again; `claude-peers status` tells more.".to_owned()),
        }
    }

    /// The broker's code, if it refused.
    #[must_use]
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(error) => Some(error.code),
            _ => None,
        }
    }
}

/// Why there is no broker.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the broker did not start: {0}")]
    Failed(String, Option<String>),
    /// It gave no reason: somebody or something ended it. Another start may well succeed.
    #[error("the broker ended while it was starting: {0}")]
    Ended(String),
    #[error("the broker did not start within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// It is not stuck: it does something first that takes long.
    #[error("the broker does not serve yet: it is {what}")]
    Busy {
        what: String,
        /// Whether somebody listens already, so that a call that was made waits for it.
        listens: bool,
    },
    #[error("another client has been starting the broker for {} s", .0.as_secs())]
    Locked(Duration),
    #[error("{what} {path}: {error}")]
    File { what: &'static str, path: PathBuf, error: io::Error },
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    #[error("no thread can be started to look after the broker: {0}")]
    NoThread(io::Error),
    #[error("the running broker {version} is older than this client and {reason}")]
    CannotReplace { version: String, reason: String, hint: String },
    /// A sandbox, say, or no descriptors left: no reason to start or to stop anything.
    #[error("it cannot be found out whether a broker listens at {socket}: {error}")]
    CannotLook { socket: PathBuf, error: Errno },
}

impl StartError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Failed(_, hint) => hint.clone(),
            Self::Busy { listens: false, .. } => Some(
                "Nothing was done. It is ready as soon as that is: try again in a while; `claude-peers status` tells."
                    .to_owned(),
            ),
            Self::Busy { listens: true, .. } => Some(
                "It is ready as soon as that is; `claude-peers status` tells. This call waits in its socket, and whether it will be carried out is not known: check before you repeat it."
                    .to_owned(),
            ),
            Self::Ended(_) | Self::TooSlow(_) | Self::Locked(_) => {
                Some("Run `claude-peers broker` in a terminal to see what it does.".to_owned())
            }
            Self::File { error, .. } | Self::NoThread(error) => Some(files::hint(error)),
            Self::Untrusted(error) => Some(error.hint()),
            Self::CannotReplace { hint, .. } => Some(hint.clone()),
            Self::CannotLook { socket, error } => Some(unknown_hint(*error, socket)),
        }
    }
}
