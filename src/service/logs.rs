//! The program that shows the log: journalctl, or `tail` for the log file of a fallback broker.

use std::path::Path;
use std::process::Command;

use crate::service::error::ServiceError;
use crate::service::manager::Logs;
use crate::service::systemd::UNITS;
use crate::sys::files::effective_uid;

/// The syslog identifiers of our programs: the broker and the MCP servers.
const IDENTIFIERS: [&str; 2] = ["claude-peers", "claude-peers-mcp"];

/// Returns the command that shows the wanted part of the log.
///
/// # Errors
///
/// If there is neither journal nor file, or the file cannot show what is wanted.
pub fn command(wanted: &Logs, file: &Path, journal: bool) -> Result<Command, ServiceError> {
    if journal {
        return Ok(journalctl(wanted));
    }
    if !file.exists() {
        return Err(ServiceError::refused(
            format!("there is no log yet: neither a journal of this user nor {}", file.display()),
            "A broker writes one; `claude-peers peers` starts the broker.",
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
    // Messages of the units, of the manager about the units, and of our programs outside of units.
    // Not `-u UNIT -t NAME`, which selects only messages that match both.
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
        // By name: the file is truncated when it grows too large.
        command.arg("-F");
    }
    command.args(&wanted.more).arg("--").arg(file);
    command
}
