//! Doctor: whether Claude Code runs our hooks, and when the last hook event came.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::*;
use crate::support::SessionOptions;

const EVENTS: [&str; 6] =
    ["SessionStart", "UserPromptSubmit", "PostToolUse", "Stop", "Notification", "SessionEnd"];

fn write(path: &Path, value: &Value) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, value.to_string()).unwrap();
}

fn ours(events: &[&str]) -> Value {
    let group = |event: &str| {
        let command = format!("claude-peers hook {event}");
        json!([{ "hooks": [{ "type": "command", "command": command }] }])
    };
    let hooks = events.iter().map(|event| ((*event).to_owned(), group(event)));
    json!({ "hooks": hooks.collect::<serde_json::Map<_, _>>() })
}

#[test]
fn doctor_says_whether_our_hooks_are_run_and_when_the_last_event_came() {
    let sandbox = Sandbox::new();
    let user = sandbox.home().join(".claude/settings.json");
    let local = sandbox.path().join(".claude/settings.local.json");
    let of_hooks = || {
        let findings = sandbox.json(["doctor", "--no-claude"]);
        findings["findings"]
            .as_array()
            .unwrap()
            .iter()
            .find(|found| found["check"] == "hooks")
            .cloned()
    };
    assert_eq!(of_hooks(), None, "there is no Claude Code");
    write(&user, &json!({}));
    let found = of_hooks().unwrap();
    assert_eq!(found["level"], "ok");
    assert!(found["finding"].as_str().unwrap().starts_with("our hooks are not set up"), "{found}");

    write(&user, &ours(&EVENTS));
    let found = of_hooks().unwrap();
    assert_eq!(found["level"], "ok");
    assert!(found["finding"].as_str().unwrap().ends_with("none has run yet"), "{found}");
    let _frontend = SessionOptions::new("frontend").without_channel().start(&sandbox);
    let found = of_hooks().unwrap();
    assert_eq!(found["level"], "warning", "{found}");
    assert!(found["finding"].as_str().unwrap().contains("none has ever run"), "{found}");

    let mut hook = sandbox.command(["hook", "Stop"]).stdin(Stdio::piped()).spawn().unwrap();
    hook.stdin.take().unwrap().write_all(b"{\"session_id\": \"session-frontend\"}").unwrap();
    assert!(hook.wait().unwrap().success());
    let found = of_hooks().unwrap();
    assert_eq!(found["level"], "ok");
    assert!(found["finding"].as_str().unwrap().contains("the last one ran about"), "{found}");
    // The next broker knows it.
    sandbox.kill9_broker().unwrap();
    assert_eq!(of_hooks().unwrap()["level"], "ok");

    write(&local, &json!({ "disableAllHooks": true }));
    let found = of_hooks().unwrap();
    assert_eq!(found["level"], "warning", "{found}");
    let told = format!("disableAllHooks is set in {}", local.display());
    assert!(found["finding"].as_str().unwrap().contains(&told), "{told}: {found}");
    write(&local, &json!({}));

    // Hooks that an earlier version set up.
    write(&user, &ours(&["SessionStart", "UserPromptSubmit", "PostToolUse", "Stop", "SessionEnd"]));
    let found = of_hooks().unwrap();
    let missing = found["finding"].as_str().unwrap();
    assert!(missing.contains("some of our hooks are missing in"), "{found}");
    assert!(missing.ends_with(": Notification"), "{found}");
    assert!(found["fix"].as_str().unwrap().ends_with(" setup claude"), "{found}");
}
