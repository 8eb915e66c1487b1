//! Why a call failed or no broker could be started, and what to do about it.

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

/// The database is in use by a broker that cannot be reached from here.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the database {} is in use by another broker ({holder})", database.display())]
pub struct OutOfReach {
    pub database: PathBuf,
    pub holder: String,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The broker refused.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// No broker listens, and the caller did not ask to start one.
    #[error("no broker is running")]
    NotRunning,
    /// No broker listens, and the last one ran outside this container.
    #[error("the broker at {} ran outside this container and has ended", .0.display())]
    Outside(PathBuf),
    #[error(transparent)]
    Start(#[from] StartError),
    /// Another user listens on the socket, or could.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    #[error(transparent)]
    OutOfReach(#[from] OutOfReach),
    #[error("the broker does not answer")]
    Silent,
    #[error("the broker cannot be reached: {cause}")]
    Broken {
        cause: String,
        /// Whether a part of the request may have been sent.
        sent: bool,
    },
    #[error("unexpected response from the broker: {0}")]
    Nonsense(String),
    /// A send that may have been carried out: a request was sent and not answered, and what came then
    /// is no answer to it.
    #[error("it is not known whether this was sent: {}", without_promise(.0))]
    Unknown(Box<Self>),
}

/// What to do if it is not known whether a message was stored.
const LOOK_FIRST: &str = "Check before you repeat it: `claude-peers log` shows every stored message, and check_messages those of a session that are unread.";

/// Returns the text of an error, which is about the last attempt, without the promise that nothing was
/// sent. An earlier attempt may have been.
fn without_promise(error: &ClientError) -> String {
    let mut text = error.to_string();
    for promise in [": nothing was sent", "; nothing was sent", "; Nothing was sent."] {
        text = text.replace(promise, "");
    }
    text
}

impl ClientError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused(error) => error.hint.clone(),
            Self::NotRunning => Some("Any session starts it; so does `claude-peers peers`.".to_owned()),
            Self::Outside(_) => Some("Start it from outside the container: by any session, or `claude-peers peers`. A broker started in here would not have its messages. For a broker of this container, unset CLAUDE_PEERS_SOCKET.".to_owned()),
            Self::Start(error) => error.hint(),
            Self::Untrusted(error) => Some(error.hint()),
            Self::OutOfReach(_) => Some(ELSEWHERE_HINT.to_owned()),
            Self::Silent => Some("Stop it with `claude-peers kill-broker`; the next call starts a new one, and no message is lost. It is not known whether this call was carried out: check before you repeat it.".to_owned()),
            Self::Broken { .. } | Self::Nonsense(_) => Some("Try again. `claude-peers status` says more.".to_owned()),
            Self::Unknown(last) => {
                let hint = match &**last {
                    Self::Silent => Some("Stop it with `claude-peers kill-broker`; the next call starts a new one, and no message is lost.".to_owned()),
                    Self::Broken { .. } | Self::Nonsense(_) => Some("`claude-peers status` says more.".to_owned()),
                    Self::Start(StartError::Busy { .. }) => Some("`claude-peers status` shows when the broker is ready.".to_owned()),
                    last => last.hint(),
                };
                Some(hint.into_iter().chain([LOOK_FIRST.to_owned()]).collect::<Vec<_>>().join(" "))
            }
        }
    }

    /// The error of the last attempt.
    #[must_use]
    pub fn last(&self) -> &Self {
        match self {
            Self::Unknown(last) => last,
            error => error,
        }
    }

    /// Returns the error of the last attempt.
    pub(super) fn into_last(self) -> Self {
        match self {
            Self::Unknown(last) => *last,
            error => error,
        }
    }

    /// Whether an attempt that failed like this may have been carried out.
    pub(super) const fn may_be_carried_out(&self) -> bool {
        match self {
            Self::Broken { sent, .. } => *sent,
            Self::Silent | Self::Nonsense(_) => true,
            _ => false,
        }
    }

    /// Returns this error of a send, of which an attempt may have been carried out.
    ///
    /// The broker knows the keys of what it stored before it checks anything else of a message. So what
    /// it refuses then is not stored; all other refusals come before that.
    pub(super) fn after_an_attempt(self) -> Self {
        let is_known = matches!(
            self.code(),
            Some(
                ErrorCode::NotFound
                    | ErrorCode::Ambiguous
                    | ErrorCode::RateLimited
                    | ErrorCode::MailboxFull
                    | ErrorCode::OutOfOrder
            )
        );
        if is_known { self } else { Self::Unknown(Box::new(self)) }
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

/// Why no broker could be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the broker did not start: {0}")]
    Failed(String, Option<String>),
    /// It gave no reason, so something else ended it. Another start may succeed.
    #[error("the broker ended while it was starting: {0}")]
    Ended(String),
    #[error("the broker did not start within {} s", .0.as_secs())]
    TooSlow(Duration),
    /// It is not stuck: it is still opening its database.
    #[error("the broker is not ready yet: it is {what}")]
    Busy {
        what: String,
        /// Whether its socket is open already, so that a call waits in it.
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
    /// For example a sandbox, or no descriptors left. Nothing may be started or stopped then.
    #[error("cannot find out whether a broker listens at {socket}: {error}")]
    CannotLook { socket: PathBuf, error: Errno },
}

impl StartError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Failed(_, hint) => hint.clone(),
            Self::Busy { listens: false, .. } => Some(
                "Nothing was done. Try again in a while; `claude-peers status` shows when the broker is ready."
                    .to_owned(),
            ),
            Self::Busy { listens: true, .. } => Some(
                "`claude-peers status` shows when the broker is ready. This call was sent but not answered, and it is not known whether it will be carried out: check before you repeat it."
                    .to_owned(),
            ),
            Self::Ended(_) | Self::TooSlow(_) | Self::Locked(_) => {
                Some("Run `claude-peers broker` in a terminal to see what happens.".to_owned())
            }
            Self::File { error, .. } | Self::NoThread(error) => Some(files::hint(error)),
            Self::Untrusted(error) => Some(error.hint()),
            Self::CannotReplace { hint, .. } => Some(hint.clone()),
            Self::CannotLook { socket, error } => Some(unknown_hint(*error, socket)),
        }
    }
}
