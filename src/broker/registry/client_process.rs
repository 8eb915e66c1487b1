//! The client process that a caller names, as the broker sees it.
//!
//! A server or a hook names its client by a pid of its own pid namespace, which may be that of a
//! container. Here the name is translated to the process as seen from the broker. A process that the
//! broker cannot see keeps its foreign pid together with its namespace. Nothing else is known of it,
//! so whether its session is live follows from its connection alone.
//!
//! `caller` is always the pid of the calling process as the broker sees it, where the kernel reports
//! one.

use crate::protocol::{ApiError, ErrorCode, ProcessId, ShellSession};
use crate::sys::process;
use crate::sys::process::Translation;

/// Returns the client of a session that registers.
///
/// Where the kernel reports the caller, it must be a descendant of the client that it names. So one
/// session cannot register in the name of another.
///
/// # Errors
///
/// [`ErrorCode::Forbidden`] if it is not.
pub fn client_of_session(
    caller: Option<u32>,
    named: Option<ProcessId>,
    session: Option<&str>,
) -> Result<Option<ProcessId>, ApiError> {
    let Some(caller) = caller else { return Ok(named) };
    let Some(named) = named else { return Ok(nearest_client(caller, session)) };
    match process::ancestor_named(caller, &named) {
        Translation::Above(client) => Ok(Some(client)),
        Translation::Unknown => Ok(translate(caller, named)),
        Translation::NotAbove => Err(ApiError::new(
            ErrorCode::Forbidden,
            format!(
                "process {caller} claims the session of process {} but is not a descendant of it",
                named.pid
            ),
        )),
    }
}

/// Returns the client whose hook calls.
///
/// A hook may have lost its line of descent. It is believed all the same, because it acts for the
/// owner.
pub fn client_of_hook(
    caller: Option<u32>,
    named: Option<ProcessId>,
    session: &str,
) -> Option<ProcessId> {
    // Other systems have no pid namespaces, and the look-up takes too long there for a hook.
    if cfg!(not(target_os = "linux")) {
        return named;
    }
    let Some(caller) = caller else { return named };
    let Some(named) = named else { return nearest_client(caller, Some(session)) };
    match process::ancestor_named(caller, &named) {
        Translation::Above(client) => Some(client),
        Translation::NotAbove if process::shares_our_namespace(caller) => {
            Some(process::translate(&named).unwrap_or(named))
        }
        Translation::NotAbove | Translation::Unknown => translate(caller, named),
    }
}

/// Returns what a command line inside a session reports about that session, with its processes as
/// the broker sees them.
pub fn client_of_shell(caller: Option<u32>, inside: &ShellSession) -> ShellSession {
    let session = inside.session.clone();
    let named = inside.above.iter().cloned();
    let seen = named.filter_map(|named| {
        client_of_hook(caller, Some(named), session.as_deref().unwrap_or_default())
    });
    ShellSession { above: seen.collect(), session: session.clone() }
}

/// Translates a process that is not an ancestor of the caller.
///
/// Returns the process as the broker sees it, else its foreign pid with the namespace of that pid;
/// `None` if the result would be ambiguous.
fn translate(caller: u32, named: ProcessId) -> Option<ProcessId> {
    let named = process::in_namespace_of(caller, named)?;
    match process::translate(&named) {
        Some(seen) => Some(seen),
        None => Some(named).filter(|named| !named.start.is_empty()),
    }
}

/// Returns the Claude Code process above a caller that cannot name it.
///
/// Such a caller has no `/proc` or is alone in its namespace. The client is the nearest ancestor
/// without this session's id in its environment, if that process runs as `claude`.
fn nearest_client(caller: u32, session: Option<&str>) -> Option<ProcessId> {
    let session = session?;
    let has_session = |pid: &u32| {
        let value = process::environment_value(*pid, "CLAUDE_CODE_SESSION_ID").flatten();
        value.as_deref().and_then(|value| value.to_str()) == Some(session)
    };
    let client = process::ancestors(caller).into_iter().find(|pid| !has_session(pid))?;
    process::of_pid(client).filter(|client| process::runs_as(client, "claude"))
}
