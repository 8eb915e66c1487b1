//! A service manager, as the rest of the program sees it: one trait for systemd and launchd.

use std::path::PathBuf;
use std::process::Command;

use serde::Serialize;

use crate::service::error::{ServiceError, Unavailable};

/// A service manager: systemd's user manager, or launchd.
pub trait Manager {
    /// Makes the manager listen on the broker's sockets, now and from the next login on. A
    /// failure midway leaves everything as it was.
    ///
    /// # Errors
    ///
    /// If that cannot be done. The same holds for all orders below.
    fn install(&self) -> Result<Vec<Step>, ServiceError>;

    /// Reverts [`Manager::install`]. The database stays.
    fn uninstall(&self) -> Result<Vec<Step>, ServiceError>;

    /// Makes the manager listen. The broker starts on the first connection.
    fn start(&self) -> Result<Vec<Step>, ServiceError>;

    /// Stops the broker and closes its sockets.
    fn stop(&self) -> Result<Vec<Step>, ServiceError>;

    /// Restarts the broker.
    fn restart(&self) -> Result<Vec<Step>, ServiceError>;

    /// Returns the state of the service and its problems.
    fn status(&self) -> Result<Status, ServiceError>;

    /// Returns the command that shows the log; it replaces our own process.
    fn logs(&self, wanted: &Logs) -> Result<Command, ServiceError>;

    /// Returns a remark about that log, if there is one.
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

/// One thing that an order did, or found already done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub changed: bool,
    /// A sentence that describes it.
    pub what: String,
}

impl Step {
    pub fn done(what: impl Into<String>) -> Self {
        Self { changed: true, what: what.into() }
    }

    /// Returns a step that changed nothing: something already done, or a remark.
    pub fn note(what: impl Into<String>) -> Self {
        Self { changed: false, what: what.into() }
    }
}

/// The limit of `stop`: sessions start the service again.
pub const COMES_BACK: &str =
    "The next session starts them again; to take the service away: claude-peers service uninstall";

/// The state of the service.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// `systemd` or `launchd`.
    pub manager: &'static str,
    pub state: State,
    /// The directory of the units that are in use.
    pub directory: Option<PathBuf>,
    /// Whether the units belong to an installed package.
    pub packaged: bool,
    pub units: Vec<UnitStatus>,
    /// The problems, each with its fix.
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The broker is running.
    Running,
    /// The manager listens, and starts the broker on the first connection.
    Ready,
    /// Installed, but the manager does not listen.
    Stopped,
    Failed,
    /// A unit is masked.
    Masked,
    NotInstalled,
}

/// One unit or job, in its manager's terms.
#[derive(Debug, Clone, Serialize)]
pub struct UnitStatus {
    pub name: String,
    /// `enabled`, `disabled`, `masked`, …
    pub file: String,
    /// `active (listening)`, `failed (resources)`, …
    pub active: String,
    #[serde(rename = "pid")]
    pub process: Option<u32>,
    /// The service's own status text.
    pub says: String,
}

/// The wanted part of the log.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    pub follow: bool,
    pub lines: Option<u32>,
    /// A time as in systemd.time(7).
    pub since: Option<String>,
    /// Further arguments for the program that shows the log.
    pub more: Vec<std::ffi::OsString>,
}
