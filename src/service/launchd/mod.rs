//! The user's agents under launchd: a property list in `~/Library/LaunchAgents`, loaded by
//! `launchctl bootstrap`, removed by `bootout`.
//!
//! This code compiles and is tested on every system; only launchctl itself needs macOS.

mod launchctl;
mod on_demand;
pub mod plist;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::config::Config;
use crate::endpoint::socket::holder;
use crate::protocol::health::Started;
use crate::service::error::{ServiceError, Unavailable};
use crate::service::manager::{COMES_BACK, Logs, Manager, State, Status, Step, UnitStatus};
use crate::service::{fallback, logs};
use crate::sys::files::{LockFile, private_directory};
use crate::sys::self_exe::lasting_path;
use launchctl::{Job, Launchctl};
use plist::{Agent, SessionType, label};

/// launchd, for the agent of these settings.
pub struct Launchd<'a> {
    config: &'a Config,
    label: String,
    /// `~/Library/LaunchAgents/LABEL.plist`
    file: PathBuf,
    launchctl: Launchctl,
}

impl<'a> Launchd<'a> {
    #[must_use]
    pub fn new(config: &'a Config) -> Self {
        Self::with(config, Launchctl::default())
    }

    fn with(config: &'a Config, launchctl: Launchctl) -> Self {
        let label = label(config.port);
        let file = config.paths.home.join("Library/LaunchAgents").join(format!("{label}.plist"));
        Self { config, label, file, launchctl }
    }

    /// Returns the property list that `install` writes.
    ///
    /// # Errors
    ///
    /// If a path cannot be expressed in a property list.
    pub fn property_list(&self) -> Result<String, ServiceError> {
        let program = lasting_path(self.config.environment.search_path())
            .map_err(ServiceError::file("this program", Path::new("claude-peers")))?;
        // If launchd cannot be asked, the usual session.
        let session = self.launchctl.session_type().unwrap_or(SessionType::Aqua);
        Agent::new(self.config, program)
            .and_then(|agent| Agent { session, ..agent }.property_list())
            .map_err(|error| {
                ServiceError::refused(
                    error.to_string(),
                    "Use a path that has only letters, digits, `.`, `_`, `-` and `/`.",
                )
            })
    }

    /// Returns the content of the file at our property list's path, if there is one.
    fn written(&self) -> Result<Option<String>, ServiceError> {
        match std::fs::read_to_string(&self.file) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ServiceError::file("the property list", &self.file)(error)),
        }
    }

    fn write(&self, text: &str) -> Result<(), ServiceError> {
        let directory = self.file.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory)
            .map_err(ServiceError::file("the directory of agents", directory))?;
        crate::sys::files::write_private(&self.file, text)
            .map_err(ServiceError::file("the property list", &self.file))
    }

    /// Makes the directories of socket and log, which launchd does not.
    fn make_directories(&self) -> Result<(), ServiceError> {
        let paths = &self.config.paths;
        for directory in [paths.runtime(), paths.state(), paths.logs()] {
            private_directory(directory).map_err(ServiceError::file("the directory", directory))?;
        }
        Ok(())
    }

    fn require_session(&self) -> Result<(), ServiceError> {
        if self.launchctl.has_session()? {
            return Ok(());
        }
        Err(ServiceError::refused(
            "this user has neither a graphical nor a background session of launchd, in which an agent could run",
            "Log in at the screen or by ssh and run this again. Until then sessions start the broker \
             themselves.",
        ))
    }

    fn installed(&self) -> Result<Option<Job>, ServiceError> {
        if self.written()?.is_none() {
            return Err(ServiceError::refused(
                "the service is not installed",
                "Install it with `claude-peers service install`.",
            ));
        }
        self.require_session()?;
        Ok(self.launchctl.job(&self.label)?)
    }

    /// Loads the agent, under the spawn lock so that no client starts a broker meanwhile.
    ///
    /// A fallback broker is stopped first, because launchd does not retry a port that is in use.
    fn load(&self, steps: &mut Vec<Step>) -> Result<(), ServiceError> {
        let lock = &self.config.paths.spawn_lock;
        let _lock = LockFile::take(lock).map_err(ServiceError::file("the lock file", lock))?;
        fallback::end(self.config, steps);
        self.launchctl.load(&self.label, &self.file)?;
        steps.push(Step::done(format!(
            "Loaded {}: launchd listens on {} and 127.0.0.1:{}.",
            self.label,
            self.config.paths.socket.display(),
            self.config.port
        )));
        Ok(())
    }

    /// Changes launchd from the loaded state to the wanted one.
    fn set_up(
        &self,
        text: &str,
        former: Option<&str>,
        job: Option<&Job>,
    ) -> Result<Vec<Step>, ServiceError> {
        let mut steps = Vec::new();
        let same = former == Some(text);
        if same {
            steps.push(Step::note(format!("{} is there.", self.file.display())));
        } else {
            self.write(text)?;
            let verb = if former.is_some() { "Rewrote" } else { "Wrote" };
            steps.push(Step::done(format!("{verb} {}.", self.file.display())));
        }
        match job {
            Some(_) if same => {
                steps.push(Step::note(format!("{} is loaded.", self.label)));
                let outdated = holder(self.config)
                    .is_some_and(|h| h.started == Started::Launchd && h.version != crate::VERSION);
                if outdated {
                    self.launchctl.restart(&self.label)?;
                    steps.push(Step::done("Restarted the broker; no message is lost."));
                }
            }
            Some(_) => {
                self.launchctl.unload(&self.label)?;
                self.load(&mut steps)?;
            }
            None => self.load(&mut steps)?,
        }
        Ok(steps)
    }

    /// Reverts what a failed `install` did. A failure in here is ignored: the first failure is the
    /// one to report.
    fn take_back(&self, former: Option<&str>, was_loaded: bool) {
        let _ = self.launchctl.unload(&self.label);
        let _ = match former {
            Some(text) => self.write(text),
            None => std::fs::remove_file(&self.file)
                .map_err(ServiceError::file("the property list", &self.file)),
        };
        if was_loaded {
            let _ = self.launchctl.load(&self.label, &self.file);
        }
    }
}

