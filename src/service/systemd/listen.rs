//! The units of these settings, and how their sockets are started.

use crate::config::{Config, Environment};
use crate::endpoint::socket::holder;
use crate::protocol::health::Started;
use crate::service::error::{ManagerError, ServiceError};
use crate::service::fallback;
use crate::service::manager::Step;
use crate::service::systemd::state::Units;
use crate::service::systemd::units::{Found, Places};
use crate::service::systemd::{SOCKET, TCP_SOCKET, on_demand, systemctl};

/// systemd's user manager, for the units of these settings.
pub struct Systemd<'a> {
    pub config: &'a Config,
    pub places: Places,
}

impl<'a> Systemd<'a> {
    #[must_use]
    pub fn new(config: &'a Config) -> Self {
        Self { config, places: Places::new(config) }
    }

    pub fn environment(&self) -> &Environment {
        &self.config.environment
    }

    /// Gives the manager an order.
    pub fn order(&self, arguments: &[&str]) -> Result<(), ManagerError> {
        systemctl(self.environment(), arguments)
    }

    /// Returns whether the running or last broker writes its log to a file, because a client started
    /// it. If none runs, that is assumed where there is no service.
    pub fn logs_to_file(&self) -> bool {
        let by_client = match holder(self.config) {
            Some(holder) => holder.started == Started::Fallback,
            None => !matches!(self.places.find(SOCKET), Found::File(_)),
        };
        by_client && self.config.paths.log.exists()
    }

    /// Starts the sockets. A TCP port in use by another program is reported, and is no failure.
    pub fn listen(&self, steps: &mut Vec<Step>) -> Result<(), ServiceError> {
        on_demand::forget(self.config);
        let mut before = Units::load(self.environment())?;
        if before.all().iter().any(|unit| unit.need_reload) {
            self.order(&["daemon-reload"])?;
            before = Units::load(self.environment())?;
        }
        let failed: Vec<&str> = before
            .all()
            .iter()
            .filter(|unit| unit.has_failed())
            .map(|unit| unit.id.as_str())
            .collect();
        if !failed.is_empty() {
            let mut arguments = vec!["reset-failed"];
            arguments.extend(&failed);
            self.order(&arguments)?;
        }
        if before.socket.is_active() {
            steps.push(Step::note(format!("{SOCKET} listens.")));
        } else {
            self.order(&["start", SOCKET])?;
            steps.push(Step::done(format!("Started {SOCKET}: it listens.")));
        }
        fallback::end(self.config, steps);
        if before.tcp.is_active() {
            steps.push(Step::note(format!("{TCP_SOCKET} listens.")));
        } else if before.tcp.is_masked() {
            steps.push(Step::note(format!("{TCP_SOCKET} is masked: there is no port.")));
        } else if self.order(&["start", TCP_SOCKET]).is_ok() {
            steps.push(Step::done(format!("Started {TCP_SOCKET}: it listens.")));
        } else {
            steps.push(Step::note(format!(
                "{TCP_SOCKET} cannot listen: another program has the port. Sessions do not need \
                 the port; `claude-peers doctor` says which program has it."
            )));
        }
        Ok(())
    }
}
