//! Whether a client that finds no broker gets it from launchd.
//!
//! The cheap question first: where no agent is installed, launchctl is never called.

use crate::config::Config;
use crate::service::NoService;
use crate::service::launchd::{Launchd, plist};
use crate::service::systemd::ManagerError;
use crate::sys::listening::is_listening;

/// Whether the agent is there for these settings, as far as its file tells.
///
/// # Errors
///
/// If it is not.
pub fn outlook(config: &Config) -> Result<(), NoService> {
    Launchd::new(config).outlook()
}

/// Loads the agent. Call it under the spawn lock, where nobody listens.
///
/// # Errors
///
/// If the agent is not there, or does not serve.
pub fn start(config: &Config) -> Result<(), NoService> {
    Launchd::new(config).start_for_client()
}

/// Why the agent does not serve though launchd listens: its program ended by a failure and does
/// not run. For a client that has waited in vain, and longer than any start takes.
#[must_use]
pub fn crashing(config: &Config) -> Option<NoService> {
    Launchd::new(config).crashing()
}

/// Closes the sockets of an agent that cannot run, so that another broker can have their places.
pub fn give_up(config: &Config) {
    Launchd::new(config).give_up();
}

impl Launchd<'_> {
    pub(super) fn outlook(&self) -> Result<(), NoService> {
        match self.written() {
            Ok(Some(text)) if plist::serves(&text, &self.config.paths.socket) => Ok(()),
            Ok(Some(_)) => Err(NoService::OtherSettings("socket")),
            _ => Err(NoService::NotInstalled),
        }
    }

    pub(super) fn start_for_client(&self) -> Result<(), NoService> {
        self.outlook()?;
        if !self.launchctl.has_session().map_err(NoService::Manager)? {
            return Err(NoService::NoManager);
        }
        if self.launchctl.job(&self.label).map_err(NoService::Manager)?.is_some() {
            // It is loaded, but somebody removed the socket's file.
            self.launchctl.unload(&self.label).map_err(NoService::Manager)?;
        }
        self.make_directories().map_err(|error| {
            let command = "claude-peers service start".to_owned();
            NoService::Manager(ManagerError::Failed { command, message: error.to_string() })
        })?;
        self.launchctl.load(&self.label, &self.file).map_err(NoService::Manager)?;
        if is_listening(&self.config.paths.socket) { Ok(()) } else { Err(NoService::Deaf) }
    }

    pub(super) fn crashing(&self) -> Option<NoService> {
        self.outlook().ok()?;
        let job = self.launchctl.job(&self.label).ok()??;
        let code = job.failure.filter(|_| job.pid.is_none())?;
        Some(NoService::Failed { unit: "the agent", result: format!("exit code {code}") })
    }

    pub(super) fn give_up(&self) {
        // Whatever the outcome, the fallback takes the path.
        let _ = self.launchctl.unload(&self.label);
    }
}
