//! The list of our hooks for Claude Code, which show a session its mail and wake it.

use serde_json::{Value, json};

use crate::setup::edit::ownership;

/// The events at which a session is shown its mail, or its state is reported.
const EVENTS: [&str; 7] = [
    "SessionStart",
    "UserPromptSubmit",
    "PostToolUse",
    "Stop",
    STOP_FAILURE,
    "Notification",
    "SessionEnd",
];

/// The number of these events that every version knows.
pub const COUNT: usize = EVENTS.len() - 1;

/// The event for a turn that ended in an error.
const STOP_FAILURE: &str = "StopFailure";

/// The first version of Claude Code with that event. An older version ignores the whole file that
/// contains an unknown event (measured with 2.1.77; from 2.1.101 on it ignores only that hook).
const KNOWS_STOP_FAILURE: [u64; 3] = [2, 1, 78];

/// Seconds after which Claude Code kills a hook. Ours exit long before.
const LIMIT: u32 = 5;

/// The limit in seconds of the hook that waits for mail while the session is idle: a week.
const WAIT: u32 = 7 * 24 * 60 * 60;

/// The remark about the hook for a failed turn, if this version may not know its event.
#[must_use]
pub fn lacks_stop_failure(version: Option<[u64; 3]>) -> Option<&'static str> {
    match version {
        Some(version) if version >= KNOWS_STOP_FAILURE => None,
        Some(_) => Some("Claude Code 2.1.78"),
        None => Some("a `claude` that says its version"),
    }
}

/// Returns the events known to every version for which these settings have no hook of ours.
#[must_use]
pub fn missing(settings: &Value) -> Vec<&'static str> {
    let has = |event: &str| {
        let groups = settings.get("hooks").and_then(|hooks| hooks.get(event)?.as_array());
        let hooks = groups.into_iter().flatten().filter_map(|group| group.get("hooks")?.as_array());
        hooks.flatten().any(ownership::is_hook)
    };
    EVENTS.into_iter().filter(|event| *event != STOP_FAILURE && !has(event)).collect()
}

/// Returns the groups of hooks for Claude Code's settings, by event, for the events that this version
/// knows. `program` is quoted for a shell.
#[must_use]
pub fn groups(program: &str, version: Option<[u64; 3]>) -> Vec<(&'static str, Value)> {
    let group = |event: &'static str| {
        let command = format!("{program} hook {event}");
        let mut hooks = vec![json!({ "type": "command", "command": command, "timeout": LIMIT })];
        // No waiting hook after a failed turn: the wake may be what failed.
        if event == "Stop" || event == STOP_FAILURE {
            hooks.push(json!({
                "type": "command",
                "command": format!("{command} --wait"),
                "asyncRewake": true,
                "timeout": WAIT,
            }));
        }
        let mut group = json!({ "hooks": hooks });
        if event == "Notification" {
            group["matcher"] = json!("idle_prompt");
        }
        (event, group)
    };
    let known = |event: &&str| *event != STOP_FAILURE || lacks_stop_failure(version).is_none();
    EVENTS.into_iter().filter(known).map(group).collect()
}

/// Returns a path in double quotes for a shell.
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

    #[test]
    fn a_client_gets_no_event_that_it_may_not_know() {
        let has = |version| groups("x", version).iter().any(|(event, _)| *event == STOP_FAILURE);
        assert!(has(Some([2, 1, 78])) && has(Some([2, 2, 0])) && has(Some([3, 0, 0])));
        assert!(!has(Some([2, 1, 77])) && !has(Some([1, 9, 999])) && !has(None));
    }

    #[test]
    fn every_hook_is_recognised_and_a_shell_reads_its_path() {
        for path in [
            "/usr/bin/claude-peers",
            "/opt/my tools/claude-peers",
            "/a $x`y\"/claude-peers",
            "/R&D (new)/a hook b\\/claude-peers",
        ] {
            for (_, group) in groups(&quoted(path), Some([2, 1, 330])) {
                assert!(ownership::is_group(&group), "{group}");
            }
            let said = std::process::Command::new("sh")
                .args(["-c", &format!("printf %s {}", quoted(path))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), path);
        }
    }
}