impl Manager for Launchd<'_> {
    fn install(&self) -> Result<Vec<Step>, ServiceError> {
        self.require_session()?;
        let text = self.property_list()?;
        let former = self.written()?;
        if former.as_deref().is_some_and(|text| !plist::is_ours(text)) {
            return Err(ServiceError::refused(
                format!("{} was not written by claude-peers", self.file.display()),
                "Move it away, or use the agent that it describes.",
            ));
        }
        let job = self.launchctl.job(&self.label)?;
        self.make_directories()?;
        self.set_up(&text, former.as_deref(), job.as_ref()).map_err(|error| {
            self.take_back(former.as_deref(), job.is_some());
            ServiceError::Undone(Box::new(error))
        })
    }

    fn uninstall(&self) -> Result<Vec<Step>, ServiceError> {
        let written = self.written()?;
        if written.as_deref().is_some_and(|text| !plist::is_ours(text)) {
            return Ok(vec![Step::note(format!(
                "{} was not written by claude-peers, so it and its agent stay. Remove it \
                 with the program that wrote it.",
                self.file.display()
            ))]);
        }
        let mut steps = Vec::new();
        if self.launchctl.job(&self.label)?.is_some() {
            self.launchctl.unload(&self.label)?;
            steps.push(Step::done("Stopped the broker and closed its sockets."));
        }
        if written.is_some() {
            std::fs::remove_file(&self.file)
                .map_err(ServiceError::file("the property list", &self.file))?;
            steps.push(Step::done(format!("Removed {}.", self.file.display())));
        }
        if steps.is_empty() {
            steps.push(Step::note("The service is not installed."));
        }
        Ok(steps)
    }

    fn start(&self) -> Result<Vec<Step>, ServiceError> {
        let mut steps = Vec::new();
        if self.installed()?.is_some() {
            steps.push(Step::note(format!("{} is loaded: launchd listens.", self.label)));
        } else {
            self.make_directories()?;
            self.load(&mut steps)?;
        }
        Ok(steps)
    }

    fn stop(&self) -> Result<Vec<Step>, ServiceError> {
        if self.installed()?.is_none() {
            return Ok(vec![Step::note("The service is stopped.")]);
        }
        self.launchctl.unload(&self.label)?;
        Ok(vec![
            Step::done("Stopped the broker and closed its sockets. Nothing is lost."),
            Step::note(COMES_BACK),
        ])
    }

    fn restart(&self) -> Result<Vec<Step>, ServiceError> {
        if self.installed()?.is_none() {
            return self.start();
        }
        self.launchctl.restart(&self.label)?;
        Ok(vec![Step::done("Restarted the broker; no message is lost.")])
    }

    fn status(&self) -> Result<Status, ServiceError> {
        let text = self.written()?;
        let job = self.launchctl.job(&self.label)?;
        let state = match (&text, &job) {
            (_, Some(job)) if job.pid.is_some() => State::Running,
            (_, Some(_)) => State::Ready,
            (Some(_), None) => State::Stopped,
            (None, None) => State::NotInstalled,
        };
        let units = match state {
            State::NotInstalled => Vec::new(),
            _ => vec![UnitStatus {
                name: self.label.clone(),
                file: if text.is_some() { "installed" } else { "missing" }.to_owned(),
                active: job.as_ref().map_or("not loaded", |job| &job.state).to_owned(),
                process: job.as_ref().and_then(|job| job.pid),
                says: String::new(),
            }],
        };
        Ok(Status {
            manager: "launchd",
            state,
            directory: text.as_ref().and_then(|_| self.file.parent().map(Path::to_owned)),
            packaged: false,
            units,
            problems: problems(text.as_deref(), job.as_ref(), self.config),
        })
    }

    fn logs(&self, wanted: &Logs) -> Result<Command, ServiceError> {
        logs::command(wanted, &self.config.paths.log, false)
    }

    fn availability(&self) -> Result<(), Unavailable> {
        self.check_availability()
    }

    fn start_on_demand(&self) -> Result<(), Unavailable> {
        self.load_on_demand()
    }

    fn crash_loop(&self) -> Option<Unavailable> {
        self.failed_start()
    }

    fn disable(&self, _: &Unavailable) {
        self.unload();
    }
}

/// Returns the agent's problems, each with its fix.
fn problems(text: Option<&str>, job: Option<&Job>, config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    if let Some(code) = job.and_then(|job| job.failure.as_ref()) {
        problems.push(format!(
            "The broker failed when it last ran (exit code {code}). `claude-peers \
             service logs` says why."
        ));
    }
    match text {
        Some(text) if !plist::serves(text, &config.paths.socket) => problems.push(format!(
            "Your settings name the socket {}, but the agent listens on a different one. \
             `claude-peers service install` corrects it.",
            config.paths.socket.display()
        )),
        None if job.is_some() => problems.push(
            "The agent is loaded, but its property list is gone. `claude-peers service install` \
             writes the list again, `claude-peers service uninstall` unloads the agent."
                .to_owned(),
        ),
        _ => {}
    }
    problems
}

#[cfg(test)]
mod tests;
