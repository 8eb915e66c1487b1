//! systemd's user manager, through `systemctl --user`: the state of our units, and orders to it.
//!
//! Every call has a time limit, because a manager that hangs must not hang a session. Calls block:
//! they are not for async threads.

mod control;
mod install;
mod listen;
mod on_demand;
pub mod settings;
mod state;
pub mod units;

use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::config::{Environment, session_runtime_directory};
use crate::service::error::ManagerError;
use crate::sys::subprocess;
pub use listen::Systemd;

/// The unit that listens on the broker's Unix socket.
pub const SOCKET: &str = "claude-peers.socket";

/// The unit that listens on the TCP port. Another user may have the port, so it is a unit of its
/// own, and its failure is no failure of the service.
pub const TCP_SOCKET: &str = "claude-peers-tcp.socket";

/// The unit that runs the broker.
pub const SERVICE: &str = "claude-peers.service";

/// All of them, the sockets first.
pub const UNITS: [&str; 3] = [SOCKET, TCP_SOCKET, SERVICE];

/// The limit of a query.
const LIMIT: Duration = Duration::from_secs(5);

/// The limit of an order: longer than a stop, which the service's `TimeoutStopSec=` bounds.
const ORDER_LIMIT: Duration = Duration::from_secs(15);

/// A unit's properties, as `systemctl show` prints them.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Unit {
    pub id: String,
    /// `loaded`, `not-found`, `masked`, `bad-setting`, …
    pub load_state: String,
    /// `active`, `inactive`, `failed`, `activating`, …
    pub active_state: String,
    /// `listening`, `running`, `dead`, …
    pub sub_state: String,
    /// `success`, `start-limit-hit`, `service-start-limit-hit`, `resources`, …
    pub result: String,
    /// `enabled`, `disabled`, `masked`, `static`, …; empty where there is no file.
    pub unit_file_state: String,
    /// The unit's file.
    pub fragment: Option<PathBuf>,
    /// 0 if no process runs.
    pub main_pid: u32,
    /// The number of automatic restarts.
    pub restarts: u32,
    /// The exit code of the service's last process, or the signal that ended it.
    pub exit_status: i32,
    /// The service's own status text (`STATUS=` of sd_notify(3)).
    pub status_text: String,
    /// Whether the file has changed since the manager read it.
    pub need_reload: bool,
}

impl Unit {
    #[must_use]
    pub fn exists(&self) -> bool {
        self.load_state != "not-found"
    }

    #[must_use]
    pub fn is_masked(&self) -> bool {
        self.load_state == "masked" || self.unit_file_state.starts_with("masked")
    }

    /// Returns whether the unit runs or listens, or is about to.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.active_state.as_str(), "active" | "activating" | "reloading")
    }

    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.unit_file_state.starts_with("enabled")
    }

    /// Returns whether the unit failed, or was stopped in a crash loop.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let ended_badly = !self.result.is_empty() && self.result != "success";
        self.active_state == "failed" || ended_badly && !self.is_active()
    }

    /// Describes how the service's last process ended, for use in parentheses.
    fn last_words(&self) -> String {
        let said = match self.result.as_str() {
            "" | "success" => "it ends as soon as it is started",
            result => result,
        };
        match self.exit_status {
            0 => said.to_owned(),
            status => format!("{said}, status {status}"),
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        let text = || value.to_owned();
        match key {
            "Id" => self.id = text(),
            "LoadState" => self.load_state = text(),
            "ActiveState" => self.active_state = text(),
            "SubState" => self.sub_state = text(),
            "Result" => self.result = text(),
            "UnitFileState" => self.unit_file_state = text(),
            "FragmentPath" => self.fragment = (!value.is_empty()).then(|| value.into()),
            "NRestarts" => self.restarts = value.parse().unwrap_or(0),
            "ExecMainStatus" => self.exit_status = value.parse().unwrap_or(0),
            "MainPID" => self.main_pid = value.parse().unwrap_or(0),
            "StatusText" => self.status_text = text(),
            "NeedDaemonReload" => self.need_reload = value == "yes",
            _ => {}
        }
    }
}

/// The properties that make up a [`Unit`].
const PROPERTIES: &str = "--property=Id,LoadState,ActiveState,SubState,Result,UnitFileState,\
                          FragmentPath,MainPID,StatusText,NeedDaemonReload,NRestarts,\
                          ExecMainStatus";

/// Returns whether a user manager runs: whether its private socket exists.
///
/// A connection would be proof, but causes an error message in the journal each time. The program
/// `systemctl` is no evidence: containers have it, too.
#[must_use]
pub fn manager_runs(environment: &Environment) -> bool {
    session_runtime_directory(environment).is_some_and(|directory| runs_in(&directory))
}

