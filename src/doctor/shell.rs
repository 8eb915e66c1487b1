//! Commands for a person's shell: quoted, and with the rights that they need.

use std::path::Path;

use crate::files::effective_uid;

/// A word that means itself in any shell.
pub fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+:@%,=".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A path that means itself in any shell.
pub fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
}

/// The command, as root. `None` if there is no way to become root here.
pub fn as_root(command: &str) -> Option<String> {
    if effective_uid() == 0 {
        return Some(command.to_owned());
    }
    super::run::in_path("sudo").map(|_| format!("sudo {command}"))
}

/// Restarts the broker: the next client starts it again.
pub const RESTART: &str = "claude-peers kill-broker && claude-peers peers";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_gives_back_what_was_quoted() {
        for word in ["/home/me/.x", "a b", "it's", "$(false)", "", "ü\n`x`"] {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(word))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
