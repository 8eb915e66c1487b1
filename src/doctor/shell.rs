//! Commands for a person's shell, with the rights that they need.

use crate::config::Environment;
use crate::sys::files::effective_uid;
pub use crate::sys::shell::{path, quoted};
use crate::sys::subprocess;

/// The command, as root. `None` if there is no way to become root here.
pub fn as_root(environment: &Environment, command: &str) -> Option<String> {
    if effective_uid() == 0 {
        return Some(command.to_owned());
    }
    subprocess::in_path(environment.search_path(), "sudo").map(|_| format!("sudo {command}"))
}

/// The same where there is no sudo: whoever knows root's password can give it.
pub fn by_su(command: &str) -> String {
    format!("su -c {}", quoted(command))
}

/// Restarts the broker: the next client starts it again.
pub const RESTART: &str = "claude-peers kill-broker && claude-peers peers";
