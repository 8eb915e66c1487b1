//! The Unix socket: what was there before the first call, and who listens now.

use crate::doctor::permissions::away;
use crate::doctor::snapshot::{AtPath, Running, Scene};
use crate::doctor::{Finding, units};
use crate::endpoint::broker_lock::{ELSEWHERE_HINT, Whereabouts, unknown_hint};
use crate::service::systemd::{SOCKET, Unit};
use crate::sys::socket_owner;

const CHECK: &str = "socket";

pub fn check(scene: &Scene) -> Vec<Finding> {
    let path = &scene.config.paths.socket;
    let shown = path.display();
    let mut findings = Vec::new();
    match (scene.at_path, &scene.broker_before) {
        (AtPath::Listener, _) => {}
        // No advice that ends or removes anything: nothing is known to be wrong with the broker.
        (AtPath::Unknown(error), _) => findings.push(
            Finding::failure(CHECK, format!("{shown} cannot be reached from here: {error}"))
                .detail(unknown_hint(error, path)),
        ),
        (AtPath::Nothing, None) if !is_listening(scene) => {}
        (AtPath::Nothing | AtPath::Stale, Some(broker))
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
        (AtPath::Nothing | AtPath::Stale, Some(broker)) => findings.push(
            Finding::failure(CHECK, format!("{shown} leads nowhere, though the broker runs"))
                .detail(format!(
                    "process {} lost its socket: the file was removed or replaced; sessions that start now cannot reach it",
                    broker.pid
                ))
                .mend(again(scene)),
        ),
        (AtPath::Nothing | AtPath::Stale, None) => findings.push(stale(scene)),
        (AtPath::Other, broker) => {
            let away = away(path);
            // Whoever listens had the path before, and lost it.
            let lost = broker.is_some() || is_listening(scene);
            findings.push(
                Finding::failure(CHECK, format!("{shown} is no socket"))
                    .detail("something else lies where the broker's socket belongs")
                    .mend(if lost { format!("{away}; {}", again(scene)) } else { away }),
            );
        }
    }
    findings.extend(now(scene));
    findings
}

/// Whether systemd takes itself for the one who listens.
fn is_listening(scene: &Scene) -> bool {
    scene.unit(SOCKET).is_some_and(Unit::is_active)
}

fn again(scene: &Scene) -> String {
    if is_listening(scene) {
        units::listen_again(scene)
    } else {
        "claude-peers kill-broker; claude-peers peers".to_owned()
    }
}

/// Nobody listened when we came. A round trip that found a broker has mended it by itself.
fn stale(scene: &Scene) -> Finding {
    let shown = scene.config.paths.socket.display();
    if is_listening(scene) {
        return Finding::warning(CHECK, format!("{shown} is stale: it does not lead to systemd's socket"))
            .detail("its file was removed or replaced, so systemd hears nothing; a client starts a broker instead")
            .mend(units::listen_again(scene));
    }
    let finding = Finding::warning(CHECK, format!("{shown} was stale: nobody listened there"));
    let left = "a broker that was killed left it";
    let finding = match &scene.running {
        Running::Answers { .. } => {
            finding.detail(format!("{left}; the broker that this examination started replaced it"))
        }
        _ => finding.detail(format!("{left}; the next client replaces it")),
    };
    // Harmless if it is mended already, unlike removing what may be a new socket by now.
    finding.mend("claude-peers peers")
}

fn now(scene: &Scene) -> Option<Finding> {
    let path = &scene.config.paths.socket;
    let shown = path.display();
    let owner = socket_owner::unix(path).filter(|owner| !owner.processes.is_empty());
    let held = match (&scene.broker, owner) {
        (Some(_), Some(owner)) => format!("{shown} is held by {owner}"),
        (Some(broker), None) => format!("{shown} is held by the broker ({})", broker.described()),
        // A service manager listens for a broker that does not start: the round trip says why.
        (None, Some(owner)) if scene.unit(SOCKET).is_none() => {
            return Some(
                Finding::failure(CHECK, format!("{shown} is held by {owner}, and no broker runs"))
                    .detail("whoever listens there is neither a broker nor the service manager"),
            );
        }
        (None, _) => return None,
    };
    Some(Finding::ok(CHECK, held))
}
