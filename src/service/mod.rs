//! The broker as a service of the operating system: its state, and orders to its manager.
//!
//! [`manager()`] returns the one manager that this system has. Nothing here prints; `cli` does.

mod error;
mod fallback;
pub mod launchd;
mod logs;
mod manager;
pub mod systemd;

use crate::config::Config;

pub use error::{ManagerError, ServiceError, Unavailable};
pub use manager::{Logs, Manager, State, Status, Step, UnitStatus};

/// Returns the service manager of this system.
#[must_use]
pub fn manager(config: &Config) -> Box<dyn Manager + '_> {
    if cfg!(target_os = "macos") {
        Box::new(launchd::Launchd::new(config))
    } else {
        Box::new(systemd::Systemd::new(config))
    }
}
