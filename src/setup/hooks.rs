//! The hooks of Claude Code that show a session its mail and wake it: the one list of them.

use serde_json::{Value, json};

/// Events at which a session is shown its mail, or tells where it stands.
pub const EVENTS: [&str; 5] =
    ["SessionStart", "UserPromptSubmit", "PostToolUse", "Stop", "SessionEnd"];

/// Seconds after which Claude Code ends a hook. Ours end by themselves long before.
const LIMIT: u32 = 5;

/// Seconds for the hook that waits for mail while the session is idle: a week.
const WAIT: u32 = 7 * 24 * 60 * 60;

/// The groups of hooks for Claude Code's settings, by event. `program` is a command as a shell
/// reads it.
#[must_use]
pub fn groups(program: &str) -> Vec<(&'static str, Value)> {
    let group = |event: &'static str| {
        let command = format!("{program} hook {event}");
        let mut hooks = vec![json!({ "type": "command", "command": command, "timeout": LIMIT })];
        if event == "Stop" {
            hooks.push(json!({
                "type": "command",
                "command": format!("{command} --wait"),
                "asyncRewake": true,
                "timeout": WAIT,
            }));
        }
        (event, json!({ "hooks": hooks }))
    };
    EVENTS.map(group).to_vec()
}

/// A path in double quotes, as a shell reads it.
#[must_use]
pub fn quoted(path: &str) -> String {
    let mut quoted = String::from("\"");
    for c in path.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::ours;

    #[test]
    fn every_hook_is_recognised_and_a_shell_reads_its_path() {
        for path in [
            "/usr/bin/claude-peers",
            "/opt/my tools/claude-peers",
            "/a $x`y\"/claude-peers",
            "/R&D (new)/a hook b\\/claude-peers",
        ] {
            for (_, group) in groups(&quoted(path)) {
                assert!(ours::is_group(&group), "{group}");
            }
            let said = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(path))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), path);
        }
    }
}
