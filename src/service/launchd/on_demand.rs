//! On-demand start by launchd, for a client that finds no broker.
//!
//! The cheap check comes first: if no agent is installed, launchctl is not run.

use crate::service::error::{ManagerError, Unavailable};
use crate::service::launchd::{Launchd, plist};
use crate::sys::listening::is_listening;

impl Launchd<'_> {
    pub(super) fn check_availability(&self) -> Result<(), Unavailable> {
        match self.written() {
            Ok(Some(text)) if plist::serves(&text, &self.config.paths.socket) => Ok(()),
            Ok(Some(_)) => Err(Unavailable::OtherSettings("socket")),
            _ => Err(Unavailable::NotInstalled),
        }
    }

    pub(super) fn load_on_demand(&self) -> Result<(), Unavailable> {
        self.check_availability()?;
        if !self.launchctl.has_session().map_err(Unavailable::Manager)? {
            return Err(Unavailable::NoManager);
        }
        if self.launchctl.job(&self.label).map_err(Unavailable::Manager)?.is_some() {
            // It is loaded, but the socket's file was removed.
            self.launchctl.unload(&self.label).map_err(Unavailable::Manager)?;
        }
        self.make_directories().map_err(|error| {
            let command = "claude-peers service start".to_owned();
            Unavailable::Manager(ManagerError::Failed { command, message: error.to_string() })
        })?;
        self.launchctl.load(&self.label, &self.file).map_err(Unavailable::Manager)?;
        if is_listening(&self.config.paths.socket) { Ok(()) } else { Err(Unavailable::Deaf) }
    }

    pub(super) fn failed_start(&self) -> Option<Unavailable> {
        self.check_availability().ok()?;
        let job = self.launchctl.job(&self.label).ok()??;
        let code = job.failure.filter(|_| job.pid.is_none())?;
        Some(Unavailable::Failed { unit: "the agent", result: format!("exit code {code}") })
    }

    pub(super) fn unload(&self) {
        // The fallback broker takes the path, whatever the outcome.
        let _ = self.launchctl.unload(&self.label);
    }
}
