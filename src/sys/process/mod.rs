//! Processes by identity: boot, pid namespace, start time and number. Only where all four agree are
//! two processes the same; a bare number means nothing across containers and machines.
//!
//! Used by the MCP server, to say whose session it belongs to, by the broker, to check it, and by
//! whoever signals a process. Where the system does not tell, the answer is "unknown" and never a
//! guess.

mod exit;
#[cfg(target_os = "linux")]
mod linux;
mod namespace;
#[cfg(not(target_os = "linux"))]
mod ps;

use crate::protocol::ProcessId;
#[cfg(target_os = "linux")]
use crate::sys::process::linux as system;
#[cfg(not(target_os = "linux"))]
use crate::sys::process::ps as system;

/// What can be said of a process from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessStatus {
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

/// Returns the running process with this pid in our own namespace, if there is one.
#[must_use]
pub fn of_pid(pid: u32) -> Option<ProcessId> {
    Some(ProcessId {
        pid,
        start: system::start_time(pid)?,
        boot: boot_id(),
        namespace: system::namespace(),
    })
}

/// Returns this process. Start and namespace are empty where the system does not tell them.
#[must_use]
pub fn own() -> ProcessId {
    let pid = std::process::id();
    of_pid(pid).unwrap_or_else(|| ProcessId {
        pid,
        start: String::new(),
        boot: boot_id(),
        namespace: system::namespace(),
    })
}

/// Returns what can be said of a process from here.
#[must_use]
pub fn status(process: &ProcessId) -> ProcessStatus {
    let here = boot_id();
    if process.boot != here && !process.boot.is_empty() && !here.is_empty() {
        return ProcessStatus::OtherBoot;
    }
    if process.namespace != system::namespace() {
        return ProcessStatus::OtherNamespace;
    }
    if process.pid == 0
        || process.start.is_empty()
        || process.boot != here
        || !system::is_readable()
    {
        return ProcessStatus::Unknown;
    }
    match of_pid(process.pid) {
        Some(now) if same_start(&process.start, &now.start, now.pid) => ProcessStatus::Alive,
        _ => ProcessStatus::Gone,
    }
}

/// Whether this very process is known to run.
#[must_use]
pub fn is_alive(process: &ProcessId) -> bool {
    status(process) == ProcessStatus::Alive
}

/// Whether this very process is known to run, under this name.
#[must_use]
pub fn runs_as(process: &ProcessId, name: &str) -> bool {
    is_alive(process) && command_name(process.pid).as_deref() == Some(name)
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
    let shift = system::boot_time_offset(Some(pid)) - system::boot_time_offset(None);
    // Both are rounded.
    shift != 0 && (said - seen - shift).abs() <= 1
}

pub use exit::{ParentProcess, exited};
pub use namespace::{
    Translation, ancestor_named, in_namespace_of, shares_our_namespace, translate,
};
pub use system::{argv, boot_id, command_name, environment_value};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself_and_its_ancestors() {
        let me = of_pid(std::process::id()).unwrap();
        assert!(is_alive(&me));
        assert_eq!(ancestors(me.pid).first().copied().unwrap_or(1), parent_pid().max(1));
        assert_eq!(me.to_string().parse(), Ok(me.clone()));
        let other = ProcessId { start: "0".to_owned(), ..me.clone() };
        assert_eq!(status(&other), ProcessStatus::Gone);
        let unsaid = ProcessId { start: String::new(), ..me };
        assert_eq!(status(&unsaid), ProcessStatus::Unknown);
    }

    #[test]
    fn a_number_of_another_namespace_or_machine_is_nobody_here() {
        let me = of_pid(std::process::id()).unwrap();
        let contained = ProcessId { namespace: "4026539999".to_owned(), ..me.clone() };
        assert_eq!(status(&contained), ProcessStatus::OtherNamespace);
        assert_eq!(contained.to_string().parse(), Ok(contained));
        let elsewhere = ProcessId { boot: "of another machine".to_owned(), ..me };
        assert_eq!(status(&elsewhere), ProcessStatus::OtherBoot);
        assert!(!is_alive(&elsewhere));
    }
}
