//! Processes by identity: boot, pid namespace, start time and pid.
//!
//! Two processes are the same only if all four agree; a pid alone means nothing across containers and
//! machines. The MCP server uses this to name its client process, the broker to check that, and every
//! program before it signals a process. Where the system does not tell, the answer is "unknown" and
//! never a guess.

mod exit;
#[cfg(target_os = "linux")]
mod linux;
mod namespace;
#[cfg(not(target_os = "linux"))]
mod ps;

use std::sync::OnceLock;

use crate::protocol::ProcessId;
#[cfg(target_os = "linux")]
use crate::sys::process::linux as system;
#[cfg(not(target_os = "linux"))]
use crate::sys::process::ps as system;

/// What is known of a process from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessStatus {
    /// It runs.
    Alive,
    /// It has ended: its pid is free, or another process has it.
    Gone,
    /// It is of another boot of this machine, or of another machine.
    OtherBoot,
    /// It is of another pid namespace: the same pid is another process here.
    OtherNamespace,
    /// Not enough is known to tell.
    Unknown,
}

/// Returns the running process with this pid in our own namespace, if there is one.
#[must_use]
pub fn of_pid(pid: u32) -> Option<ProcessId> {
    Some(ProcessId {
        pid,
        start: system::start_time(pid).ok()??,
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

/// Returns what is known of a process from here.
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
    match system::start_time(process.pid) {
        Ok(Some(now)) if same_start(&process.start, &now, process.pid) => ProcessStatus::Alive,
        Ok(_) => ProcessStatus::Gone,
        Err(_) => ProcessStatus::Unknown,
    }
}

/// Returns this boot's id; empty if the system does not tell it.
///
/// It is kept once it was read: the same process must not have two identities where it could not be
/// read at one time.
#[must_use]
pub fn boot_id() -> String {
    static KNOWN: OnceLock<String> = OnceLock::new();
    if let Some(known) = KNOWN.get() {
        return known.clone();
    }
    match system::boot_id() {
        id if id.is_empty() => id,
        id => KNOWN.get_or_init(|| id).clone(),
    }
}

/// Returns whether this same process is known to run.
#[must_use]
pub fn is_alive(process: &ProcessId) -> bool {
    status(process) == ProcessStatus::Alive
}

/// Returns whether this same process is known to run under this name.
#[must_use]
pub fn runs_as(process: &ProcessId, name: &str) -> bool {
    is_alive(process) && command_name(process.pid).as_deref() == Some(name)
}

/// Returns the pid of our parent.
#[must_use]
pub fn parent_pid() -> u32 {
    std::os::unix::process::parent_id()
}

/// Returns the pids above `pid`, nearest first, up to the first process of our namespace.
///
/// Empty where this cannot be read.
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

/// Programs that run as the first process of a machine or container and adopt orphans.
const INIT_PROGRAMS: [&str; 16] = [
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

/// Returns whether a process is the init of its namespace, which adopts orphans.
///
/// In a container any program may be the first process, also a client.
#[must_use]
pub fn is_init(pid: u32) -> bool {
    pid == 1 && command_name(pid).is_none_or(|name| INIT_PROGRAMS.contains(&name.as_str()))
}

/// Returns whether two start times of one pid are of the same process.
///
/// Each counts from the boot in its reader's time namespace (see time_namespaces(7)): `reported` in
/// that of the process, `seen` in ours.
fn same_start(reported: &str, seen: &str, pid: u32) -> bool {
    if reported == seen {
        return true;
    }
    let (Ok(reported), Ok(seen)) = (reported.parse::<i64>(), seen.parse::<i64>()) else {
        return false;
    };
    let shift = system::boot_time_offset(Some(pid)) - system::boot_time_offset(None);
    // Both are rounded.
    shift != 0 && (reported - seen - shift).abs() <= 1
}

pub use exit::{ParentProcess, exited};
pub use namespace::{
    Translation, ancestor_named, in_namespace_of, shares_our_namespace, translate,
};
pub use system::{argv, command_name, environment_value};

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
        let without_start = ProcessId { start: String::new(), ..me };
        assert_eq!(status(&without_start), ProcessStatus::Unknown);
    }

    #[test]
    fn a_pid_of_another_namespace_or_machine_is_no_process_here() {
        let me = of_pid(std::process::id()).unwrap();
        let contained = ProcessId { namespace: "4026539999".to_owned(), ..me.clone() };
        assert_eq!(status(&contained), ProcessStatus::OtherNamespace);
        assert_eq!(contained.to_string().parse(), Ok(contained));
        let elsewhere = ProcessId { boot: "of another machine".to_owned(), ..me };
        assert_eq!(status(&elsewhere), ProcessStatus::OtherBoot);
        assert!(!is_alive(&elsewhere));
    }
}
