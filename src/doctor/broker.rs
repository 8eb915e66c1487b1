//! The broker that runs: which one, of which version, from which program.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::client::status::ANSWER_TIMEOUT;
use crate::client::{Client, ClientError};
use crate::doctor::finding::Finding;
use crate::doctor::shell;
use crate::doctor::snapshot::{BrokerState, Snapshot, SocketState, runs_here};
use crate::endpoint::broker_lock::{ELSEWHERE_HINT, Whereabouts};
use crate::protocol::PROTOCOL;
use crate::protocol::health::{Detail, Started};
use crate::sys::clock;

const CHECK: &str = "broker";

/// This build.
pub fn this_program() -> Finding {
    let path = std::env::current_exe().map_or_else(|_| "?".to_owned(), |p| p.display().to_string());
    Finding::ok("program", format!("claude-peers {}, protocol {PROTOCOL}, {path}", crate::VERSION))
}

/// Asks the broker, whatever its version and settings. Starts none.
pub async fn query(client: &Client, snapshot: &Snapshot) -> BrokerState {
    match tokio::time::timeout(ANSWER_TIMEOUT, client.look()).await {
        Ok(Ok(health)) => match health.detail {
            Some(detail) => {
                BrokerState::Answers { protocol: health.protocol, detail: Box::new(detail) }
            }
            None => BrokerState::Silent("it tells nothing of itself".to_owned()),
        },
        Err(_) | Ok(Err(ClientError::Silent)) => {
            BrokerState::Silent(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))
        }
        Ok(Err(ClientError::Broken(_))) if snapshot.broker_before.is_none() => {
            BrokerState::NotRunning
        }
        Ok(Err(error)) => BrokerState::Silent(error.to_string()),
    }
}

/// A broker that does something before it can serve: until then nothing else can be said.
pub fn still_opening(snapshot: &Snapshot) -> Option<Finding> {
    let broker = snapshot.broker_before.as_ref()?;
    let what = broker.busy.as_ref()?;
    Some(
        Finding::warning(CHECK, format!("process {} does not serve yet: it is {what}", broker.pid))
            .detail("leave it to it, and run `claude-peers doctor` again once it serves"),
    )
}

pub fn check(snapshot: &Snapshot) -> Vec<Finding> {
    match (&snapshot.running, &snapshot.broker) {
        (BrokerState::Answers { protocol, detail }, _) => {
            let mut findings = vec![version(snapshot, *protocol, detail)];
            findings.extend(moved(detail));
            findings.extend(detail.database_problem.iter().map(|problem| {
                Finding::failure(CHECK, problem.clone())
                    .detail("until it is fixed, messages are refused, and their senders are told")
            }));
            findings.extend(detail.database_note.iter().map(|note| {
                Finding::warning(CHECK, note.clone())
                    .detail("stop the broker (`claude-peers kill-broker`) before its database is removed, moved or replaced")
            }));
            findings
        }
        // That the socket leads nowhere is said there.
        (BrokerState::Silent(_), Some(_)) if snapshot.socket_was_removed() => Vec::new(),
        // And that it cannot be reached from here.
        (BrokerState::Silent(_), Some(_))
            if matches!(snapshot.socket_state, SocketState::Unknown(_)) =>
        {
            Vec::new()
        }
        (BrokerState::Silent(problem), Some(broker))
            if broker.whereabouts() != Whereabouts::Here =>
        {
            vec![
                Finding::failure(
                    CHECK,
                    format!("{} has the lock and does not answer", broker.described()),
                )
                .detail(format!("{problem}. {ELSEWHERE_HINT}")),
            ]
        }
        (BrokerState::Silent(problem), Some(broker)) => vec![
            Finding::failure(CHECK, format!("process {} does not answer", broker.pid))
                .detail(problem.clone())
                .fix(snapshot.restart()),
        ],
        // The round trip says why there is none.
        (BrokerState::Silent(_) | BrokerState::NotRunning, _) => Vec::new(),
    }
}

