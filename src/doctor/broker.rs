//! The running broker: its version, its program, and the problems that it reports.

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

/// Returns the version and path of this program.
pub fn this_program() -> Finding {
    let path = std::env::current_exe().map_or_else(|_| "?".to_owned(), |p| p.display().to_string());
    Finding::ok("program", format!("claude-peers {}, protocol {PROTOCOL}, {path}", crate::VERSION))
}

/// Asks the broker for its health, whatever its version and settings. Starts none.
pub async fn query(client: &Client, snapshot: &Snapshot) -> BrokerState {
    match tokio::time::timeout(ANSWER_TIMEOUT, client.look()).await {
        Ok(Ok(health)) => match health.detail {
            Some(detail) => {
                BrokerState::Answers { protocol: health.protocol, detail: Box::new(detail) }
            }
            None => BrokerState::Silent("it reports no details".to_owned()),
        },
        Err(_) | Ok(Err(ClientError::Silent)) => {
            BrokerState::Silent(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs()))
        }
        Ok(Err(ClientError::Broken { .. })) if snapshot.broker_before.is_none() => {
            BrokerState::NotRunning
        }
        Ok(Err(error)) => BrokerState::Silent(error.to_string()),
    }
}

/// Returns a finding if the broker is still opening its database: no other check is possible then.
pub fn still_opening(snapshot: &Snapshot) -> Option<Finding> {
    let broker = snapshot.broker_before.as_ref()?;
    let what = broker.busy.as_ref()?;
    Some(
        Finding::warning(CHECK, format!("process {} does not serve yet: it is {what}", broker.pid))
            .detail("wait until it has finished, then run `claude-peers doctor` again"),
    )
}

pub fn check(snapshot: &Snapshot) -> Vec<Finding> {
    match (&snapshot.running, &snapshot.broker) {
        (BrokerState::Answers { protocol, detail }, _) => {
            let mut findings = vec![version(snapshot, *protocol, detail)];
            findings.extend(moved(detail));
            findings.extend(detail.database_problem.iter().map(|problem| {
                Finding::failure(CHECK, problem.clone())
                    .detail("until this is fixed, new messages are refused with an error")
            }));
            findings.extend(detail.database_note.iter().map(|note| {
                Finding::warning(CHECK, note.clone())
                    .detail("to move or replace the database, stop the broker first (`claude-peers kill-broker`)")
            }));
            findings
        }
        // The check of the socket reports that it has no listener,
        (BrokerState::Silent(_), Some(_)) if snapshot.socket_was_removed() => Vec::new(),
        // or that it cannot be reached from here.
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
        // The round trip reports why there is none.
        (BrokerState::Silent(_) | BrokerState::NotRunning, _) => Vec::new(),
    }
}

fn version(snapshot: &Snapshot, protocol: u32, detail: &Detail) -> Finding {
    let how = match detail.started {
        Started::Fallback => "started by a session or a command",
        Started::Systemd => "started by systemd",
        Started::Launchd => "started by launchd",
        Started::Foreground => "started by hand",
        Started::Unknown => "started in a way unknown to this version",
    };
    let running = format!(
        "version {}, protocol {protocol}, process {}, running for {}, {how}",
        detail.version,
        detail.pid,
        detail.started_at.age(clock::now())
    );
    // An upgrade may have changed the units as well, so the service manager reads them again.
    let fix = if snapshot.is_service() {
        "systemctl --user daemon-reload && systemctl --user restart claude-peers.service"
    } else {
        shell::RESTART
    };
    if protocol < PROTOCOL {
        return Finding::failure(CHECK, format!("an old broker is still running: {running}"))
            .detail(format!("it uses protocol {protocol}, this program uses {PROTOCOL}"))
            .fix(fix);
    }
    if detail.version != crate::VERSION {
        if is_newer(&detail.version) {
            return Finding::ok(CHECK, running)
                .detail(format!("it is newer than this program ({})", crate::VERSION));
        }
        return Finding::warning(CHECK, format!("an old broker is still running: {running}"))
            .detail(format!("this program is {}", crate::VERSION))
            .fix(fix);
    }
    if !runs_here(detail) {
        return Finding::ok(CHECK, running)
            .detail("it runs in another container or on another machine");
    }
    match program_of(detail.pid) {
        Program::Replaced => {
            Finding::warning(CHECK, format!("an old broker is still running: {running}"))
                .detail("its program file was replaced after it was started")
                .fix(fix)
        }
        Program::Other(path) => {
            Finding::warning(CHECK, format!("a broker of another build is running: {running}"))
                .detail(format!("its program is {}, which differs from this one", path.display()))
                .fix(fix)
        }
        Program::Same => Finding::ok(CHECK, running),
    }
}

/// Returns a finding if a damaged database was moved away: its messages are missing.
fn moved(detail: &Detail) -> Option<Finding> {
    let moved = detail.database_moved_to.as_ref()?;
    Some(
        Finding::warning(CHECK, "the database was damaged, and a new, empty one is in use")
            .detail(format!("the damaged database is in {moved}")),
    )
}

/// Whether a version is later than ours. Text that is not a version is not.
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
    /// The file is gone or was replaced.
    Replaced,
    /// It is another file with different contents.
    Other(PathBuf),
}

/// Compares the program of a process with ours. A program that cannot be read counts as the same.
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
