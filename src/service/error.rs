//! Why a service manager, or an order to it, failed, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a call of the manager failed.
#[derive(Debug, thiserror::Error)]
pub enum ManagerError {
    #[error("no systemd runs for this user")]
    NoManager,
    #[error("systemctl cannot be run: {0}")]
    Systemctl(io::Error),
    #[error("`{command}` did not end within {} s", .limit.as_secs())]
    TimedOut { command: String, limit: Duration },
    #[error("`{command}`: {message}")]
    Failed { command: String, message: String },
}

impl ManagerError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoManager => {
                "Nothing needs to be done: without a service manager the sessions start the broker themselves."
                    .to_owned()
            }
            Self::Systemctl(_) => "Is systemctl in PATH?".to_owned(),
            Self::TimedOut { .. } => {
                "Look at `systemctl --user status`: the manager may be busy or stuck.".to_owned()
            }
            Self::Failed { .. } => {
                "`claude-peers doctor` and `claude-peers service logs` say more.".to_owned()
            }
        }
    }
}

/// Why the service manager does not provide the broker, so that clients start one themselves.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("the service is not installed")]
    NotInstalled,
    #[error("no service manager runs for this user")]
    NoManager,
    #[error("the service uses a different {0} than your settings")]
    OtherSettings(&'static str),
    #[error("{0} is masked")]
    Masked(&'static str),
    #[error("{unit} failed ({result})")]
    Failed { unit: &'static str, result: String },
    #[error("{0}")]
    Manager(ManagerError),
    #[error("the service's socket was started, but nothing listens on it")]
    Deaf,
}

impl Unavailable {
    /// Returns what to do about it; `None` where nothing is wrong.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoManager | Self::OtherSettings(_) => return None,
            Self::NotInstalled => "`claude-peers service install` installs it".to_owned(),
            Self::Masked(unit) => format!("`systemctl --user unmask {unit}` allows it"),
            Self::Failed { .. } => "`claude-peers service logs` says why, `claude-peers service \
                                    start` tries again"
                .to_owned(),
            Self::Manager(_) | Self::Deaf => "`claude-peers doctor` says more".to_owned(),
        })
    }
}

/// Why an order to the service failed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// The problem, and what to do about it.
    #[error("{0}")]
    Refused(String, String),
    #[error("{what} {path}: {error}")]
    File { what: &'static str, path: PathBuf, error: io::Error },
    #[error("{0}; everything is as it was before")]
    Undone(Box<Self>),
}

impl ServiceError {
    pub fn refused(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused(problem.into(), hint.into())
    }

    pub fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::File { what, path, error }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Manager(error) => error.hint(),
            Self::Refused(_, hint) => hint.clone(),
            Self::File { error, .. } => crate::sys::files::hint(error),
            Self::Undone(cause) => cause.hint(),
        }
    }
}
