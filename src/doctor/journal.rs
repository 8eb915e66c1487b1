//! Where the log goes, and whether it can be read.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::config::Environment;
use crate::doctor::finding::Finding;
use crate::doctor::shell;
use crate::doctor::snapshot::Snapshot;
use crate::service::systemd::SERVICE;
use crate::sys::subprocess;

const CHECK: &str = "journal";

/// journald's socket for entries with fields.
const SOCKET: &str = "/run/systemd/journal/socket";

const LIMIT: Duration = Duration::from_secs(5);

pub fn check(snapshot: &Snapshot) -> Vec<Finding> {
    vec![look(snapshot)]
}

fn look(snapshot: &Snapshot) -> Finding {
    let log = &snapshot.config.paths.log;
    if !cfg!(target_os = "linux") || !std::path::Path::new(SOCKET).exists() {
        let text = format!("there is none on this machine; the log is {}", log.display());
        return Finding::ok(CHECK, text);
    }
    if let Err(error) = UnixDatagram::unbound().and_then(|socket| socket.connect(SOCKET)) {
        let finding = Finding::warning(CHECK, format!("journald cannot be reached: {error}"))
            .detail(format!("{SOCKET}; the broker logs to standard error or {}", log.display()));
        return match shell::as_root(
            &snapshot.config.environment,
            "systemctl restart systemd-journald",
        ) {
            Some(command) => finding.fix(command),
            None => finding,
        };
    }
    readable(&snapshot.config.environment)
}

/// An entry that is written and cannot be read helps nobody.
fn readable(environment: &Environment) -> Finding {
    let arguments = ["--user", "-u", SERVICE, "-n", "1", "-q", "--no-pager", "-o", "short-iso"];
    let read = format!("journalctl --user -u {SERVICE}");
    match subprocess::program("journalctl", &arguments, LIMIT) {
        Ok(said) if said.succeeded() && !said.output.trim().is_empty() => {
            Finding::ok(CHECK, format!("journald takes entries; `{read}` shows them"))
        }
        Ok(said) if said.succeeded() => {
            Finding::ok(CHECK, "journald takes entries; none of the broker yet")
        }
        // It says so where the journal is kept in memory only, and read by administrators.
        Ok(said) => {
            let problem = said.errors.lines().next().unwrap_or("it failed").to_owned();
            let finding = Finding::warning(CHECK, format!("`{read}` shows nothing: {problem}"))
                .detail("a journal on disk is split by user, so that each can read his own");
            let keep = "sh -c 'mkdir -p /var/log/journal && systemctl restart systemd-journald'";
            match shell::as_root(environment, keep) {
                Some(command) => finding.fix(command),
                None => finding,
            }
        }
        Err(problem) => Finding::warning(CHECK, format!("the journal cannot be read: {problem}")),
    }
}
