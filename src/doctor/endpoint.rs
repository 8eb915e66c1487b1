//! The Unix socket: its state before the first call, and the process that listens now.

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
        // No fix that ends or removes something: the broker may be in order.
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
                    format!("the socket {shown} has no listener, but {} has its lock", broker.described()),
                )
                .detail(ELSEWHERE_HINT),
            );
        }
        (SocketState::Nothing | SocketState::Stale, Some(broker)) => findings.push(
            Finding::failure(CHECK, format!("the socket {shown} has no listener, although the broker is running"))
                .detail(format!(
                    "the socket file of process {} was removed or replaced, so new sessions cannot reach the broker",
                    broker.pid
                ))
                .fix(again(snapshot)),
        ),
        (SocketState::Nothing | SocketState::Stale, None) => findings.push(stale(snapshot)),
        (SocketState::Other, broker) => {
            let rename = rename_command(path);
            // The listener has lost its path.
            let lost = broker.is_some() || is_listening(snapshot);
            findings.push(
                Finding::failure(CHECK, format!("{shown} is not a socket"))
                    .detail("another file is in the place of the broker's socket")
                    .fix(if lost { format!("{rename}; {}", again(snapshot)) } else { rename }),
            );
        }
    }
    findings.extend(now(snapshot));
    findings
}

/// Whether systemd reports that it listens.
fn is_listening(snapshot: &Snapshot) -> bool {
    snapshot.unit(SOCKET).is_some_and(Unit::is_active)
}

/// Returns the command that opens the socket again.
fn again(snapshot: &Snapshot) -> String {
    if is_listening(snapshot) {
        units::listen_again(snapshot)
    } else {
        "claude-peers kill-broker; claude-peers peers".to_owned()
    }
}

/// Reports a socket file without a listener. A round trip that found a broker has replaced it.
fn stale(snapshot: &Snapshot) -> Finding {
    let shown = snapshot.config.paths.socket.display();
    if is_listening(snapshot) {
        return Finding::warning(CHECK, format!("the socket {shown} is stale: systemd does not listen on it"))
            .detail("the socket file was removed or replaced, so connections do not reach systemd; clients start a broker instead")
            .fix(units::listen_again(snapshot));
    }
    let finding =
        Finding::warning(CHECK, format!("the socket {shown} was stale: it had no listener"));
    let left = "a broker that was killed has left it behind";
    let finding = match &snapshot.running {
        BrokerState::Answers { .. } => {
            finding.detail(format!("{left}; the broker that this check started has replaced it"))
        }
        _ => finding.detail(format!("{left}; the next client replaces it")),
    };
    // Harmless if it is replaced already. Removing the file might remove a new socket.
    finding.fix("claude-peers peers")
}

fn now(snapshot: &Snapshot) -> Option<Finding> {
    let path = &snapshot.config.paths.socket;
    let shown = path.display();
    let owner = socket_owner::unix(path).filter(|owner| !owner.processes.is_empty());
    let held = match (&snapshot.broker, owner) {
        (Some(_), Some(owner)) => format!("{shown} is held by {owner}"),
        (Some(broker), None) => format!("{shown} is held by the broker ({})", broker.described()),
        // A service manager listens for a broker that does not start: the round trip reports why.
        (None, Some(owner)) if snapshot.unit(SOCKET).is_none() => {
            return Some(
                Finding::failure(
                    CHECK,
                    format!("{shown} is held by {owner}, and no broker is running"),
                )
                .detail("that process is neither a claude-peers broker nor the service manager"),
            );
        }
        (None, _) => return None,
    };
    Some(Finding::ok(CHECK, held))
}
