//! The units of the service manager: whether they are installed, allowed and started.

use std::path::Path;

use crate::config::session_runtime_directory;
use crate::doctor::finding::{Finding, Level};
use crate::doctor::permissions::rename_command;
use crate::doctor::snapshot::{Snapshot, UnitsState};
use crate::endpoint::broker_lock::Whereabouts;
use crate::protocol::health::Started;
use crate::service;
use crate::service::State;
use crate::service::systemd::units::Places;
use crate::service::systemd::{SERVICE, SOCKET, TCP_SOCKET, Unit, show};

const CHECK: &str = "units";

pub fn check(snapshot: &Snapshot) -> Vec<Finding> {
    if !cfg!(target_os = "linux") {
        return vec![agent(snapshot)];
    }
    let units = match &snapshot.units {
        UnitsState::Elsewhere(served) => {
            return vec![
                Finding::ok(CHECK, "with these settings the service is not used: clients start the broker themselves")
                    .detail(format!("the installed units serve the socket {}", served.display())),
            ];
        }
        UnitsState::NoManager => {
            return vec![Finding::ok(
                CHECK,
                "there is no service manager for this user: clients start the broker themselves",
            )];
        }
        UnitsState::Unknown(problem) => {
            return vec![
                Finding::warning(CHECK, "systemd does not answer")
                    .detail(problem.clone())
                    .fix("systemctl --user status"),
            ];
        }
        UnitsState::Known(units) => units,
    };
    if !units.iter().any(Unit::exists) {
        return vec![
            Finding::ok(CHECK, "not installed: clients start the broker themselves")
                .detail("to have systemd start and supervise it: claude-peers service install"),
        ];
    }
    let mut findings = Vec::new();
    findings.extend(missing(snapshot, units));
    findings.extend(masked(snapshot, units));
    findings.extend(failed(snapshot, units));
    findings.extend(changed(units));
    findings.extend(idle(snapshot));
    findings.extend(bypassed(snapshot));
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, states(units)));
    }
    findings
}

/// Checks a manager other than systemd by the state that it reports.
fn agent(snapshot: &Snapshot) -> Finding {
    let status = match service::manager(&snapshot.config).status() {
        Ok(status) => status,
        Err(error) => return Finding::warning(CHECK, error.to_string()).detail(error.hint()),
    };
    let problems = status.problems.join("; ");
    let finding = |level, text: &str| {
        let finding = Finding::new(CHECK, level, format!("{}: {text}", status.manager));
        if problems.is_empty() { finding } else { finding.detail(problems.clone()) }
    };
    match status.state {
        State::Running => finding(Level::Ok, "the broker is running"),
        State::Ready => finding(Level::Ok, "ready, starts the broker on the first connection"),
        State::NotInstalled => {
            finding(Level::Ok, "not installed: clients start the broker themselves")
        }
        State::Stopped => finding(Level::Warning, "installed, but it does not listen")
            .fix("claude-peers service start"),
        State::Masked => {
            finding(Level::Warning, "the service is disabled, by you or an administrator")
                .fix("claude-peers service install")
        }
        State::Failed => {
            finding(Level::Failure, "the service has failed").fix("claude-peers service restart")
        }
    }
}

