//! Why a call came to nothing, and what to do about it.

use std::path::PathBuf;

use crate::client::StartError;
use crate::endpoint::broker_lock::ELSEWHERE_HINT;
use crate::protocol::{ApiError, ErrorCode};
use crate::sys::trust::Untrusted;

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
