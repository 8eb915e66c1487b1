//! Installs the units, and reverts what was done if that fails midway.
//!
//! The crate `service-manager` writes the service's unit: that is what it does well for a service with
//! a unit text of its own. Everything else goes to systemctl and launchctl directly, because the crate
//! cannot do it:
//!
//! * It knows no socket units, no masks, no `daemon-reload` and no `reset-failed`, and its status is
//!   only running, stopped or not installed.
//! * It has no time limits. A manager that hangs would hang the session that starts the broker.
//! * On macOS it uses `launchctl load` and `remove`, which exit with 0 when they fail and cannot choose
//!   between the graphical and the background session; the agent needs `bootstrap` and `bootout`.
//! * Errors carry the manager's text only, without the command, and a failed install is not reverted.

use std::path::{Path, PathBuf};

use service_manager::{ServiceManager as _, SystemdServiceManager};

use crate::endpoint::socket::holder;
use crate::protocol::health::Started;
use crate::service::error::ServiceError;
use crate::service::manager::Step;
use crate::service::systemd::listen::Systemd;
use crate::service::systemd::state::Units;
use crate::service::systemd::{SERVICE, SOCKET, TCP_SOCKET, units};
use crate::sys::self_exe::lasting_path;

/// What `install` has done so far, for reverting it.
#[derive(Default)]
pub struct Undo {
    /// The changed files, each with its former text.
    files: Vec<(PathBuf, Option<String>)>,
    enabled: Vec<&'static str>,
    started: Vec<&'static str>,
}

impl Systemd<'_> {
    /// Writes the units, enables them and makes them listen.
    pub(super) fn set_up(
        &self,
        before: &Units,
        undo: &mut Undo,
    ) -> Result<Vec<Step>, ServiceError> {
        let mut steps = Vec::new();
        let sockets_changed = match self.places.packaged() {
            Some(directory) => {
                steps.push(Step::note(format!(
                    "The units of the installed package are used: {}.",
                    directory.display()
                )));
                self.remove_own(undo, &mut steps)?
            }
            None => self.write(undo, &mut steps)?,
        };
        let changed = !undo.files.is_empty();
        if changed {
            self.order(&["daemon-reload"])?;
        }
        let units = Units::load(self.environment())?;
        for (unit, name) in [(&units.socket, SOCKET), (&units.tcp, TCP_SOCKET)] {
            if unit.is_enabled() {
                steps.push(Step::note(format!("{name} is enabled.")));
            } else if !unit.is_masked() {
                self.order(&["enable", name])?;
                undo.enabled.push(name);
                steps.push(Step::done(format!("Enabled {name}: it listens from login on.")));
            }
        }
        if sockets_changed && before.socket.is_active() {
            // Restarting the socket restarts the service.
            self.order(&["restart", SOCKET])?;
        }
        if !before.socket.is_active() {
            undo.started.push(SOCKET);
        }
        self.listen(&mut steps)?;
        let outdated = holder(self.config)
            .is_some_and(|h| h.started == Started::Systemd && h.version != crate::VERSION);
        if before.service.is_active() && !sockets_changed && (changed || outdated) {
            self.order(&["restart", SERVICE])?;
            steps.push(Step::done(format!("Restarted {SERVICE}; no message is lost.")));
        }
        Ok(steps)
    }

    /// Writes the units that are missing or have another text. Returns whether a socket unit changed.
    fn write(&self, undo: &mut Undo, steps: &mut Vec<Step>) -> Result<bool, ServiceError> {
        let program = lasting_path(self.environment().search_path())
            .map_err(ServiceError::file("this program", Path::new("claude-peers")))?;
        let texts = units::texts(&program).map_err(|error| {
            ServiceError::refused(
                error.to_string(),
                "Install claude-peers at a path that has only letters, digits, `.`, `_`, `-` and `/`.",
            )
        })?;
        let directory = &self.places.own;
        std::fs::create_dir_all(directory)
            .map_err(ServiceError::file("the directory of units", directory))?;
        let mut sockets_changed = false;
        for (name, text) in texts {
            let path = directory.join(name);
            let file = |path: &Path| ServiceError::file("the unit", path);
            // Only the TCP socket can be masked here: install refuses if another unit is.
            if matches!(units::found(&path), units::Found::Masked(_)) {
                steps.push(Step::note(format!("{name} is masked, and stays so.")));
                continue;
            }
            let former = units::read(&path).map_err(file(&path))?;
            if former.as_ref() == Some(&text) {
                steps.push(Step::note(format!("{} is there.", path.display())));
                continue;
            }
            if former.is_some() && !units::is_ours(&path) {
                return Err(ServiceError::refused(
                    format!("{} was not written by claude-peers", path.display()),
                    "Move it away, or use the units that it belongs to.",
                ));
            }
            let verb = if former.is_some() { "Rewrote" } else { "Wrote" };
            undo.files.push((path.clone(), former));
            if name == SERVICE {
                place_service(&program, text).map_err(file(&path))?;
            } else {
                std::fs::write(&path, text).map_err(file(&path))?;
                sockets_changed = true;
            }
            steps.push(Step::done(format!("{verb} {}.", path.display())));
        }
        Ok(sockets_changed)
    }

    /// Removes our own units if a package has installed its units: ours would hide them.
    fn remove_own(&self, undo: &mut Undo, steps: &mut Vec<Step>) -> Result<bool, ServiceError> {
        for path in self.places.written() {
            let file = |error| ServiceError::file("the unit", &path)(error);
            let text = units::read(&path).map_err(file)?;
            std::fs::remove_file(&path).map_err(file)?;
            steps.push(Step::done(format!("Removed {}, which hid it.", path.display())));
            undo.files.push((path, text));
        }
        Ok(!undo.files.is_empty())
    }

    /// Reverts what a failed `install` did. A failure in here is ignored: the first failure is the
    /// one to report.
    pub(super) fn take_back(&self, undo: &Undo) {
        for (order, names) in [("stop", &undo.started), ("disable", &undo.enabled)] {
            for name in names {
                let _ = self.order(&[order, name]);
            }
        }
        for (path, former) in &undo.files {
            let _ = match former {
                Some(text) => std::fs::write(path, text),
                None => std::fs::remove_file(path),
            };
        }
        self.remove_empty_directories();
        if !undo.files.is_empty() {
            let _ = self.order(&["daemon-reload"]);
        }
    }

    pub(super) fn remove_empty_directories(&self) {
        for directory in self.places.own.ancestors().take(2) {
            // An error means that the directory is not empty, or not there.
            let _ = std::fs::remove_dir(directory);
        }
    }
}

/// Writes the service's unit with the crate `service-manager`, verbatim. The label must not contain
/// dots: the crate drops what stands before the first.
fn place_service(program: &Path, text: String) -> std::io::Result<()> {
    SystemdServiceManager::user().install(service_manager::ServiceInstallCtx {
        label: "claude-peers".parse()?,
        program: program.to_owned(),
        args: vec!["broker".into()],
        contents: Some(text),
        username: None,
        working_directory: None,
        environment: None,
        // The sockets are enabled instead, and the crate does not know sockets.
        autostart: false,
        restart_policy: service_manager::RestartPolicy::Never,
    })
}