fn states(units: &[Unit]) -> String {
    let one = |unit: &Unit| format!("{} {} ({})", unit.id, unit.active_state, unit.sub_state);
    units.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Reports units that are missing while others are installed.
fn missing(snapshot: &Snapshot, units: &[Unit]) -> Option<Finding> {
    let names: Vec<&str> =
        units.iter().filter(|unit| !unit.exists()).map(|unit| unit.id.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    // Unit files that `install` did not write would stop it.
    let mut steps: Vec<String> =
        Places::new(&snapshot.config).foreign().iter().map(|file| rename_command(file)).collect();
    steps.push("claude-peers service install".to_owned());
    Some(
        Finding::failure(CHECK, format!("{} is not installed", names.join(" and ")))
            .detail("the units need each other")
            .fix(steps.join(" && ")),
    )
}

fn masked(snapshot: &Snapshot, units: &[Unit]) -> Option<Finding> {
    let masked: Vec<&Unit> = units.iter().filter(|unit| unit.is_masked()).collect();
    if masked.is_empty() {
        return None;
    }
    let names: Vec<&str> = masked.iter().map(|unit| unit.id.as_str()).collect();
    let mut steps: Vec<String> = masked.iter().map(|unit| unmask(snapshot, unit)).collect();
    steps.push(listen_again(snapshot));
    if names == [TCP_SOCKET] {
        // That is how a user closes the port, which matters only to scripts that use TCP.
        let words = format!("{TCP_SOCKET} is masked, as you chose: the port stays closed");
        let detail = format!("to open it again: {}", steps.join(" && "));
        return Some(Finding::ok(CHECK, words).detail(detail));
    }
    let detail = "clients start the broker themselves; it is not supervised";
    Some(
        Finding::warning(
            CHECK,
            format!("{} is masked, so systemd may not start it", names.join(" and ")),
        )
        .detail(detail)
        .fix(steps.join(" && ")),
    )
}

/// Returns the command that removes a mask, a link to /dev/null, from the directory it is in.
fn unmask(snapshot: &Snapshot, unit: &Unit) -> String {
    let id = &unit.id;
    let here = |directory: &Path| {
        std::fs::read_link(directory.join(id)).is_ok_and(|to| to == Path::new("/dev/null"))
    };
    let own = snapshot.config.paths.config_file.ancestors().nth(2).map(|c| c.join("systemd/user"));
    let runtime = session_runtime_directory(&snapshot.config.environment)
        .map(|directory| directory.join("systemd/user"));
    if own.is_some_and(|directory| here(&directory)) {
        return format!("systemctl --user unmask {id}");
    }
    if runtime.is_some_and(|directory| here(&directory)) {
        return format!("systemctl --user --runtime unmask {id}");
    }
    if here(Path::new("/etc/systemd/user")) {
        let command = format!("systemctl --global unmask {id}");
        let command =
            super::shell::as_root(&snapshot.config.environment, &command).unwrap_or(command);
        return format!("{command} && systemctl --user daemon-reload");
    }
    format!("systemctl --user unmask {id}")
}

/// Returns the command that makes systemd listen again, whatever is in the way.
///
/// That may be a fallback broker that has the path and the port (also one that this check started),
/// sockets whose file is gone, or units that have failed.
pub fn listen_again(snapshot: &Snapshot) -> String {
    let failed: Vec<&str> = match &snapshot.units {
        UnitsState::Known(units) => failures(units).map(|unit| unit.id.as_str()).collect(),
        _ => Vec::new(),
    };
    let mut steps = vec![
        "claude-peers kill-broker".to_owned(),
        // systemd does not start a socket while its service runs.
        format!("systemctl --user --quiet stop {SERVICE} {SOCKET} {TCP_SOCKET}"),
    ];
    if !failed.is_empty() {
        steps.push(format!("systemctl --user reset-failed {}", failed.join(" ")));
    }
    // The service starts the TCP socket with itself, and goes on without it if that fails.
    steps.push(format!("systemctl --user start {SOCKET}"));
    steps.push("claude-peers peers".to_owned());
    steps.join(" && ")
}

fn failures(units: &[Unit]) -> impl Iterator<Item = &Unit> {
    units.iter().filter(|unit| unit.active_state == "failed")
}

fn failed(snapshot: &Snapshot, units: &[Unit]) -> Option<Finding> {
    let why = |unit: &Unit| format!("{} ({})", unit.id, unit.result);
    let failed: Vec<&Unit> = failures(units).collect();
    let [first, ..] = failed.as_slice() else { return None };
    // The check of the port reports a port that another process has.
    if failed.len() == 1 && first.id == TCP_SOCKET {
        return None;
    }
    let named = failed.iter().map(|unit| why(unit)).collect::<Vec<_>>().join(", ");
    let limit = failed.iter().any(|unit| unit.result.contains("limit"));
    let finding = if limit {
        Finding::failure(CHECK, format!("the start limit was reached: {named}"))
            .detail(format!("it was started too often in a short time; `journalctl --user -n 30 -u {SERVICE}` shows why it ended; meanwhile clients start the broker themselves"))
    } else {
        Finding::failure(CHECK, format!("failed: {named}"))
            .detail(format!("`journalctl --user -n 30 -u {SERVICE}` shows why; meanwhile clients start the broker themselves"))
    };
    Some(finding.fix(listen_again(snapshot)))
}

fn changed(units: &[Unit]) -> Option<Finding> {
    let changed: Vec<&str> =
        units.iter().filter(|unit| unit.need_reload).map(|unit| unit.id.as_str()).collect();
    if changed.is_empty() {
        return None;
    }
    Some(
        Finding::warning(
            CHECK,
            format!("{} has changed on disk since systemd read it", changed.join(" and ")),
        )
        .fix("systemctl --user daemon-reload"),
    )
}

/// Reports a socket unit that is installed and allowed, but was not started.
///
/// Any client starts it, so the round trip may have done so.
fn idle(snapshot: &Snapshot) -> Option<Finding> {
    let socket = snapshot.unit(SOCKET)?;
    if socket.is_active() || socket.is_masked() || socket.active_state == "failed" {
        return None;
    }
    if socket.is_enabled()
        && show(&snapshot.config.environment, SOCKET).is_ok_and(|now| now.is_active())
    {
        return Some(Finding::ok(
            CHECK,
            format!("{SOCKET} was not started; this check has started it"),
        ));
    }
    let finding = Finding::warning(CHECK, format!("{SOCKET} is installed but not started"));
    Some(if socket.is_enabled() {
        finding
            .detail("clients start the broker themselves; it is not supervised")
            .fix(listen_again(snapshot))
    } else {
        finding
            .detail("it is disabled, so it will not be started at the next login either")
            .fix(format!("systemctl --user enable {SOCKET} && {}", listen_again(snapshot)))
    })
}

/// Reports a fallback broker that serves although systemd listens.
fn bypassed(snapshot: &Snapshot) -> Option<Finding> {
    let socket = snapshot.unit(SOCKET)?;
    let broker = snapshot.broker_before.as_ref()?;
    if !socket.is_active()
        || broker.started != Started::Fallback
        || broker.whereabouts() != Whereabouts::Here
    {
        return None;
    }
    Some(
        Finding::warning(
            CHECK,
            format!(
                "a broker that a client started (process {}) serves instead of {SERVICE}",
                broker.pid
            ),
        )
        .detail("systemd listens, but does not supervise that broker")
        .fix(listen_again(snapshot)),
    )
}
