//! Calls of launchctl(1): which jobs are loaded, their state, and orders to launchd.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::service::error::ManagerError;
use crate::service::launchd::plist::SessionType;
use crate::sys::files::effective_uid;
use crate::sys::subprocess;
use crate::sys::subprocess::Output;

/// The limit of one call. A restart waits for requests in flight, a few seconds at worst.
const LIMIT: Duration = Duration::from_secs(10);

/// The time that a job may take to end: its `ExitTimeOut` and a little more.
const GONE: Duration = Duration::from_secs(22);

const LOOK: Duration = Duration::from_millis(50);

/// The jobs of this user: those of the graphical session, where agents run, or on a Mac without one
/// those of the user's background session.
#[derive(Debug)]
pub struct Launchctl {
    program: PathBuf,
    /// The domains where jobs can be, the preferred one first.
    domains: [String; 2],
}

/// A loaded job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// `running`, `not running`, `waiting`, …
    pub state: String,
    pub pid: Option<u32>,
    /// How its last process failed: `1`, `9: Killed`, …; `None` if it did not.
    pub failure: Option<String>,
}

impl Default for Launchctl {
    fn default() -> Self {
        Self::new("/bin/launchctl".into())
    }
}

impl Launchctl {
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        let user = effective_uid();
        Self { program, domains: [format!("gui/{user}"), format!("user/{user}")] }
    }

    /// Returns whether this user has a session of either kind. A user who is logged in only by ssh
    /// has no graphical one.
    ///
    /// # Errors
    ///
    /// If launchctl cannot be run. The same holds for all functions below.
    pub fn has_session(&self) -> Result<bool, ManagerError> {
        Ok(self.session()?.is_some())
    }

    /// Returns the kind of session into which an agent would be loaded.
    pub fn session_type(&self) -> Result<SessionType, ManagerError> {
        let background = self.session()? == Some(&self.domains[1]);
        Ok(if background { SessionType::Background } else { SessionType::Aqua })
    }

    /// Returns the domain of this user's session.
    fn session(&self) -> Result<Option<&str>, ManagerError> {
        for domain in &self.domains {
            if self.print(domain)?.is_some() {
                return Ok(Some(domain));
            }
        }
        Ok(None)
    }

    /// Returns the job with this label, if it is loaded.
    pub fn job(&self, label: &str) -> Result<Option<Job>, ManagerError> {
        Ok(self.find(label)?.map(|(_, job)| job))
    }

    /// Returns the job with this label and its domain. A job that was loaded over ssh stays in that
    /// domain when its user logs in at the screen.
    fn find(&self, label: &str) -> Result<Option<(&str, Job)>, ManagerError> {
        for domain in &self.domains {
            if let Some(text) = self.print(&target(domain, label))? {
                return Ok(Some((domain, parse(&text))));
            }
        }
        Ok(None)
    }

    /// Returns the name of the job for launchctl, in the domain where it is or would be loaded.
    fn target(&self, label: &str) -> Result<String, ManagerError> {
        let domain = match self.find(label)? {
            Some((domain, _)) => domain,
            None => self.session()?.unwrap_or(&self.domains[0]),
        };
        Ok(target(domain, label))
    }

    /// Loads a property list. Then launchd listens.
    pub fn load(&self, label: &str, property_list: &Path) -> Result<(), ManagerError> {
        // An earlier `launchctl disable` would make the next call fail.
        let domain = self.session()?.unwrap_or(&self.domains[0]);
        self.order(&["enable", &target(domain, label)])?;
        self.order(&["bootstrap", domain, &property_list.to_string_lossy()])
    }

    /// Ends the job and closes its sockets. Returns once it is gone.
    pub fn unload(&self, label: &str) -> Result<(), ManagerError> {
        let target = self.target(label)?;
        let asked = self.order(&["bootout", &target]);
        // The call can fail because the job is still ending.
        let since = Instant::now();
        while self.job(label)?.is_some() {
            if since.elapsed() > GONE {
                asked?;
                return Err(ManagerError::TimedOut {
                    command: format!("launchctl bootout {target}"),
                    limit: GONE,
                });
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Restarts the job's process. Its sockets stay open.
    pub fn restart(&self, label: &str) -> Result<(), ManagerError> {
        self.order(&["kickstart", "-k", &self.target(label)?])
    }

    /// Returns what launchd prints about a domain or job; `None` if there is none.
    fn print(&self, target: &str) -> Result<Option<String>, ManagerError> {
        let said = self.call(&["print", target])?;
        Ok(said.succeeded().then_some(said.output))
    }

    fn order(&self, arguments: &[&str]) -> Result<(), ManagerError> {
        let said = self.call(arguments)?;
        if said.succeeded() {
            return Ok(());
        }
        Err(ManagerError::Failed { command: described(arguments), message: said.one_line() })
    }

    fn call(&self, arguments: &[&str]) -> Result<Output, ManagerError> {
        let command = || described(arguments);
        subprocess::run(Command::new(&self.program).args(arguments), LIMIT)
            .map_err(|e| ManagerError::Failed { command: command(), message: e.to_string() })?
            .ok_or_else(|| ManagerError::TimedOut { command: command(), limit: LIMIT })
    }
}

fn target(domain: &str, label: &str) -> String {
    format!("{domain}/{label}")
}

fn described(arguments: &[&str]) -> String {
    format!("launchctl {}", arguments.join(" "))
}

/// Parses the output of `launchctl print` for a job.
///
/// Its format is not guaranteed, so a missing value means unknown. The job's own values are indented
/// by one level, those of its sockets by more.
fn parse(text: &str) -> Job {
    let mut job = Job::default();
    for line in text.lines() {
        let Some(line) = line.strip_prefix('\t').filter(|line| !line.starts_with('\t')) else {
            continue;
        };
        match line.split_once(" = ") {
            Some(("state", state)) => state.clone_into(&mut job.state),
            Some(("pid", pid)) => job.pid = pid.parse().ok(),
            Some(("last exit code", code)) if code != "0" && !code.starts_with('(') => {
                job.failure = Some(code.to_owned());
            }
            _ => {}
        }
    }
    job
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_read_from_what_launchctl_prints() {
        let text = "gui/501/claude-peers = {\n\tactive count = 2\n\tstate = running\n\n\
                    \tprogram = /opt/homebrew/bin/claude-peers\n\tpid = 4711\n\
                    \tlast exit code = (never exited)\n\tsockets = {\n\t\tunix = {\n\
                    \t\t\tstate = other\n\t\t}\n\t}\n}\n";
        let running = Job { state: "running".to_owned(), pid: Some(4711), failure: None };
        assert_eq!(parse(text), running);
        let text = "gui/501/claude-peers = {\n\tstate = not running\n\tlast exit code = 78: EX_CONFIG\n}\n";
        let failed = parse(text);
        assert_eq!((failed.pid, failed.failure.as_deref()), (None, Some("78: EX_CONFIG")));
        assert_eq!(parse("\tlast exit code = 0\n").failure, None);
        assert_eq!(parse("words"), Job::default());
    }
}
