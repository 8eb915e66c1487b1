//! systemd's user manager as a [`Manager`].
//!
//! Units of an installed package are used as they are; none of ours are added to them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::service::error::{ManagerError, ServiceError, Unavailable};
use crate::service::logs;
use crate::service::manager::{COMES_BACK, Logs, Manager, State, Status, Step};
use crate::service::systemd::install::Undo;
use crate::service::systemd::listen::Systemd;
use crate::service::systemd::state::{Units, problems, unit_status};
use crate::service::systemd::units::Found;
use crate::service::systemd::{SERVICE, SOCKET, TCP_SOCKET, manager_runs, on_demand, settings};

/// The limits of an order, one line each. The help of `stop` says how to disable a package's units.
const PACKAGE_COMES_BACK: &str =
    "The next session starts them again; to prevent that, see: claude-peers service stop --help";
const PACKAGE_STAYS: &str = "The package's units stay, and sessions start them; to remove them: sudo apt remove claude-peers";
const OTHERS_STAY: &str =
    "Units that another program installed stay; to remove them, uninstall that program";

/// Returns whether only journalctl can show what is wanted.
fn asks_journal(wanted: &Logs) -> bool {
    wanted.since.is_some() || !wanted.more.is_empty()
}

/// Reports unit files of our names that another program wrote: they stay, and keep working.
fn left_alone(foreign: &[PathBuf]) -> Step {
    let names: Vec<String> = foreign.iter().map(|path| path.display().to_string()).collect();
    let (was, it) = if names.len() == 1 { ("was", "it stays") } else { ("were", "they stay") };
    Step::note(format!(
        "{} {was} not written by `claude-peers service install`, so {it}.",
        names.join(" and ")
    ))
}

/// Returns whether a directory of units belongs to the system and not to a user.
fn is_of_the_system(directory: &Path) -> bool {
    ["/usr", "/lib", "/etc", "/run"].iter().any(|root| directory.starts_with(root))
}

/// Refuses if a unit is masked: a mask is a person's decision, and is not reverted here.
fn refuse_masked(units: &Units) -> Result<(), ServiceError> {
    match [&units.socket, &units.service].into_iter().find(|unit| unit.is_masked()) {
        None => Ok(()),
        Some(unit) => Err(ServiceError::refused(
            format!("{} is masked", unit.id),
            match &unit.fragment {
                Some(path) if path.starts_with("/etc") => format!(
                    "It is masked for all users; an administrator can unmask it: `sudo systemctl \
                     --global unmask {}`. Until then sessions start the broker themselves.",
                    unit.id
                ),
                _ => format!(
                    "Unmask it with `systemctl --user unmask {}`. Until then sessions start the \
                     broker themselves.",
                    unit.id
                ),
            },
        )),
    }
}

impl Systemd<'_> {
    fn require_manager(&self) -> Result<(), ServiceError> {
        if manager_runs(self.environment()) {
            return Ok(());
        }
        if !Path::new("/run/systemd/system").is_dir() {
            return Err(ManagerError::NoManager.into());
        }
        Err(ServiceError::refused(
            "systemd runs here, but no manager for this user",
            "Log in as this user (by ssh, at the console, or `machinectl shell`): `su` and `sudo` do \
             not start one. To have one without a login: `loginctl enable-linger`.",
        ))
    }

    fn require_installed(&self) -> Result<(), ServiceError> {
        self.require_manager()?;
        let units = Units::load(self.environment())?;
        refuse_masked(&units)?;
        if units.socket.exists() {
            return Ok(());
        }
        Err(ServiceError::refused(
            "the service is not installed",
            "Install it with `claude-peers service install`.",
        ))
    }
}

