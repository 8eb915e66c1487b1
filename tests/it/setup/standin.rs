//! Setup: a program that stands in for `claude mcp`, and the expected result with it.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;

const EVENTS: [&str; 7] = [
    "SessionStart",
    "UserPromptSubmit",
    "PostToolUse",
    "Stop",
    "StopFailure",
    "Notification",
    "SessionEnd",
];

/// `claude mcp add`, `add-json` and `remove`, for a file of one line.
pub const CLAUDE: &str = r#"#!/bin/sh
if [ "$1" = --version ]; then cat "$HOME/claude-version" 2>/dev/null || echo "2.1.330 (Claude Code)"; exit; fi
echo "$*" >> "$HOME/calls"
file="$HOME/.claude.json"
if [ -e "$HOME/claude-fails" ]; then echo "the sky is falling" >&2; exit 1; fi
[ -e "$file" ] || printf '{"numStartups":1}' > "$file"
grep -q mcpServers "$file" || { sed 's/}$/,"mcpServers":{}}/' "$file" > "$file.new"; cat "$file.new" > "$file"; rm "$file.new"; }
case "$2" in
add) name=$7 entry="{\"type\":\"stdio\",\"command\":\"$9\",\"args\":[\"${10}\"]}" ;;
add-json) name=$5 entry=$6 ;;
remove) name=$5 entry= ;;
esac
if [ -n "$entry" ]; then
    if grep -q "\"$name\":{" "$file"; then echo "already exists" >&2; exit 1; fi
    sed "s|\"mcpServers\":{|&\"$name\":$entry|; s|}\"|},\"|g" "$file" > "$file.new"
else
    sed "s|\"$name\":{[^}]*},*||" "$file" > "$file.new"
fi
cat "$file.new" > "$file"; rm "$file.new"
"#;

pub fn with_claude() -> Sandbox {
    let sandbox = sandbox();
    let program = sandbox.path().join("bin/claude");
    write_program(&program, CLAUDE);
    sandbox
}

pub fn settings(sandbox: &Sandbox) -> PathBuf {
    sandbox.home().join(".claude/settings.json")
}

pub fn state(sandbox: &Sandbox) -> PathBuf {
    sandbox.home().join(".claude.json")
}

pub fn calls(sandbox: &Sandbox) -> usize {
    std::fs::read_to_string(sandbox.home().join("calls")).map_or(0, |text| text.lines().count())
}

pub fn read(path: &Path) -> Value {
    jsonc(&std::fs::read_to_string(path).unwrap())
}

pub fn server_entry(program: &str) -> Value {
    json!({ "type": "stdio", "command": program, "args": ["mcp"] })
}

/// Checks that every entry is there, once, and runs this program.
#[track_caller]
pub fn is_set_up(sandbox: &Sandbox, program: &str) {
    let value = read(&settings(sandbox));
    let rules = value["permissions"]["allow"].as_array().unwrap();
    assert_eq!(rules.iter().filter(|rule| *rule == "mcp__claude-peers").count(), 1, "{value}");
    for event in EVENTS {
        let groups = value["hooks"][event].as_array().unwrap();
        let hooks: Vec<&Value> =
            groups.iter().flat_map(|group| group["hooks"].as_array().unwrap()).collect();
        let ours: Vec<&Value> = hooks
            .into_iter()
            .filter(|hook| hook["command"].as_str().unwrap().contains("claude-peers"))
            .collect();
        let command = format!("\"{program}\" hook {event}");
        assert_eq!(ours[0], &json!({ "type": "command", "command": command, "timeout": 5 }));
        let wait = format!("{command} --wait");
        match event {
            "Stop" | "StopFailure" => assert_eq!(
                ours[1..],
                [&json!({
                    "type": "command", "command": wait, "asyncRewake": true, "timeout": 604_800,
                })]
            ),
            _ => assert_eq!(ours.len(), 1),
        }
        if event == "Notification" {
            assert_eq!(groups.last().unwrap()["matcher"], "idle_prompt");
        }
    }
    assert_eq!(
        read(&state(sandbox))["mcpServers"],
        json!({ "claude-peers": server_entry(program) })
    );
}

/// Settings of a person who does not know that Claude Code allows no comments.
pub const RICH: &str = r#"{
  // The model that I like
  "model": "opus",
  "permissions": {
    "deny": ["Bash(rm *)"],
    "allow": [
      "Bash(ls *)", // harmless
      "mcp__claude-peers-other"
    ]
  },
  "hooks": {
    "Stop": [{ "hooks": [{ "type": "command", "command": "notify-send done" }] }],
    "PreToolUse": [
      { "matcher": "Bash", "hooks": [{ "type": "command", "command": "check", "timeout": 3 }] }
    ]
  }
  /* the end */
}
"#;
