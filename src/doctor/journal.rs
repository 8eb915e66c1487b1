//! The systemd journal: whether it accepts entries, and whether this user can read them.

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
        let text = format!("no systemd journal on this machine; the log file is {}", log.display());
        return Finding::ok(CHECK, text);
    }
    if let Err(error) = UnixDatagram::unbound().and_then(|socket| socket.connect(SOCKET)) {
        let finding = Finding::warning(CHECK, format!("journald cannot be reached: {error}"))
            .detail(format!(
                "its socket is {SOCKET}; the broker logs to standard error or {} instead",
                log.display()
            ));
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

/// Checks that this user can read entries.
fn readable(environment: &Environment) -> Finding {
    let arguments = ["--user", "-u", SERVICE, "-n", "1", "-q", "--no-pager", "-o", "short-iso"];
    let read = format!("journalctl --user -u {SERVICE}");
    match subprocess::run_named("journalctl", &arguments, LIMIT) {
        Ok(said) if said.succeeded() && !said.output.trim().is_empty() => {
            Finding::ok(CHECK, format!("journald accepts entries; to read them: {read}"))
        }
        Ok(said) if said.succeeded() => {
            Finding::ok(CHECK, "journald accepts entries; the broker has written none yet")
        }
        // It fails if the journal is kept in memory only, where only administrators can read it.
        Ok(said) => {
            let problem =
                said.errors.lines().next().unwrap_or("it fails without a message").to_owned();
            let finding = Finding::warning(CHECK, format!("`{read}` shows nothing: {problem}"))
                .detail("without a persistent journal, users cannot read their own entries; the command creates one");
            let keep = "sh -c 'mkdir -p /var/log/journal && systemctl restart systemd-journald'";
            match shell::as_root(environment, keep) {
                Some(command) => finding.fix(command),
                None => finding,
            }
        }
        Err(problem) => Finding::warning(CHECK, format!("the journal cannot be read: {problem}")),
    }
}
