//! The state of our units as one word, and their problems.

use crate::config::Environment;
use crate::service::error::ManagerError;
use crate::service::manager::{State, UnitStatus};
use crate::service::systemd::{TCP_SOCKET, UNITS, Unit, show_all};

/// The units in the order of [`UNITS`].
pub struct Units {
    pub socket: Unit,
    pub tcp: Unit,
    pub service: Unit,
}

impl Units {
    pub fn load(environment: &Environment) -> Result<Self, ManagerError> {
        let mut units = show_all(environment, &UNITS)?.into_iter();
        let mut next = || units.next().unwrap_or_default();
        Ok(Self { socket: next(), tcp: next(), service: next() })
    }

    pub fn all(&self) -> [&Unit; 3] {
        [&self.socket, &self.tcp, &self.service]
    }

    pub fn state(&self) -> State {
        if self.service.is_masked() || self.socket.is_masked() {
            State::Masked
        } else if self.service.is_active() {
            State::Running
        } else if self.socket.is_active() {
            State::Ready
        } else if !self.socket.exists() {
            State::NotInstalled
        } else if self.service.has_failed() || self.socket.has_failed() {
            State::Failed
        } else {
            State::Stopped
        }
    }
}

pub fn unit_status(unit: &Unit) -> UnitStatus {
    let detail = match unit.active_state.as_str() {
        "failed" => &unit.result,
        _ => &unit.sub_state,
    };
    UnitStatus {
        name: unit.id.clone(),
        file: match unit.unit_file_state.as_str() {
            "" => unit.load_state.clone(),
            state => state.to_owned(),
        },
        active: format!("{} ({detail})", unit.active_state),
        process: (unit.main_pid != 0).then_some(unit.main_pid),
        // The manager keeps the last status text of a service that has ended.
        says: if unit.main_pid == 0 { String::new() } else { unit.status_text.clone() },
    }
}

/// Returns the problems of the units, each with its fix.
pub fn problems(units: &Units) -> Vec<String> {
    let mut problems = Vec::new();
    for unit in units.all() {
        let id = &unit.id;
        if unit.is_masked() && id == TCP_SOCKET {
            // A masked TCP socket is a choice, not a problem.
        } else if unit.is_masked() {
            problems.push(format!("{id} is masked. `systemctl --user unmask {id}` allows it."));
        } else if unit.result.ends_with("start-limit-hit") {
            problems.push(format!(
                "{id} was started too often ({}). `claude-peers service logs` says why it ended, \
                 `claude-peers service start` tries again.",
                unit.result
            ));
        } else if unit.has_failed() && id == TCP_SOCKET {
            problems.push(format!(
                "{id} cannot listen: another program has the port. Sessions do not need it; \
                 `claude-peers doctor` says who has it."
            ));
        } else if unit.has_failed() {
            problems.push(format!(
                "{id} failed ({}). `claude-peers service logs` says why, `claude-peers service \
                 start` tries again.",
                unit.last_words()
            ));
        }
        if unit.need_reload {
            problems.push(format!(
                "{id} has changed on disk. `systemctl --user daemon-reload` reads it anew."
            ));
        }
    }
    problems
}
