//! The broker lock: which process is the broker, read without calling it.
//!
//! A service manager would start its service for any connection, so `status` looks here first.
//!
//! The lock may lie in a directory that several machines or containers share. So its file records
//! the owner's process identity, and only a process that is proven to be the owner is ever
//! signalled.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::protocol::ProcessId;
use crate::protocol::health::Started;
use crate::sys::files::{beside, is_written_by_us_alone, lock_holder};
use crate::sys::process;
use crate::sys::process::ProcessStatus;

/// What a broker writes into its lock files. Valid as long as the lock is held.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    /// 0 if the owner has not written it yet.
    #[serde(default)]
    pub pid: u32,
    #[serde(default)]
    pub started: Started,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub protocol: u32,
    /// The socket where it serves.
    #[serde(default)]
    pub socket: PathBuf,
    /// The port of its settings, which tells brokers of one user apart. An older broker does not
    /// write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// It is starting and does not listen yet.
    #[serde(default)]
    pub starting: bool,
    /// Why a client started it instead of the service manager.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_reason: Option<String>,
    /// Its process identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    /// The host name of its machine or container.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// What it does before it can serve, if that takes long: "taking over the database …".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<String>,
    /// The lock file from which this was read.
    #[serde(skip)]
    pub lock: PathBuf,
}

/// Returns the broker that holds a lock file, if one does.
#[must_use]
pub fn holder_of(lock: &Path) -> Option<Holder> {
    let text = lock_holder(lock).ok().flatten()?;
    let unknown = || Holder {
        pid: 0,
        started: Started::Unknown,
        version: String::new(),
        protocol: 0,
        socket: PathBuf::new(),
        port: None,
        starting: true,
        fallback_reason: None,
        process: None,
        host: String::new(),
        busy: None,
        lock: PathBuf::new(),
    };
    // Held, but without a readable record: it has only just started, or is of a later version.
    let holder = serde_json::from_str(&text).unwrap_or_else(|_| unknown());
    Some(Holder { lock: lock.to_owned(), ..holder })
}

/// Returns the lock file of a database, which allows one broker per database.
#[must_use]
pub fn database_lock(database: &Path) -> PathBuf {
    beside(database, "-lock")
}

/// What to do about a broker that runs elsewhere and cannot be reached from here.
pub const ELSEWHERE_HINT: &str = "A broker in another container or on another machine that \
    shares this directory holds the lock. Stop it there (`claude-peers kill-broker`), or use \
    directories that are not shared: set CLAUDE_PEERS_DB and XDG_STATE_HOME.";

/// Returns what to do if it cannot be found out whether a broker listens at `socket`.
#[must_use]
pub fn unknown_hint(error: Errno, socket: &Path) -> String {
    let shown = socket.display();
    match error {
        Errno::PERM | Errno::ACCESS | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT => format!(
            "Nothing was started or stopped. If this command runs in Claude Code's sandbox, add {shown} \
             to `sandbox.network.allowUnixSockets` in its settings.json (`claude-peers setup \
             claude` offers to do it); on Linux that list has no effect, and only \
             `sandbox.network.allowAllUnixSockets` or `sandbox.excludedCommands` lets the command \
             through. In Codex's sandbox, set `network_access = true` under \
             `[sandbox_workspace_write]` in its config.toml. The MCP tools run outside both. Without a \
             sandbox, check the permissions of {shown} and of the directories above it."
        ),
        Errno::MFILE | Errno::NFILE => {
            "Nothing was started or stopped. No file descriptor is left: \
             close some, or raise the limit (`ulimit -n`)."
                .to_owned()
        }
        _ => format!("Nothing was started or stopped. Check {shown} and the directories above it."),
    }
}

/// Where the owner of a lock runs, as far as it is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// Here: the recorded process runs in this pid namespace.
    Here,
    /// In a container: its pid belongs to another pid namespace.
    OtherContainer,
    /// On another machine that shares the directory, or left from another boot.
    OtherMachine,
    /// The record is not sufficient.
    Unknown,
}