impl Manager for Systemd<'_> {
    fn install(&self) -> Result<Vec<Step>, ServiceError> {
        self.require_manager()?;
        let service = settings::of_service(self.environment())?;
        settings::check(self.config, &service)?;
        if self.places.packaged().is_none() {
            settings::check_place(self.config, &service, "install")?;
        }
        let before = Units::load(self.environment())?;
        refuse_masked(&before)?;
        let mut undo = Undo::default();
        let mut steps = self.set_up(&before, &mut undo).map_err(|error| {
            self.take_back(&undo);
            ServiceError::Undone(Box::new(error))
        })?;
        steps.extend(settings::unseen(self.config, &service).map(Step::note));
        Ok(steps)
    }

    fn uninstall(&self) -> Result<Vec<Step>, ServiceError> {
        let written = self.places.written();
        let links = self.places.links();
        let foreign = self.places.foreign();
        if written.is_empty() && !foreign.is_empty() {
            return Ok(vec![left_alone(&foreign)]);
        }
        let runs = manager_runs(self.environment());
        let mut steps = Vec::new();
        if written.is_empty() && links.is_empty() {
            self.require_manager()?;
        }
        let packaged = self.places.packaged();
        // The manager keeps running units whose files were removed.
        let units = if runs { Some(Units::load(self.environment())?) } else { None };
        let is_active = units.is_some_and(|units| units.all().iter().any(|unit| unit.is_active()));
        if written.is_empty()
            && packaged.is_none()
            && let Some(Ok(service)) = runs.then(|| settings::of_service(self.environment()))
        {
            settings::check_place(self.config, &service, "uninstall")?;
        }
        let nothing = written.is_empty() && links.is_empty() && !is_active;
        if nothing && packaged.is_none() {
            return Ok(vec![Step::note("The service is not installed.")]);
        }
        if is_active {
            self.order(&["stop", SOCKET, TCP_SOCKET, SERVICE])?;
            steps.push(Step::done("Stopped the broker and closed its sockets."));
        }
        for link in &links {
            // Removed directly, because that also works without a manager.
            std::fs::remove_file(link).map_err(ServiceError::file("the link", link))?;
            let name = link.file_name().unwrap_or_default().display();
            steps.push(Step::done(format!("Disabled {name}.")));
        }
        let _ = std::fs::remove_dir(self.places.own.join("sockets.target.wants"));
        for path in &written {
            std::fs::remove_file(path).map_err(ServiceError::file("the unit", path))?;
            steps.push(Step::done(format!("Removed {}.", path.display())));
        }
        self.remove_empty_directories();
        if runs {
            self.order(&["daemon-reload"])?;
            // An error means that no unit had failed.
            let _ = self.order(&["reset-failed", SOCKET, TCP_SOCKET, SERVICE]);
        }
        if !foreign.is_empty() {
            steps.push(left_alone(&foreign));
        }
        steps.extend(packaged.map(|directory| {
            let stay = if is_of_the_system(directory) { PACKAGE_STAYS } else { OTHERS_STAY };
            Step::note(stay)
        }));
        Ok(steps)
    }

    fn start(&self) -> Result<Vec<Step>, ServiceError> {
        self.require_installed()?;
        let mut steps = Vec::new();
        self.listen(&mut steps)?;
        Ok(steps)
    }

    fn stop(&self) -> Result<Vec<Step>, ServiceError> {
        self.require_manager()?;
        let units = Units::load(self.environment())?;
        if !units.all().iter().any(|unit| unit.is_active()) {
            return Ok(vec![Step::note("The service is stopped.")]);
        }
        self.order(&["stop", SOCKET, TCP_SOCKET, SERVICE])?;
        Ok(vec![
            Step::done("Stopped the broker and closed its sockets. Nothing is lost."),
            Step::note(if self.places.packaged().is_some() {
                PACKAGE_COMES_BACK
            } else {
                COMES_BACK
            }),
        ])
    }

    fn restart(&self) -> Result<Vec<Step>, ServiceError> {
        self.require_installed()?;
        let mut steps = Vec::new();
        self.listen(&mut steps)?;
        self.order(&["restart", SERVICE])?;
        steps.push(Step::done(format!("Restarted {SERVICE}; no message is lost.")));
        Ok(steps)
    }

    fn status(&self) -> Result<Status, ServiceError> {
        self.require_manager()?;
        let units = Units::load(self.environment())?;
        let state = units.state();
        let directory = match self.places.find(SOCKET) {
            Found::File(path) => path.parent().map(Path::to_owned),
            _ => None,
        };
        let mut problems = problems(&units);
        if state != State::NotInstalled
            && let Err(error) = settings::of_service(self.environment())
                .and_then(|service| settings::check(self.config, &service))
        {
            problems.push(format!("{error}. {}", error.hint()));
        }
        Ok(Status {
            manager: "systemd",
            state,
            packaged: directory.as_deref().is_some_and(|there| there != self.places.own),
            directory,
            units: if state == State::NotInstalled {
                Vec::new()
            } else {
                units.all().map(unit_status).to_vec()
            },
            problems,
        })
    }

    fn logs(&self, wanted: &Logs) -> Result<Command, ServiceError> {
        let file = &self.config.paths.log;
        let journal =
            manager_runs(self.environment()) && (asks_journal(wanted) || !self.logs_to_file());
        logs::command(wanted, file, journal)
    }

    fn log_note(&self, wanted: &Logs) -> Option<String> {
        if !manager_runs(self.environment()) || !self.logs_to_file() {
            return None;
        }
        let file = self.config.paths.log.display();
        Some(if asks_journal(wanted) {
            format!("a session started the broker, whose log is {file}; this is the journal")
        } else {
            format!(
                "a session started the broker, so this is {file}; `journalctl --user -t \
                 claude-peers-mcp` shows the log of the sessions' MCP servers"
            )
        })
    }

    fn availability(&self) -> Result<(), Unavailable> {
        on_demand::availability(self.config)
    }

    fn start_on_demand(&self) -> Result<(), Unavailable> {
        on_demand::start(self.config)
    }

    fn crash_loop(&self) -> Option<Unavailable> {
        on_demand::crash_loop(self.config)
    }

    fn disable(&self, why: &Unavailable) {
        on_demand::disable(self.config, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_order_does_not_do_fits_on_one_line_of_a_terminal() {
        for line in [COMES_BACK, PACKAGE_COMES_BACK, PACKAGE_STAYS, OTHERS_STAY] {
            assert!(line.chars().count() <= 100 && !line.contains('\n'), "{line}");
        }
    }
}
