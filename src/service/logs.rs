//! The program that shows the log: journalctl, or `tail` for the file of a broker that a session
//! started.

use std::path::Path;
use std::process::Command;

use crate::service::error::ServiceError;
use crate::service::manager::Logs;
use crate::service::systemd::UNITS;
use crate::sys::files::effective_uid;

/// By which names our programs log: the broker and the MCP servers, in or outside of any unit.
const IDENTIFIERS: [&str; 2] = ["claude-peers", "claude-peers-mcp"];

/// What was asked for, as a command.
///
/// # Errors
///
/// If there is neither journal nor file, or the file cannot show what is asked for.
pub fn command(wanted: &Logs, file: &Path, journal: bool) -> Result<Command, ServiceError> {
    if journal {
        return Ok(journalctl(wanted));
    }
    if !file.exists() {
        return Err(ServiceError::refused(
            format!("there is no log yet: neither a journal of this user nor {}", file.display()),
            "A broker writes one: `claude-peers peers` starts it.",
        ));
    }
    if wanted.since.is_some() {
        return Err(ServiceError::refused(
            format!("`--since` needs a journal, and here the log is {}", file.display()),
            "Use `--lines`.",
        ));
    }
    Ok(tail(wanted, file))
}

fn journalctl(wanted: &Logs) -> Command {
    let mut command = Command::new("journalctl");
    command.arg("--user");
    if wanted.follow {
        command.arg("--follow");
    }
    if let Some(lines) = wanted.lines {
        command.arg(format!("--lines={lines}"));
    }
    if let Some(since) = &wanted.since {
        command.arg(format!("--since={since}"));
    }
    command.args(&wanted.more);
    // What the units said, what the manager said of them, and what our programs said elsewhere.
    // Not `-u UNIT -t NAME`: that would ask for messages of which both is true.
    let user = format!("_UID={}", effective_uid());
    let units = UNITS
        .iter()
        .flat_map(|unit| [format!("_SYSTEMD_USER_UNIT={unit}"), format!("USER_UNIT={unit}")]);
    let names = IDENTIFIERS.iter().map(|name| format!("SYSLOG_IDENTIFIER={name}"));
    for (index, field) in units.chain(names).enumerate() {
        if index > 0 {
            command.arg("+");
        }
        command.args([&user, &field]);
    }
    command
}

fn tail(wanted: &Logs, file: &Path) -> Command {
    let mut command = Command::new("tail");
    command.args(["-n", &wanted.lines.map_or_else(|| "+1".to_owned(), |lines| lines.to_string())]);
    if wanted.follow {
        // It is begun anew when it has grown too large.
        command.arg("-F");
    }
    command.args(&wanted.more).arg("--").arg(file);
    command
}