fn runs_in(runtime: &Path) -> bool {
    std::fs::metadata(runtime.join("systemd/private"))
        .is_ok_and(|file| file.file_type().is_socket())
}

/// Returns a unit's properties. A unit that does not exist is no error: its load state says so.
///
/// # Errors
///
/// If the manager cannot be asked.
pub fn show(environment: &Environment, unit: &str) -> Result<Unit, ManagerError> {
    Ok(show_all(environment, &[unit])?.pop().unwrap_or_default())
}

/// Returns the properties of several units with one call, in the given order.
///
/// # Errors
///
/// If the manager cannot be asked.
pub fn show_all(environment: &Environment, units: &[&str]) -> Result<Vec<Unit>, ManagerError> {
    show_within(environment, LIMIT, units)
}

fn show_within(
    environment: &Environment,
    limit: Duration,
    units: &[&str],
) -> Result<Vec<Unit>, ManagerError> {
    let mut arguments = vec!["show", PROPERTIES];
    arguments.extend_from_slice(units);
    parse(&call(environment, &arguments, limit)?, units)
}

/// Gives the manager an order.
///
/// # Errors
///
/// If systemctl cannot be run or fails; the error contains its message.
pub fn systemctl(environment: &Environment, arguments: &[&str]) -> Result<(), ManagerError> {
    systemctl_within(environment, ORDER_LIMIT, arguments)
}

/// Gives the manager an order, with a time limit.
///
/// # Errors
///
/// As [`systemctl`].
pub fn systemctl_within(
    environment: &Environment,
    limit: Duration,
    arguments: &[&str],
) -> Result<(), ManagerError> {
    call(environment, arguments, limit).map(|_| ())
}

/// Returns the environment of the manager's services, as `systemctl show-environment` prints it.
fn manager_environment(environment: &Environment) -> Result<String, ManagerError> {
    call(environment, &["show-environment"], LIMIT)
}

/// Parses blocks of `Key=Value` lines, one per unit, separated by empty lines.
fn parse(text: &str, units: &[&str]) -> Result<Vec<Unit>, ManagerError> {
    let blocks: Vec<Unit> = text
        .split("\n\n")
        .filter(|block| !block.trim().is_empty())
        .map(|block| {
            let mut unit = Unit::default();
            for (key, value) in block.lines().filter_map(|line| line.split_once('=')) {
                unit.set(key, value);
            }
            unit
        })
        .collect();
    if blocks.len() == units.len() {
        return Ok(blocks);
    }
    Err(ManagerError::Failed {
        command: "systemctl --user show".to_owned(),
        message: format!("it described {} of {} units", blocks.len(), units.len()),
    })
}

fn call(
    environment: &Environment,
    arguments: &[&str],
    limit: Duration,
) -> Result<String, ManagerError> {
    let runtime = session_runtime_directory(environment)
        .filter(|directory| runs_in(directory))
        .ok_or(ManagerError::NoManager)?;
    let mut command = Command::new("systemctl");
    command
        .args(["--user", "--quiet", "--no-pager", "--no-ask-password"])
        .args(arguments)
        // A process without it (a cron job) is to reach the manager all the same.
        .env("XDG_RUNTIME_DIR", runtime)
        .env("SYSTEMD_COLORS", "0");
    let described = || format!("systemctl --user {}", arguments.join(" "));
    match subprocess::run(&mut command, limit).map_err(ManagerError::Systemctl)? {
        None => Err(ManagerError::TimedOut { command: described(), limit }),
        Some(said) if said.succeeded() => Ok(said.output),
        Some(said) => Err(ManagerError::Failed { command: described(), message: said.one_line() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_from_what_systemctl_shows() {
        let text = "MainPID=0\nResult=success\nId=a.service\nLoadState=not-found\n\n\
                    MainPID=42\nStatusText=3 peers, a=b\nId=b.service\nLoadState=masked\n\
                    FragmentPath=/x/b.service\nUnitFileState=masked\nNeedDaemonReload=yes\n";
        let units = parse(text, &["a.service", "b.service"]).unwrap();
        assert!(!units[0].exists() && units[0].fragment.is_none());
        assert_eq!((units[1].main_pid, units[1].status_text.as_str()), (42, "3 peers, a=b"));
        assert!(units[1].is_masked() && units[1].need_reload);
        assert_eq!(units[1].fragment.as_deref(), Some(Path::new("/x/b.service")));
        assert!(parse(text, &["a.service"]).is_err());
    }
}
