//! Processes by identity: a pid alone is reused, a pid with its start time and boot is not.
//!
//! Used by the MCP server, to say whose session it belongs to, and by the broker, to check it.
//! Where the system does not tell (another pid namespace, macOS), the answer is "unknown" and
//! never a guess.

mod ended;

use std::fmt;

use serde::{Deserialize, Serialize};

/// One process for its whole life, and no other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// Start time, in the system's own words; empty where it cannot be read.
    #[serde(default)]
    pub start: String,
    /// The boot that the start time counts from; empty where it cannot be read.
    #[serde(default)]
    pub boot: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.pid, self.start, self.boot)
    }
}

impl Process {
    /// The running process with this pid, if there is one.
    #[must_use]
    pub fn find(pid: u32) -> Option<Self> {
        Some(Self { pid, start: system::start_time(pid)?, boot: boot_id() })
    }

    /// Whether this very process still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        Self::find(self.pid).is_some_and(|now| now == *self)
    }
}

/// The pid of our parent.
#[must_use]
pub fn parent_pid() -> u32 {
    std::os::unix::process::parent_id()
}

/// The pids above `pid`, nearest first, without init. Empty where this cannot be read.
#[must_use]
pub fn ancestors(pid: u32) -> Vec<u32> {
    let mut chain = Vec::new();
    let mut at = pid;
    while let Some(parent) = system::parent(at).filter(|p| *p > 1 && !chain.contains(p)) {
        chain.push(parent);
        at = parent;
        if chain.len() > 64 {
            break;
        }
    }
    chain
}

pub use ended::{Parent, ended};
pub use system::{argv, boot_id, command_name, environment_value};

#[cfg(target_os = "linux")]
mod system {
    use std::os::unix::ffi::OsStringExt as _;

    /// `/proc/PID/stat` from the state on; the name before it may hold anything.
    fn stat(pid: u32) -> Option<Vec<String>> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = text.rsplit_once(')')?;
        Some(rest.split_whitespace().map(str::to_owned).collect())
    }

    /// Field 22 of proc_pid_stat(5): ticks since boot. A zombie counts as gone.
    pub fn start_time(pid: u32) -> Option<String> {
        let fields = stat(pid)?;
        if fields.first().is_some_and(|state| state == "Z" || state == "X") {
            return None;
        }
        fields.get(19).cloned()
    }

    pub fn parent(pid: u32) -> Option<u32> {
        stat(pid)?.get(1)?.parse().ok()
    }

    /// This boot's id; empty if the kernel does not tell.
    #[must_use]
    pub fn boot_id() -> String {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .unwrap_or_default()
    }

    /// The name that the process runs under (`comm`).
    #[must_use]
    pub fn command_name(pid: u32) -> Option<String> {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(name.trim_end().to_owned())
    }

    /// The arguments that a process of ours was started with.
    #[must_use]
    pub fn argv(pid: u32) -> Option<Vec<String>> {
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|b| !b.is_empty())?;
        let words = bytes.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned());
        Some(words.collect())
    }

    /// What a process of ours was started with in variable `name`: `None` if its environment
    /// cannot be read, `Some(None)` if it has no such variable.
    #[must_use]
    #[allow(clippy::option_option)]
    pub fn environment_value(pid: u32, name: &str) -> Option<Option<std::ffi::OsString>> {
        let bytes = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        let value = bytes.split(|b| *b == 0).find_map(|entry| {
            entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec)
        });
        Some(value.map(std::ffi::OsString::from_vec))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::process::{Command, Stdio};

    /// One column of `ps` for one process. Used at registration only, so its cost is no matter.
    fn ps(pid: u32, column: &str) -> Option<String> {
        let output = Command::new("ps")
            .args(["-o", column, "-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .env("LC_ALL", "C")
            // Whoever compares two answers may have got them in different time zones.
            .env("TZ", "UTC0")
            .output()
            .ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (!text.is_empty()).then_some(text)
    }

    pub fn start_time(pid: u32) -> Option<String> {
        ps(pid, "lstart=")
    }

    pub fn parent(pid: u32) -> Option<u32> {
        ps(pid, "ppid=")?.parse().ok()
    }

    /// The start time of `ps` is absolute here, so it needs no boot beside it.
    #[must_use]
    pub fn boot_id() -> String {
        String::new()
    }

    /// The name of the process's program.
    #[must_use]
    pub fn command_name(pid: u32) -> Option<String> {
        let path = ps(pid, "comm=")?;
        Some(path.rsplit('/').next().unwrap_or(&path).to_owned())
    }

    /// The arguments that a process was started with, split at spaces: good enough to look for
    /// an option, not to run it again.
    #[must_use]
    pub fn argv(pid: u32) -> Option<Vec<String>> {
        Some(ps(pid, "args=")?.split_whitespace().map(str::to_owned).collect())
    }

    /// Not readable here.
    #[must_use]
    #[allow(clippy::option_option)]
    pub fn environment_value(_pid: u32, _name: &str) -> Option<Option<std::ffi::OsString>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself_and_its_ancestors() {
        let me = Process::find(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert_eq!(ancestors(me.pid).first().copied().unwrap_or(1), parent_pid().max(1));
        let other = Process { start: "0".to_owned(), ..me };
        assert!(!other.is_alive());
    }
}
