//! Which process a caller means by its client.
//!
//! A server or a hook names its client by a number of its own pid namespace, which may be a
//! container's. What the rest of the broker goes by is the process as seen from here; one that
//! cannot be seen from here keeps its foreign number, its namespace beside it, and nothing is
//! taken for known of it: whether its session lives its connection says.

use crate::broker::daemon::listener::Transport;
use crate::protocol::{ApiError, ErrorCode, Inside};
use crate::sys::process;
use crate::sys::process::{Named, Process};

/// The client of a session that registers. Where the kernel tells who calls, the caller must
/// descend from the client that it names: one session cannot register in the name of another.
///
/// # Errors
///
/// If it does not.
pub fn of_session(
    transport: Transport,
    named: Option<Process>,
    session: Option<&str>,
) -> Result<Option<Process>, ApiError> {
    let Transport::Unix { pid: Some(caller) } = transport else { return Ok(named) };
    let Some(named) = named else { return Ok(above(caller, session)) };
    match process::above(caller, &named) {
        Named::Above(client) => Ok(Some(client)),
        Named::Unknown => Ok(known(caller, named)),
        Named::NotAbove => Err(ApiError::new(
            ErrorCode::Forbidden,
            format!(
                "process {caller} is no descendant of process {}, whose session it claims",
                named.pid
            ),
        )),
    }
}

/// The client whose hook calls. A hook may have lost its line of descent, and is believed all the
/// same: it acts for the owner.
pub fn of_hook(transport: Transport, named: Option<Process>, session: &str) -> Option<Process> {
    // There are no other namespaces, and to look costs a hook too much.
    if cfg!(not(target_os = "linux")) {
        return named;
    }
    let Transport::Unix { pid: Some(caller) } = transport else { return named };
    let Some(named) = named else { return above(caller, Some(session)) };
    match process::above(caller, &named) {
        Named::Above(client) => Some(client),
        Named::NotAbove if process::counts_as_we_do(caller) => {
            Some(process::seen(&named).unwrap_or(named))
        }
        Named::NotAbove | Named::Unknown => known(caller, named),
    }
}

/// What a command line inside a session says of that, its processes as seen from here.
pub fn of_shell(transport: Transport, inside: &Inside) -> Inside {
    let session = inside.session.clone();
    let named = inside.above.iter().cloned();
    let seen = named.filter_map(|named| {
        of_hook(transport, Some(named), session.as_deref().unwrap_or_default())
    });
    Inside { above: seen.collect(), session: session.clone() }
}

/// One that is not above the caller: as seen from here if it can be seen, else under its foreign
/// number with the namespace that it counts in. `None` if it would be nobody's in particular.
fn known(caller: u32, named: Process) -> Option<Process> {
    let named = process::in_namespace_of(caller, named)?;
    match process::seen(&named) {
        Some(seen) => Some(seen),
        None => Some(named).filter(|named| !named.start.is_empty()),
    }
}

/// Claude Code above a caller that cannot tell (it has no `/proc`, or is alone in a namespace):
/// the nearest process that is no child of this session, if that is what it is.
fn above(caller: u32, session: Option<&str>) -> Option<Process> {
    let session = session?;
    let carries = |pid: &u32| {
        let value = process::environment_value(*pid, "CLAUDE_CODE_SESSION_ID").flatten();
        value.as_deref().and_then(|value| value.to_str()) == Some(session)
    };
    let client = process::ancestors(caller).into_iter().find(|pid| !carries(pid))?;
    Process::find(client).filter(|client| client.runs_as("claude"))
}
