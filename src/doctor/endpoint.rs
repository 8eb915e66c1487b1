//! The Unix socket: what was there before the first call, and who listens now.

use crate::doctor::finding::Finding;
use crate::doctor::permissions::rename_command;
use crate::doctor::snapshot::{BrokerState, Snapshot, SocketState};
use crate::doctor::units;
use crate::endpoint::broker_lock::{ELSEWHERE_HINT, Whereabouts, unknown_hint};
use crate::service::systemd::{SOCKET, Unit};
use crate::sys::socket_owner;

const CHECK: &str = "socket";

pub fn check(snapshot: &Snapshot) -> Vec<Finding> {
    let path = &snapshot.config.paths.socket;
    let shown = path.display();
    let mut findings = Vec::new();
    match (snapshot.socket_state, &snapshot.broker_before) {
        (SocketState::Listener, _) => {}
        // No advice that ends or removes anything: nothing is known to be wrong with the broker.
        (SocketState::Unknown(error), _) => findings.push(
            Finding::failure(CHECK, format!("{shown} cannot be reached from here: {error}"))
                .detail(unknown_hint(error, path)),
        ),
        (SocketState::Nothing, None) if !is_listening(snapshot) => {}
        (SocketState::Nothing | SocketState::Stale, Some(broker))
            if broker.whereabouts() != Whereabouts::Here =>
        {
            findings.push(
                Finding::failure(
                    CHECK,
                    format!("{shown} leads nowhere; {} has its lock", broker.described()),
                )
                .detail(ELSEWHERE_HINT),
            );
        }
        (SocketState::Nothing | SocketState::Stale, Some(broker)) => findings.push(
            Finding::failure(CHECK, format!("{shown} leads nowhere, though the broker runs"))
                .detail(format!(
                    "process {} lost its socket: the file was removed or replaced; sessions that start now cannot reach it",
                    broker.pid
                ))
                .fix(again(snapshot)),
        ),
        (SocketState::Nothing | SocketState::Stale, None) => findings.push(stale(snapshot)),
        (SocketState::Other, broker) => {
            let rename = rename_command(path);
            // Whoever listens had the path before, and lost it.
            let lost = broker.is_some() || is_listening(snapshot);
            findings.push(
                Finding::failure(CHECK, format!("{shown} is no socket"))
                    .detail("something else lies where the broker's socket belongs")
                    .fix(if lost { format!("{rename}; {}", again(snapshot)) } else { rename }),
            );
        }
    }
    findings.extend(now(snapshot));
    findings
}

/// Whether systemd takes itself for the one who listens.
fn is_listening(snapshot: &Snapshot) -> bool {
    snapshot.unit(SOCKET).is_some_and(Unit::is_active)
}

fn again(snapshot: &Snapshot) -> String {
    if is_listening(snapshot) {
        units::listen_again(snapshot)
    } else {
        "claude-peers kill-broker; claude-peers peers".to_owned()
    }
}

/// Nobody listened when we came. A round trip that found a broker has fixed it by itself.
fn stale(snapshot: &Snapshot) -> Finding {
    let shown = snapshot.config.paths.socket.display();
    if is_listening(snapshot) {
        return Finding::warning(CHECK, format!("{shown} is stale: it does not lead to systemd's socket"))
            .detail("its file was removed or replaced, so systemd hears nothing; a client starts a broker instead")
            .fix(units::listen_again(snapshot));
    }
    let finding = Finding::warning(CHECK, format!("{shown} was stale: nobody listened there"));
    let left = "a broker that was killed left it";
    let finding = match &snapshot.running {
        BrokerState::Answers { .. } => {
            finding.detail(format!("{left}; the broker that this examination started replaced it"))
        }
        _ => finding.detail(format!("{left}; the next client replaces it")),
    };
    // Harmless if it is fixed already, unlike removing what may be a new socket by now.
    finding.fix("claude-peers peers")
}

fn now(snapshot: &Snapshot) -> Option<Finding> {
    let path = &snapshot.config.paths.socket;
    let shown = path.display();
    let owner = socket_owner::unix(path).filter(|owner| !owner.processes.is_empty());
    let held = match (&snapshot.broker, owner) {
        (Some(_), Some(owner)) => format!("{shown} is held by {owner}"),
        (Some(broker), None) => format!("{shown} is held by the broker ({})", broker.described()),
        // A service manager listens for a broker that does not start: the round trip says why.
        (None, Some(owner)) if snapshot.unit(SOCKET).is_none() => {
            return Some(
                Finding::failure(CHECK, format!("{shown} is held by {owner}, and no broker runs"))
                    .detail("whoever listens there is neither a broker nor the service manager"),
            );
        }
        (None, _) => return None,
    };
    Some(Finding::ok(CHECK, held))
}
