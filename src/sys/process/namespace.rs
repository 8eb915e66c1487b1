//! Translates pids that a caller names in its own pid namespace to pids of ours.
//!
//! The kernel reports the caller's pid in our namespace. From there all ancestors can be read, and
//! `NSpid` of proc_pid_status(5) lists each ancestor's pids, one for each namespace from ours down to
//! its own. A child is in its parent's namespace or in one below it, so two processes of one line of
//! descent with equally many pids are in the same namespace.

use crate::protocol::ProcessId;
use crate::sys::process;
use crate::sys::process::system;

/// The result of looking up a process that a caller names as its ancestor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Translation {
    /// The caller itself or one of its ancestors, as seen from here.
    Above(ProcessId),
    /// All ancestors of the caller can be read, and the process is none of them.
    NotAbove,
    /// The caller, or the namespace of the pid, is not visible from here.
    Unknown,
}

/// Returns the ancestor of `caller`, a pid of our namespace, that the caller means by `named`.
#[must_use]
pub fn ancestor_named(caller: u32, named: &ProcessId) -> Translation {
    let here = process::boot_id();
    if !named.boot.is_empty() && !here.is_empty() && named.boot != here {
        return Translation::Unknown;
    }
    let Some(numbers) = system::pids_by_namespace(caller) else { return Translation::Unknown };
    let own = system::namespace_of(caller);
    // The caller reports a process of another namespace than its own.
    if let Some(own) = &own
        && !named.namespace.is_empty()
        && *own != named.namespace
    {
        return Translation::Unknown;
    }
    let line = line(caller);
    let depth = numbers.len();
    let is_named = |pid: &u32, same: bool| {
        system::pids_by_namespace(*pid).is_some_and(|numbers| {
            (numbers.len() == depth) == same && numbers.last() == Some(&named.pid)
        })
    };
    // If there is none, the caller got the pid of its client, and runs in a namespace below it.
    let found = line.iter().find(|pid| is_named(pid, true));
    let found = found.or_else(|| line.iter().find(|pid| is_named(pid, false)));
    match found.and_then(|pid| process::of_pid(*pid)).filter(|found| is_meant(found, named)) {
        Some(process) => Translation::Above(process),
        None => Translation::NotAbove,
    }
}

/// Returns whether a found ancestor is the process that the caller means.
///
/// The first process of our namespace is above every process, so its pid alone proves nothing. The
/// start time has to match as well, and the process must be our user's, which a machine's init is
/// not.
fn is_meant(found: &ProcessId, named: &ProcessId) -> bool {
    found.pid != 1
        || (!named.start.is_empty()
            && process::same_start(&named.start, &found.start, found.pid)
            && system::owner(found.pid) == Some(crate::sys::files::effective_uid()))
}

/// Returns the running process that is `named` in our namespace or one below it, as seen from here.
#[must_use]
pub fn translate(named: &ProcessId) -> Option<ProcessId> {
    if named.boot != process::boot_id() {
        return None;
    }
    let pid = if named.namespace == system::namespace() { named.pid } else { below(named)? };
    let found = process::of_pid(pid)?;
    process::same_start(&named.start, &found.start, pid).then_some(found)
}

/// Returns our pid of the process that is `named` in a namespace below ours.
fn below(named: &ProcessId) -> Option<u32> {
    if named.namespace.is_empty() {
        return None;
    }
    let is_it = |pid: &u32| {
        system::pids_by_namespace(*pid).is_some_and(|n| n.len() > 1 && n.last() == Some(&named.pid))
            && system::namespace_of(*pid).as_ref() == Some(&named.namespace)
    };
    system::processes().into_iter().find(is_it)
}

/// Returns the process with the namespace of its pid, which is the caller's.
///
/// `None` if the caller's namespace is not ours and cannot be read.
#[must_use]
pub fn in_namespace_of(caller: u32, named: ProcessId) -> Option<ProcessId> {
    if !named.namespace.is_empty() {
        return Some(named);
    }
    match system::namespace_of(caller) {
        Some(namespace) => Some(ProcessId { namespace, ..named }),
        None => {
            Some(named).filter(|_| system::pids_by_namespace(caller).is_none_or(|n| n.len() == 1))
        }
    }
}

/// Returns whether the caller is in our own pid namespace.
#[must_use]
pub fn shares_our_namespace(caller: u32) -> bool {
    system::pids_by_namespace(caller).is_some_and(|numbers| numbers.len() == 1)
}

/// Returns a process and its ancestors, nearest first.
fn line(pid: u32) -> Vec<u32> {
    std::iter::once(pid).chain(process::ancestors(pid)).collect()
}