impl Holder {
    /// Returns where it runs, as far as it is proven.
    #[must_use]
    pub fn whereabouts(&self) -> Whereabouts {
        match self.process.as_ref().map(process::status) {
            Some(ProcessStatus::Alive) => Whereabouts::Here,
            Some(ProcessStatus::OtherNamespace) => Whereabouts::OtherContainer,
            Some(ProcessStatus::OtherBoot) => Whereabouts::OtherMachine,
            // An older broker, whose lock has no identity: it is the process that has the file open.
            None if has_open(self.pid, &self.lock) => Whereabouts::Here,
            Some(ProcessStatus::Gone | ProcessStatus::Unknown) | None => Whereabouts::Unknown,
        }
    }

    /// Describes it for people: `process 12`, or where else it runs.
    #[must_use]
    pub fn described(&self) -> String {
        let on = if self.host.is_empty() { String::new() } else { format!(" ({})", self.host) };
        match self.whereabouts() {
            Whereabouts::Here => format!("process {}", self.pid),
            Whereabouts::OtherContainer => {
                format!("process {} of another container or sandbox{on}", self.pid)
            }
            Whereabouts::OtherMachine => format!("process {} of another machine{on}", self.pid),
            Whereabouts::Unknown if self.pid > 0 => {
                format!("a process with pid {} that is not found here{on}", self.pid)
            }
            Whereabouts::Unknown => format!("an unknown process{on}"),
        }
    }

    /// Returns whether two records are of the same process.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.pid == other.pid && self.process == other.process
    }

    /// Sends SIGTERM. Returns false if it is not proven to be a process of ours here.
    pub fn ask_to_stop(&self) -> bool {
        self.signal(Signal::TERM)
    }

    /// Sends SIGKILL, if SIGTERM had no effect. What the broker accepted is in the database. Returns
    /// false if it is not proven to be a process of ours here.
    pub fn kill(&self) -> bool {
        self.signal(Signal::KILL)
    }

    /// Signals the owner. A process that reuses its pid is not hit (TOCTOU).
    fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return false };
        // The pidfd is opened before the check: if the check says that the pid is the owner's, so is
        // the pidfd, even if the pid is reused later.
        #[cfg(target_os = "linux")]
        let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
        if self.whereabouts() != Whereabouts::Here || !self.still_holds() {
            return false;
        }
        // An error means that the process has ended already.
        #[cfg(target_os = "linux")]
        match process {
            Ok(process) => {
                let _ = rustix::process::pidfd_send_signal(process, signal);
                return true;
            }
            Err(Errno::SRCH) => return true,
            Err(_) => {}
        }
        // Without pidfds (macOS, Linux before 5.3, an old container) only the check protects.
        let _ = rustix::process::kill_process(pid, signal);
        true
    }

    fn still_holds(&self) -> bool {
        // What another user may have written would name any process.
        is_written_by_us_alone(&self.lock)
            && holder_of(&self.lock).is_some_and(|now| now.is_same(self))
    }
}

/// Returns whether the process with this pid has this file open; always false on macOS.
fn has_open(pid: u32, file: &Path) -> bool {
    let Ok(file) = std::fs::metadata(file) else { return false };
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten().any(|entry| {
        std::fs::metadata(entry.path())
            .is_ok_and(|open| open.dev() == file.dev() && open.ino() == file.ino())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_one_process_and_not_whatever_has_its_number() {
        let directory = tempfile::tempdir().unwrap();
        let mine = process::own();
        let of = |process: Option<ProcessId>| {
            let text = serde_json::json!({ "pid": mine.pid, "process": process });
            Holder {
                lock: directory.path().join("broker.lock"),
                ..serde_json::from_value(text).unwrap()
            }
        };
        let holder = of(Some(mine.clone()));
        assert_eq!(holder.whereabouts(), Whereabouts::Here);
        let earlier = of(Some(ProcessId { start: "0".to_owned(), ..mine.clone() }));
        assert!(holder.is_same(&holder) && !holder.is_same(&earlier));
        // Neither one that was given another's number, nor one that holds nothing, is signalled.
        for other in [earlier, holder, of(None)] {
            assert!(!other.ask_to_stop() && !other.kill());
        }
    }
}
