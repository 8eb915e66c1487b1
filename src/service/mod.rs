//! The broker as a service of the operating system: its state, and orders to its manager.
//!
//! [`manager`] gives the one manager that this system has. Nothing here prints; `cli` does.

mod fallback;
pub mod launchd;
pub mod logs;
pub mod systemd;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use crate::config::Config;
use systemd::ManagerError;

/// A service manager: what `claude-peers service` needs of one.
pub trait Manager {
    /// Makes the manager listen on the broker's sockets, now and from the next login on. A
    /// failure midway leaves everything as it was.
    ///
    /// # Errors
    ///
    /// If that cannot be done; so for all orders below.
    fn install(&self) -> Result<Vec<Step>, ServiceError>;

    /// Takes back what [`Manager::install`] did. The database stays.
    fn uninstall(&self) -> Result<Vec<Step>, ServiceError>;

    /// Makes the manager listen. The broker starts on the first connection.
    fn start(&self) -> Result<Vec<Step>, ServiceError>;

    /// Stops the broker and closes its sockets.
    fn stop(&self) -> Result<Vec<Step>, ServiceError>;

    /// Starts the broker anew.
    fn restart(&self) -> Result<Vec<Step>, ServiceError>;

    fn status(&self) -> Result<Status, ServiceError>;

    /// The program that shows the log. It takes the place of ours.
    fn logs(&self, wanted: &Logs) -> Result<Command, ServiceError>;

    /// What one should know of that log, if anything.
    fn log_note(&self, _wanted: &Logs) -> Option<String> {
        None
    }
}

/// The service manager of this system.
#[must_use]
pub fn manager(config: &Config) -> Box<dyn Manager + '_> {
    if cfg!(target_os = "macos") {
        Box::new(launchd::Launchd::new(config))
    } else {
        Box::new(systemd::Systemd::new(config))
    }
}

/// One thing that an order did, or found as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub changed: bool,
    /// A sentence.
    pub what: String,
}

impl Step {
    pub fn done(what: impl Into<String>) -> Self {
        Self { changed: true, what: what.into() }
    }

    /// For what was so already, or what one should know.
    pub fn note(what: impl Into<String>) -> Self {
        Self { changed: false, what: what.into() }
    }
}

/// What stopping the service does not do.
pub(crate) const COMES_BACK: &str =
    "The next session starts them again; to take the service away: claude-peers service uninstall";

/// How the service is.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// `systemd` or `launchd`.
    pub manager: &'static str,
    pub state: State,
    /// The directory of the units that are in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// The units belong to a package of the system.
    pub packaged: bool,
    pub units: Vec<UnitStatus>,
    /// What is wrong, each with its fix.
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The broker runs.
    Running,
    /// The manager listens, and starts the broker on the first connection.
    Ready,
    /// Installed, but the manager does not listen.
    Stopped,
    Failed,
    /// Somebody has forbidden it.
    Masked,
    NotInstalled,
}

/// One unit or job, in its manager's words.
#[derive(Debug, Clone, Serialize)]
pub struct UnitStatus {
    pub name: String,
    /// `enabled`, `disabled`, `masked`, …
    pub file: String,
    /// `active (listening)`, `failed (resources)`, …
    pub active: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
    /// What the service says of itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub says: String,
}

/// Which part of the log is wanted.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    pub follow: bool,
    pub lines: Option<u32>,
    /// In the words of systemd.time(7).
    pub since: Option<String>,
    /// Further arguments of the program that shows it.
    pub more: Vec<std::ffi::OsString>,
}

/// Why clients start the broker by themselves.
#[derive(Debug, thiserror::Error)]
pub enum NoService {
    #[error("the service is not installed")]
    NotInstalled,
    #[error("no service manager runs for this user")]
    NoManager,
    #[error("the service is for another {0} than these settings name")]
    OtherSettings(&'static str),
    #[error("{0} is masked")]
    Masked(&'static str),
    #[error("{unit} failed ({result})")]
    Failed { unit: &'static str, result: String },
    #[error("{0}")]
    Manager(ManagerError),
    #[error("the service's socket was started, and nobody listens")]
    Deaf,
}

impl NoService {
    /// What to do about it; nothing where all is as it should be.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoManager | Self::OtherSettings(_) => return None,
            Self::NotInstalled => "`claude-peers service install` installs it".to_owned(),
            Self::Masked(unit) => format!("`systemctl --user unmask {unit}` allows it"),
            Self::Failed { .. } => "`claude-peers service logs` says why, `claude-peers service \
                                    start` tries again"
                .to_owned(),
            Self::Manager(_) | Self::Deaf => "`claude-peers doctor` tells more".to_owned(),
        })
    }
}

/// Whether the service is there for these settings, as far as files tell. Cheap.
///
/// # Errors
///
/// If it is not.
pub fn outlook(config: &Config) -> Result<(), NoService> {
    if cfg!(target_os = "macos") {
        launchd::on_demand::outlook(config)
    } else {
        systemd::on_demand::outlook(config)
    }
}

/// Makes the service listen, for a client that found nobody. Call it under the spawn lock.
///
/// # Errors
///
/// If the service is not there, or does not serve: then the client starts a broker itself.
pub fn start_for_client(config: &Config) -> Result<(), NoService> {
    if cfg!(target_os = "macos") {
        launchd::on_demand::start(config)
    } else {
        systemd::on_demand::start(config)
    }
}

/// Why the service does not serve though its socket listens, for a client that waited in vain:
/// its program ends as soon as it is started. `None` if it is only slow, or not there.
#[must_use]
pub fn crashing(config: &Config) -> Option<NoService> {
    if cfg!(target_os = "macos") {
        launchd::on_demand::crashing(config)
    } else {
        systemd::on_demand::crashing(config)
    }
}

/// Closes the sockets of a service that cannot run, so that another broker can have their places.
pub fn give_up(config: &Config, why: &NoService) {
    if cfg!(target_os = "macos") {
        launchd::on_demand::give_up(config);
    } else {
        systemd::on_demand::give_up(config, why);
    }
}

/// Why an order was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    #[error(transparent)]
    Manager(#[from] ManagerError),
    /// What it is about, and what to do.
    #[error("{0}")]
    Refused(String, String),
    #[error("{what} {path}: {error}")]
    File { what: &'static str, path: PathBuf, error: io::Error },
    #[error("{0}; nothing was changed, or it was changed back")]
    Undone(Box<Self>),
}

impl ServiceError {
    pub(crate) fn refused(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused(problem.into(), hint.into())
    }

    pub(crate) fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
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
