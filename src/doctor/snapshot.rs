//! The facts that the checks use: from before the first call, and the running broker's answer.

use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::client::status::Observed;
use crate::config::Config;
use crate::endpoint::broker_lock::{Holder, database_lock, holder_of};
use crate::endpoint::socket::holder;
use crate::protocol::health::{Detail, Started};
use crate::service::ManagerError;
use crate::service::systemd;
use crate::service::systemd::Unit;
use crate::sys::files::same_place;
use crate::sys::listening::{Listening, listening};
use crate::sys::process;
use crate::sys::process::ProcessStatus;

const RESTART_SERVICE: &str = "systemctl --user restart claude-peers.service";

/// The state of the socket's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketState {
    Nothing,
    /// A socket with a listener.
    Listener,
    /// A socket without a listener.
    Stale,
    /// A file, a directory, or a link without a listener.
    Other,
    /// It cannot be found out from here whether the socket has a listener.
    Unknown(Errno),
}

/// What the service manager knows of our units.
#[derive(Debug, Clone)]
pub enum UnitsState {
    NoManager,
    /// They serve another socket than the one of these settings.
    Elsewhere(PathBuf),
    Unknown(String),
    /// In the order of [`systemd::UNITS`].
    Known(Vec<Unit>),
}

/// The running broker's answer.
#[derive(Debug, Clone)]
pub enum BrokerState {
    NotRunning,
    Answers {
        protocol: u32,
        detail: Box<Detail>,
    },
    /// It does not answer, or not as expected.
    Silent(String),
}

/// The facts that the checks use.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub config: Config,
    /// The database's file. The path in the settings may be a link to it.
    pub database: PathBuf,
    /// As it was before the first call.
    pub socket_state: SocketState,
    pub broker_before: Option<Holder>,
    /// A broker of another socket that has our database open.
    pub other_broker: Option<Holder>,
    pub units: UnitsState,
    /// The answer after the round trip.
    pub running: BrokerState,
    pub broker: Option<Holder>,
}

impl Snapshot {
    /// Gathers the facts that need no call.
    pub fn take(config: &Config) -> Self {
        // Before the connection to the socket, which may start a unit or make it fail.
        let units = units(&config.anew());
        let Observed { config, broker: broker_before } = Observed::take(config);
        // A link without a target is examined itself.
        let named = config.database_path();
        let database = named.canonicalize().unwrap_or_else(|_| named.to_owned());
        let is_it = |other: &Holder| broker_before.as_ref().is_some_and(|b| b.pid == other.pid);
        Self {
            socket_state: socket_state(&config.paths.socket),
            other_broker: holder_of(&database_lock(&config.database_file()))
                .filter(|other| other.pid > 0 && !is_it(other)),
            broker_before,
            config,
            database,
            units,
            running: BrokerState::NotRunning,
            broker: None,
        }
    }

    /// Adds the broker's answer.
    pub fn with_broker(self, running: BrokerState) -> Self {
        Self { broker: holder(&self.config), running, ..self }
    }

    /// Whether a broker runs and its socket file was removed or replaced.
    pub fn socket_was_removed(&self) -> bool {
        self.broker_before.is_some()
            && !matches!(self.socket_state, SocketState::Listener | SocketState::Unknown(_))
    }

    pub fn detail(&self) -> Option<&Detail> {
        match &self.running {
            BrokerState::Answers { detail, .. } => Some(detail),
            _ => None,
        }
    }

    /// Returns the unit of this name, if it is installed.
    pub fn unit(&self, name: &str) -> Option<&Unit> {
        match &self.units {
            UnitsState::Known(units) => units.iter().find(|unit| unit.id == name && unit.exists()),
            _ => None,
        }
    }

    /// Whether the service manager runs the broker.
    pub fn is_service(&self) -> bool {
        self.broker.as_ref().is_some_and(|broker| broker.started == Started::Systemd)
            && self.unit(systemd::SERVICE).is_some()
    }

    /// Returns the command that restarts the broker.
    pub fn restart(&self) -> &'static str {
        if self.is_service() { RESTART_SERVICE } else { crate::doctor::shell::RESTART }
    }
}

impl Snapshot {
    /// Returns the command that restarts the broker that ran before the first call.
    pub fn restart_of_before(&self) -> &'static str {
        let service = self.broker_before.as_ref().is_some_and(|b| b.started == Started::Systemd)
            && self.unit(systemd::SERVICE).is_some();
        if service { RESTART_SERVICE } else { crate::doctor::shell::RESTART }
    }
}

fn units(config: &Config) -> UnitsState {
    // As in the socket unit.
    let served = systemd::settings::unit_socket(&config.environment);
    match (systemd::show_all(&config.environment, &systemd::UNITS), served) {
        (Err(ManagerError::NoManager), _) => UnitsState::NoManager,
        (Err(error), _) => UnitsState::Unknown(error.to_string()),
        (Ok(units), Some(served))
            if !same_place(&served, &config.paths.socket) && units.iter().any(Unit::exists) =>
        {
            UnitsState::Elsewhere(served)
        }
        (Ok(units), _) => UnitsState::Known(units),
    }
}

/// Connects, as a client would. A service manager that listens there starts the broker.
fn socket_state(path: &std::path::Path) -> SocketState {
    match (std::fs::symlink_metadata(path), listening(path)) {
        (Err(_), Listening::Unknown(error)) => SocketState::Unknown(error),
        (Err(_), _) => SocketState::Nothing,
        // A link to a socket counts as well.
        (Ok(_), Listening::Yes) => SocketState::Listener,
        (Ok(metadata), _) if !is_socket_or_link(&metadata) => SocketState::Other,
        (Ok(_), Listening::Unknown(error)) => SocketState::Unknown(error),
        (Ok(metadata), Listening::Nobody) if metadata.is_symlink() => SocketState::Other,
        (Ok(_), Listening::Nobody) => SocketState::Stale,
    }
}

fn is_socket_or_link(metadata: &std::fs::Metadata) -> bool {
    metadata.file_type().is_socket() || metadata.is_symlink()
}

/// Whether the broker's pid means the broker here too. It does not where the broker runs in another
/// container.
pub fn runs_here(detail: &Detail) -> bool {
    let process = detail.process.as_ref();
    process.is_none_or(|process| process::status(process) == ProcessStatus::Alive)
}