fn version(snapshot: &Snapshot, protocol: u32, detail: &Detail) -> Finding {
    let how = match detail.started {
        Started::Fallback => "a client started it",
        Started::Systemd => "systemd started it",
        Started::Launchd => "launchd started it",
        Started::Foreground => "somebody started it by hand",
        Started::Unknown => "it was started in a way that this version does not know",
    };
    let running = format!(
        "version {}, protocol {protocol}, process {}, runs for {}; {how}",
        detail.version,
        detail.pid,
        detail.started_at.age(clock::now())
    );
    // The service manager must read what an upgrade may have changed beside the program.
    let fix = if snapshot.is_service() {
        "systemctl --user daemon-reload && systemctl --user restart claude-peers.service"
    } else {
        shell::RESTART
    };
    if protocol < PROTOCOL {
        return Finding::failure(CHECK, format!("an old broker still runs: {running}"))
            .detail(format!("it speaks protocol {protocol}, this program {PROTOCOL}"))
            .fix(fix);
    }
    if detail.version != crate::VERSION {
        if is_newer(&detail.version) {
            return Finding::ok(CHECK, running)
                .detail(format!("it is newer than this program ({})", crate::VERSION));
        }
        return Finding::warning(CHECK, format!("an old broker still runs: {running}"))
            .detail(format!("this program is {}", crate::VERSION))
            .fix(fix);
    }
    if !runs_here(detail) {
        return Finding::ok(CHECK, running).detail("it runs in another container, or elsewhere");
    }
    match program_of(detail.pid) {
        Program::Replaced => {
            Finding::warning(CHECK, format!("an old broker still runs: {running}"))
                .detail("its program was replaced since it started")
                .fix(fix)
        }
        Program::Other(path) => {
            Finding::warning(CHECK, format!("a broker of another build runs: {running}"))
                .detail(format!("its program is {}, and differs from this one", path.display()))
                .fix(fix)
        }
        Program::Same => Finding::ok(CHECK, running),
    }
}

/// A damaged database was moved away: mail is missing until somebody looks at it.
fn moved(detail: &Detail) -> Option<Finding> {
    let moved = detail.database_moved_to.as_ref()?;
    Some(
        Finding::warning(CHECK, "the database was damaged, and a new one serves")
            .detail(format!("what was in it lies in {moved}")),
    )
}

/// Whether a version is later than ours. One that is no version is not.
fn is_newer(version: &str) -> bool {
    let numbers = |text: &str| -> Option<Vec<u64>> {
        text.split(['-', '+']).next()?.split('.').map(|part| part.parse().ok()).collect()
    };
    match (numbers(version), numbers(crate::VERSION)) {
        (Some(theirs), Some(ours)) => theirs > ours,
        _ => false,
    }
}

enum Program {
    Same,
    /// Its file is gone or was replaced.
    Replaced,
    /// Another file with other contents.
    Other(PathBuf),
}

/// The program of a process, compared with ours. Where it cannot be read it counts as the same.
fn program_of(pid: u32) -> Program {
    let theirs = PathBuf::from(format!("/proc/{pid}/exe"));
    let (Ok(target), Ok(ours)) = (std::fs::read_link(&theirs), std::env::current_exe()) else {
        return Program::Same;
    };
    if target.to_string_lossy().ends_with(" (deleted)") {
        return Program::Replaced;
    }
    if are_same(&theirs, &ours) { Program::Same } else { Program::Other(target) }
}

fn are_same(a: &Path, b: &Path) -> bool {
    let (Ok(first), Ok(second)) = (std::fs::metadata(a), std::fs::metadata(b)) else {
        return true;
    };
    if (first.dev(), first.ino()) == (second.dev(), second.ino()) {
        return true;
    }
    first.len() == second.len()
        && match (std::fs::read(a), std::fs::read(b)) {
            (Ok(a), Ok(b)) => a == b,
            _ => true,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(is_newer("99.0.0") && is_newer("0.10.0") && is_newer("0.1.1-rc1"));
        assert!(!is_newer(crate::VERSION) && !is_newer("0.0.9") && !is_newer("old"));
    }
}
