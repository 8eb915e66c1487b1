//! Who holds the broker's lock: read by clients that must not call it to find out.
//!
//! A service manager would start its service for any connection, so `status` looks here first.
//!
//! The lock may lie in a directory that several machines or containers share. So its file says
//! which process holds it with all that makes a process one (see [`crate::sys::process`]), and only a
//! process that is proven to be that one is ever signalled.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

use crate::protocol::ProcessId;
use crate::protocol::health::Started;
use crate::sys::files::{beside, lock_holder};
use crate::sys::process;
use crate::sys::process::ProcessStatus;

/// What a broker writes into its lock files. It is true as long as the lock is held.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    /// 0 if the holder has not said it yet.
    #[serde(default)]
    pub pid: u32,
    #[serde(default)]
    pub started: Started,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub protocol: u32,
    /// Where it serves.
    #[serde(default)]
    pub socket: PathBuf,
    /// The port that its settings name, and with it the broker; unknown of an older one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// It is on its way and does not listen yet.
    #[serde(default)]
    pub starting: bool,
    /// Why a client had to start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_reason: Option<String>,
    /// The process, by all that makes it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<ProcessId>,
    /// The name of its machine or container.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// What it does before it can serve, if that takes long: "taking over the database …".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy: Option<String>,
    /// The lock file that says so.
    #[serde(skip)]
    pub lock: PathBuf,
}

/// The broker that holds a lock file, if one does.
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
    // Held, but not described: it is only just starting, or of a much later version.
    let holder = serde_json::from_str(&text).unwrap_or_else(|_| unknown());
    Some(Holder { lock: lock.to_owned(), ..holder })
}

/// The file whose lock makes one database have one broker.
#[must_use]
pub fn database_lock(database: &Path) -> PathBuf {
    beside(database, "-lock")
}

/// What to do about a holder that runs elsewhere, and cannot be reached from here.
pub const ELSEWHERE_HINT: &str = "A broker in a container or on another machine has it, which \
    shares this directory. Stop it there (`claude-peers kill-broker`), or give this place a \
    directory of its own: set CLAUDE_PEERS_DB and XDG_STATE_HOME to paths that are not shared.";

/// What to do where it cannot be found out whether somebody listens at `socket`.
#[must_use]
pub fn unknown_hint(error: Errno, socket: &Path) -> String {
    let shown = socket.display();
    match error {
        Errno::PERM | Errno::ACCESS | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT => format!(
            "Nothing was started or stopped. If this command runs in a sandbox: Claude Code's takes \
             {shown} in `sandbox.network.allowUnixSockets` of its settings.json (`claude-peers setup \
             claude` offers to write it); on Linux that list has no effect, and only \
             `sandbox.network.allowAllUnixSockets` or `sandbox.excludedCommands` lets the command \
             through. Codex's takes `network_access = true` under `[sandbox_workspace_write]` of its \
             config.toml. The MCP tools run outside both. If it is no sandbox, check the \
             permissions of {shown} and of the directories above it."
        ),
        Errno::MFILE | Errno::NFILE => {
            "Nothing was started or stopped. No file descriptor is left: \
             close some, or raise the limit (`ulimit -n`)."
                .to_owned()
        }
        _ => format!("Nothing was started or stopped. Check {shown} and the directories above it."),
    }
}

/// Where the holder of a lock runs, as far as it is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// Here, and it is this very process.
    Here,
    /// In a container: its number counts in another pid namespace.
    OtherContainer,
    /// On another machine that shares the directory, or it is left from another boot.
    OtherMachine,
    /// It has not said enough.
    Unknown,
}

impl Holder {
    /// Where it runs, as far as it is proven.
    #[must_use]
    pub fn whereabouts(&self) -> Whereabouts {
        match self.process.as_ref().map(process::status) {
            Some(ProcessStatus::Alive) => Whereabouts::Here,
            Some(ProcessStatus::OtherNamespace) => Whereabouts::OtherContainer,
            Some(ProcessStatus::OtherBoot) => Whereabouts::OtherMachine,
            // One of before the lock said so: it is who has the lock file open.
            None if has_open(self.pid, &self.lock) => Whereabouts::Here,
            Some(ProcessStatus::Gone | ProcessStatus::Unknown) | None => Whereabouts::Unknown,
        }
    }

    /// It in a sentence, for people: `process 12`, or where else it runs.
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
                format!("a process that calls itself {} and is not found here{on}", self.pid)
            }
            Whereabouts::Unknown => format!("an unknown process{on}"),
        }
    }

    /// Whether it is the same process as another holder.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.pid == other.pid && self.process == other.process
    }

    /// Sends SIGTERM; false if it is not proven to be a process of ours here.
    pub fn ask_to_stop(&self) -> bool {
        self.signal(Signal::TERM)
    }

    /// Sends SIGKILL: for one that does not react. What it had accepted is in the database. False
    /// if it is not proven to be a process of ours here.
    pub fn kill(&self) -> bool {
        self.signal(Signal::KILL)
    }

    /// Signals the holder and nobody else, should it end meanwhile and its pid be given away.
    fn signal(&self, signal: Signal) -> bool {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return false };
        // A handle on the process first, then a look whether that one is the holder: if it is, the
        // handle is the holder's, whatever becomes of the number.
        #[cfg(target_os = "linux")]
        let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
        if self.whereabouts() != Whereabouts::Here || !self.still_holds() {
            return false;
        }
        // Errors mean that it is gone already, which is what was wanted.
        #[cfg(target_os = "linux")]
        match process {
            Ok(process) => {
                let _ = rustix::process::pidfd_send_signal(process, signal);
                return true;
            }
            Err(Errno::SRCH) => return true,
            Err(_) => {}
        }
        // Without handles (macOS, Linux before 5.3, an old container) the look alone must do.
        let _ = rustix::process::kill_process(pid, signal);
        true
    }

    fn still_holds(&self) -> bool {
        holder_of(&self.lock).is_some_and(|now| now.is_same(self))
    }
}

/// Whether the process with this number has this very file open. On macOS nobody tells.
fn has_open(pid: u32, file: &Path) -> bool {
    let Ok(file) = std::fs::metadata(file) else { return false };
    let Ok(open) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    open.flatten().any(|entry| {
        std::fs::metadata(entry.path())
            .is_ok_and(|open| open.dev() == file.dev() && open.ino() == file.ino())
    })
}
