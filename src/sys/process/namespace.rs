//! Processes that others name by numbers of their own pid namespace, in our numbers.
//!
//! The kernel tells the number of whoever calls in our namespace. From there the way up is ours
//! to read, and each process on it has its numbers in `NSpid` of proc_pid_status(5), one for each
//! namespace from ours down to its own. Along one line of descent, as many numbers mean the same
//! namespace: a child is in its parent's, or in one below it.

use crate::protocol::ProcessId;
use crate::sys::process;
use crate::sys::process::system;

/// What becomes of a process that a caller names as one above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Translation {
    /// The caller itself or one above it, as seen from here.
    Above(ProcessId),
    /// All that is above the caller can be read, and it is not among them.
    NotAbove,
    /// The caller, or the namespace that the number counts in, cannot be seen from here.
    Unknown,
}

/// The process that `caller`, a number of ours, means by `named`: one above it.
#[must_use]
pub fn ancestor_named(caller: u32, named: &ProcessId) -> Translation {
    let here = process::boot_id();
    if !named.boot.is_empty() && !here.is_empty() && named.boot != here {
        return Translation::Unknown;
    }
    let Some(numbers) = system::pids_by_namespace(caller) else { return Translation::Unknown };
    let own = system::namespace_of(caller);
    // A caller that hands on what a process of elsewhere says.
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
    // One that is told its client's number, and runs in a namespace of its own below it.
    let found = line.iter().find(|pid| is_named(pid, true));
    let found = found.or_else(|| line.iter().find(|pid| is_named(pid, false)));
    match found.and_then(|pid| process::of_pid(*pid)).filter(|found| is_meant(found, named)) {
        Some(process) => Translation::Above(process),
        None => Translation::NotAbove,
    }
}

/// The first process of our own namespace is above everybody, so its number alone says nothing:
/// whoever means it knows when it started, and it is of our user, which a machine's init is not.
fn is_meant(found: &ProcessId, named: &ProcessId) -> bool {
    found.pid != 1
        || (!named.start.is_empty()
            && process::same_start(&named.start, &found.start, found.pid)
            && system::owner(found.pid) == Some(crate::sys::files::effective_uid()))
}

/// The running process that is `named` in our own namespace or one below it, as seen from here.
#[must_use]
pub fn translate(named: &ProcessId) -> Option<ProcessId> {
    if named.boot != process::boot_id() {
        return None;
    }
    let pid = if named.namespace == system::namespace() { named.pid } else { below(named)? };
    let found = process::of_pid(pid)?;
    process::same_start(&named.start, &found.start, pid).then_some(found)
}

/// Our number for the process that is `named` in a namespace below ours.
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

/// The same process with the namespace that its number counts in, which is the caller's; `None`
/// where that is none of ours, and nobody can tell which.
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

/// Whether the caller counts in our own namespace.
#[must_use]
pub fn shares_our_namespace(caller: u32) -> bool {
    system::pids_by_namespace(caller).is_some_and(|numbers| numbers.len() == 1)
}

/// A process and all above it, nearest first.
fn line(pid: u32) -> Vec<u32> {
    std::iter::once(pid).chain(process::ancestors(pid)).collect()
}
