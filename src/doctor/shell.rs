//! Commands for a person's shell, with the rights that they need.

use crate::files::effective_uid;
use crate::programs;
pub use crate::shell::{path, quoted};

/// The command, as root. `None` if there is no way to become root here.
pub fn as_root(command: &str) -> Option<String> {
    if effective_uid() == 0 {
        return Some(command.to_owned());
    }
    programs::in_path("sudo").map(|_| format!("sudo {command}"))
}

/// The same where there is no sudo: whoever knows root's password can give it.
pub fn by_su(command: &str) -> String {
    format!("su -c {}", quoted(command))
}

/// Restarts the broker: the next client starts it again.
pub const RESTART: &str = "claude-peers kill-broker && claude-peers peers";
