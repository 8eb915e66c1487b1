//! Shell commands for a person, with the rights that they need.

use crate::config::Environment;
use crate::sys::files::effective_uid;
pub use crate::sys::shell::{path, quoted};
use crate::sys::subprocess;

/// Returns the command as root runs it; `None` if root cannot be reached by `sudo` here.
pub fn as_root(environment: &Environment, command: &str) -> Option<String> {
    if effective_uid() == 0 {
        return Some(command.to_owned());
    }
    subprocess::find_in_path(environment.search_path(), "sudo").map(|_| format!("sudo {command}"))
}

/// Returns the command by `su`, which asks for root's password.
pub fn by_su(command: &str) -> String {
    format!("su -c {}", quoted(command))
}

/// Restarts the broker: the second command starts it again.
pub const RESTART: &str = "claude-peers kill-broker && claude-peers peers";
