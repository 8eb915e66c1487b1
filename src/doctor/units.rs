//! The service manager's units: installed, startable, started.

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
                Finding::ok(CHECK, "these settings name a broker that clients start themselves")
                    .detail(format!("the installed units serve {}", served.display())),
            ];
        }
        UnitsState::NoManager => {
            return vec![Finding::ok(
                CHECK,
                "no service manager runs for this user: clients start the broker themselves",
            )];
        }
        UnitsState::Unknown(problem) => {
            return vec![
                Finding::warning(CHECK, "systemd cannot be asked")
                    .detail(problem.clone())
                    .fix("systemctl --user status"),
            ];
        }
        UnitsState::Known(units) => units,
    };
    if !units.iter().any(Unit::exists) {
        return vec![
            Finding::ok(CHECK, "not installed: clients start the broker themselves")
                .detail("`claude-peers service install` lets systemd start and watch it"),
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

/// Where the manager is not systemd, as it tells itself.
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
        State::Running => finding(Level::Ok, "the broker runs"),
        State::Ready => {
            finding(Level::Ok, "it listens, and starts the broker on the first connection")
        }
        State::NotInstalled => {
            finding(Level::Ok, "not installed: clients start the broker themselves")
        }
        State::Stopped => finding(Level::Warning, "installed, and does not listen")
            .fix("claude-peers service start"),
        State::Masked => {
            finding(Level::Warning, "somebody has forbidden it").fix("claude-peers service install")
        }
        State::Failed => finding(Level::Failure, "it failed").fix("claude-peers service restart"),
    }
}

fn states(units: &[Unit]) -> String {
    let one = |unit: &Unit| format!("{} {} ({})", unit.id, unit.active_state, unit.sub_state);
    units.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Half an installation.
fn missing(snapshot: &Snapshot, units: &[Unit]) -> Option<Finding> {
    let names: Vec<&str> =
        units.iter().filter(|unit| !unit.exists()).map(|unit| unit.id.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    // What we did not write is in the way of what we would.
    let mut steps: Vec<String> =
        Places::new(&snapshot.config).foreign().iter().map(|file| rename_command(file)).collect();
    steps.push("claude-peers service install".to_owned());
    Some(
        Finding::failure(CHECK, format!("{} is not installed", names.join(" and ")))
            .detail("the units belong together")
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
    let detail = if names == [TCP_SOCKET] {
        "the broker keeps away from the port, and only scripts that call over TCP miss it; leave it if that is what you want"
    } else {
        "clients start the broker themselves; nobody watches it"
    };
    Some(
        Finding::warning(
            CHECK,
            format!("{} is masked, so systemd may not start it", names.join(" and ")),
        )
        .detail(detail)
        .fix(steps.join(" && ")),
    )
}

/// A mask is a link to /dev/null, and who may remove it depends on where it lies.
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

/// Makes systemd listen anew, past whatever stands in the way: a fallback broker that has path and
/// port (be it the one of this very examination), sockets that lost their file, and units that the
/// manager has given up.
pub fn listen_again(snapshot: &Snapshot) -> String {
    let failed: Vec<&str> = match &snapshot.units {
        UnitsState::Known(units) => failures(units).map(|unit| unit.id.as_str()).collect(),
        _ => Vec::new(),
    };
    let mut steps = vec![
        "claude-peers kill-broker".to_owned(),
        // A socket is not started while its service runs.
        format!("systemctl --user --quiet stop {SERVICE} {SOCKET} {TCP_SOCKET}"),
    ];
    if !failed.is_empty() {
        steps.push(format!("systemctl --user reset-failed {}", failed.join(" ")));
    }
    // The service asks for the TCP socket when it starts, and goes on without it if it must.
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
    // A port that somebody else has is the port's business.
    if failed.len() == 1 && first.id == TCP_SOCKET {
        return None;
    }
    let named = failed.iter().map(|unit| why(unit)).collect::<Vec<_>>().join(", ");
    let limit = failed.iter().any(|unit| unit.result.contains("limit"));
    let finding = if limit {
        Finding::failure(CHECK, format!("the start limit was reached: {named}"))
            .detail(format!("it was started too often in a short time; `journalctl --user -n 30 -u {SERVICE}` tells why it ended; clients start the broker themselves meanwhile"))
    } else {
        Finding::failure(CHECK, format!("failed: {named}"))
            .detail(format!("`journalctl --user -n 30 -u {SERVICE}` tells why; clients start the broker themselves meanwhile"))
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
            format!("{} changed on disk since systemd read it", changed.join(" and ")),
        )
        .fix("systemctl --user daemon-reload"),
    )
}

/// Installed, allowed, and not started. Whoever calls starts it, and the round trip has.
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
            format!("{SOCKET} was not started; this examination did it"),
        ));
    }
    let finding = Finding::warning(CHECK, format!("{SOCKET} is installed and not started"));
    Some(if socket.is_enabled() {
        finding
            .detail("clients start the broker themselves; nobody watches it")
            .fix(listen_again(snapshot))
    } else {
        finding
            .detail("it is disabled, so it will not be there after the next login either")
            .fix(format!("systemctl --user enable {SOCKET} && {}", listen_again(snapshot)))
    })
}

/// systemd listens, and a broker that it does not know serves.
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
        .detail("systemd listens, but does not watch it")
        .fix(listen_again(snapshot)),
    )
}
