//! A service manager, as the rest of the program sees it: one trait for systemd and launchd.

use std::path::PathBuf;
use std::process::Command;

use serde::Serialize;

use crate::service::error::{ServiceError, Unavailable};

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

    /// Checks that the service is there for these settings, as far as files tell.
    ///
    /// Cheap: where nothing is installed, the manager's own program is not run.
    ///
    /// # Errors
    ///
    /// If it is not.
    fn availability(&self) -> Result<(), Unavailable>;

    /// Makes the service listen, for a client that found no broker. Requires the spawn lock.
    ///
    /// # Errors
    ///
    /// If the service is not there, or does not serve: then the client starts a broker itself.
    fn start_on_demand(&self) -> Result<(), Unavailable>;

    /// Returns why the service does not serve though its socket listens: its program ends each
    /// time as soon as it is started. `None` if it is only slow, or not there.
    ///
    /// May take most of a second: for a client that has waited in vain and found no broker.
    fn crash_loop(&self) -> Option<Unavailable>;

    /// Closes the sockets of a service that cannot run, so that another broker can have their
    /// paths.
    fn disable(&self, why: &Unavailable);
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
pub const COMES_BACK: &str =
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
