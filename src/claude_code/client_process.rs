//! Finds the client process of a server or a hook among its ancestors.
//!
//! Newer clients set variables for this. Without them (an old client, a wrapper that clears the
//! environment), the client is the nearest process with Claude Code's name.

use crate::protocol::ProcessId;
use crate::sys::process;
use crate::sys::process::{ancestors, command_name, environment_value, is_init, parent_pid};

/// The name under which Claude Code runs.
const NAME: &str = "claude";

/// Returns whether the process with this pid has Claude Code's name.
#[must_use]
pub fn is_claude(pid: u32) -> bool {
    command_name(pid).as_deref() == Some(NAME)
}

/// Returns the client process of this server.
///
/// `session` is the session id in the server's environment, if any; `of_claude` says that the client
/// introduced itself as Claude Code.
///
/// A client sets a session's id for its children only, so the client is the nearest ancestor without
/// it; wrappers (a shell, a package runner) have it. Without an id the client is the nearest ancestor
/// with Claude Code's name, else our parent.
#[must_use]
pub fn client_of_server(session: Option<&str>, of_claude: bool) -> Option<ProcessId> {
    let parent = parent_pid();
    let mut above = ancestors(std::process::id()).into_iter().filter(|pid| !is_init(*pid));
    let lacks_it = |pid: &u32| match environment_value(*pid, "CLAUDE_CODE_SESSION_ID") {
        Some(value) => value.as_deref().and_then(|v| v.to_str()) != session,
        None => true,
    };
    let pid = match session {
        Some(_) => above.find(lacks_it),
        None if of_claude => above.find(|pid| is_claude(*pid)),
        None => None,
    };
    let pid = pid.unwrap_or(parent);
    // Our parent is init if the client has ended, and 0 if it is of another pid namespace; the
    // broker may see it then. In a container the client itself may be the first process.
    if pid == 0 || is_init(pid) { None } else { process::of_pid(pid) }
}

/// Returns the client process that runs this hook.
///
/// `told` is `CLAUDE_PID`, which clients set from version 2.1.213 on.
#[must_use]
pub fn client_of_hook(told: Option<u32>) -> Option<ProcessId> {
    // Each look-up runs a program here, and the variable is as good.
    if cfg!(not(target_os = "linux")) && told.is_some() {
        return told.and_then(process::of_pid);
    }
    client_of(&ancestors(std::process::id()), told, is_claude).and_then(process::of_pid)
}

/// Returns the client among the ancestors `above`, nearest first.
///
/// An older client that runs inside a session of a newer one inherits its variable. The nearest
/// ancestor with Claude Code's name is the client then.
fn client_of(above: &[u32], told: Option<u32>, is_claude: impl Fn(u32) -> bool) -> Option<u32> {
    match told {
        Some(told) if !above.contains(&told) => Some(told),
        told => above.iter().copied().find(|pid| Some(*pid) == told || is_claude(*pid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_client_above_a_hook_is_its_own() {
        let claude = |pid| [30, 50].contains(&pid);
        let above = [10, 20, 30, 40, 50, 60];
        assert_eq!(client_of(&above, None, claude), Some(30), "by its name");
        assert_eq!(client_of(&above, Some(20), claude), Some(20), "by whatever name");
        assert_eq!(client_of(&above, Some(50), claude), Some(30), "inherited from around it");
        assert_eq!(client_of(&above, Some(99), claude), Some(99), "not above us, and yet told");
        assert_eq!(client_of(&[10, 20], None, claude), None);
        assert_eq!(client_of(&[], Some(7), claude), Some(7), "where nothing can be read");
    }
}
