//! Processes by identity: boot, pid namespace, start time and number. Only where all four agree are
//! two processes the same; a bare number means nothing across containers and machines.
//!
//! Used by the MCP server, to say whose session it belongs to, by the broker, to check it, and by
//! whoever signals a process. Where the system does not tell, the answer is "unknown" and never a
//! guess.

mod exit;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod ps;
mod translate;

use std::fmt;

use serde::{Deserialize, Serialize};

#[cfg(target_os = "linux")]
use crate::sys::process::linux as system;
#[cfg(not(target_os = "linux"))]
use crate::sys::process::ps as system;

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
    /// The pid namespace that the number counts in, by its inode (see pid_namespaces(7)); empty
    /// where it cannot be read, and for the namespace that a machine boots with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// What can be said of a process from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It runs.
    Alive,
    /// It has ended: its number is free, or another process has it.
    Gone,
    /// It is of another boot of this machine, or of another machine.
    OtherBoot,
    /// It is of another pid namespace: what our numbers say is about other processes.
    OtherNamespace,
    /// Not enough is known to tell.
    Unknown,
}

/// The text form `PID:START:BOOT`, with `:NAMESPACE` behind it in a container.
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.pid, self.start, self.boot)?;
        if self.namespace.is_empty() { Ok(()) } else { write!(f, ":{}", self.namespace) }
    }
}

impl Process {
    /// The running process with this pid in our own namespace, if there is one.
    #[must_use]
    pub fn find(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            start: system::start_time(pid)?,
            boot: boot_id(),
            namespace: system::namespace(),
        })
    }

    /// This process. Start and namespace are empty where the system does not tell them.
    #[must_use]
    pub fn own() -> Self {
        let pid = std::process::id();
        Self::find(pid).unwrap_or_else(|| Self {
            pid,
            start: String::new(),
            boot: boot_id(),
            namespace: system::namespace(),
        })
    }

    /// Reads the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let pid = parts.next()?.parse().ok()?;
        // A start time of macOS has colons of its own; a boot and a namespace have none.
        let rest: Vec<&str> = parts.collect();
        let (start, boot, namespace) = match rest.as_slice() {
            [start, boot] => ((*start).to_owned(), *boot, ""),
            [start, boot, namespace] if !cfg!(target_os = "macos") => {
                ((*start).to_owned(), *boot, *namespace)
            }
            [start @ .., boot] => (start.join(":"), *boot, ""),
            [] => return None,
        };
        Some(Self { pid, start, boot: boot.to_owned(), namespace: namespace.to_owned() })
    }

    /// What can be said of it from here.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let here = boot_id();
        if self.boot != here && !self.boot.is_empty() && !here.is_empty() {
            return Standing::OtherBoot;
        }
        if self.namespace != system::namespace() {
            return Standing::OtherNamespace;
        }
        if self.pid == 0 || self.start.is_empty() || self.boot != here || !system::is_readable() {
            return Standing::Unknown;
        }
        match Self::find(self.pid) {
            Some(now) if same_start(&self.start, &now.start, now.pid) => Standing::Alive,
            _ => Standing::Gone,
        }
    }

    /// Whether this very process is known to run.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.standing() == Standing::Alive
    }

    /// Whether this very process is known to run, under this name.
    #[must_use]
    pub fn runs_as(&self, name: &str) -> bool {
        self.is_alive() && command_name(self.pid).as_deref() == Some(name)
    }
}

/// The pid of our parent.
#[must_use]
pub fn parent_pid() -> u32 {
    std::os::unix::process::parent_id()
}

/// The pids above `pid`, nearest first, up to the first process of our namespace. Empty where this
/// cannot be read.
#[must_use]
pub fn ancestors(pid: u32) -> Vec<u32> {
    let mut chain = Vec::new();
    let mut at = pid;
    while let Some(parent) = system::parent(at).filter(|p| *p > 0 && !chain.contains(p)) {
        chain.push(parent);
        at = parent;
        if chain.len() > 64 {
            break;
        }
    }
    chain
}

/// Programs that run as a machine's or a container's first process and adopt what others leave.
const INITS: [&str; 16] = [
    "systemd",
    "init",
    "launchd",
    "tini",
    "docker-init",
    "dumb-init",
    "podman-init",
    "catatonit",
    "bwrap",
    "s6-svscan",
    "runit",
    "openrc-init",
    "dinit",
    "finit",
    "procd",
    "busybox",
];

/// Whether it is the first process of its namespace, and there to be that: whoever is below such
/// a one was adopted. In a container anything may be the first process, a client as well.
#[must_use]
pub fn is_init(pid: u32) -> bool {
    pid == 1 && command_name(pid).is_none_or(|name| INITS.contains(&name.as_str()))
}

/// Whether two start times of one number are of one process. Each counts from the boot as its
/// reader's time namespace has it (see time_namespaces(7)): `said` as the process's own does,
/// `seen` as ours does.
fn same_start(said: &str, seen: &str, pid: u32) -> bool {
    if said == seen {
        return true;
    }
    let (Ok(said), Ok(seen)) = (said.parse::<i64>(), seen.parse::<i64>()) else { return false };
    let shift = system::time_shift(Some(pid)) - system::time_shift(None);
    // Both are rounded.
    shift != 0 && (said - seen - shift).abs() <= 1
}

pub use exit::{Parent, ended};
pub use system::{argv, boot_id, command_name, environment_value};
pub use translate::{Named, above, counts_as_we_do, in_namespace_of, seen};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself_and_its_ancestors() {
        let me = Process::find(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert_eq!(ancestors(me.pid).first().copied().unwrap_or(1), parent_pid().max(1));
        assert_eq!(Process::parse(&me.to_string()), Some(me.clone()));
        let other = Process { start: "0".to_owned(), ..me.clone() };
        assert_eq!(other.standing(), Standing::Gone);
        let unsaid = Process { start: String::new(), ..me };
        assert_eq!(unsaid.standing(), Standing::Unknown);
    }

    #[test]
    fn a_number_of_another_namespace_or_machine_is_nobody_here() {
        let me = Process::find(std::process::id()).unwrap();
        let contained = Process { namespace: "4026539999".to_owned(), ..me.clone() };
        assert_eq!(contained.standing(), Standing::OtherNamespace);
        assert_eq!(Process::parse(&contained.to_string()), Some(contained));
        let elsewhere = Process { boot: "of another machine".to_owned(), ..me };
        assert_eq!(elsewhere.standing(), Standing::OtherBoot);
        assert!(!elsewhere.is_alive());
    }
}
