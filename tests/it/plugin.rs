//! Promise 6: the plugin in `packaging/claude-plugin` fits the program, and blocks no session.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use clap::CommandFactory as _;
use claude_peers::cli::Cli;
use serde_json::{Value, json};

use crate::support::{PROGRAM, Sandbox};

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn plugin() -> PathBuf {
    project().join("packaging/claude-plugin")
}

fn read(path: impl AsRef<Path>) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// All hook commands, each with its event.
fn commands() -> Vec<(String, Value)> {
    let hooks = read(plugin().join("hooks/hooks.json"));
    let events = hooks["hooks"].as_object().unwrap();
    let groups = events.iter().flat_map(|(event, groups)| {
        let hooks = groups.as_array().unwrap().iter().flat_map(|g| g["hooks"].as_array().unwrap());
        hooks.map(|hook| (event.clone(), hook.clone())).collect::<Vec<_>>()
    });
    groups.collect()
}

/// Runs a hook's command as the client does, with this PATH.
fn run_command(sandbox: &Sandbox, event: &str, hook: &Value, path: &str) -> Output {
    let command = hook["command"].as_str().unwrap();
    let mut child = sandbox
        .command_of("/bin/sh", ["-c", command])
        .env("PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = json!({ "session_id": "s", "hook_event_name": event, "prompt_id": "t" });
    // A hook that exits early does not read it.
    let _ = child.stdin.take().unwrap().write_all(input.to_string().as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn the_plugin_is_of_this_version_and_its_parts_fit() {
    let manifest = read(plugin().join(".claude-plugin/plugin.json"));
    assert_eq!(manifest["version"], claude_peers::VERSION);
    // `claude plugin validate` does not notice a channel whose server is missing.
    let servers = manifest["mcpServers"].as_object().unwrap();
    let channels = manifest["channels"].as_array().unwrap();
    assert!(!channels.is_empty());
    for channel in channels {
        assert!(servers.contains_key(channel["server"].as_str().unwrap()), "{channel}");
    }
    for server in servers.values() {
        assert_eq!(server["command"], "claude-peers");
        let words = server["args"].as_array().unwrap().iter().map(|w| w.as_str().unwrap());
        Cli::command().try_get_matches_from(["claude-peers"].into_iter().chain(words)).unwrap();
    }
    let market = read(project().join(".claude-plugin/marketplace.json"));
    let listed = &market["plugins"][0];
    assert_eq!(listed["name"], manifest["name"]);
    assert_eq!(listed["description"], manifest["description"]);
    assert!(project().join(listed["source"].as_str().unwrap()).join(".claude-plugin").is_dir());
}

#[test]
fn each_hook_is_understood_silent_without_a_broker_and_ends_in_time() {
    let sandbox = Sandbox::new();
    let bin = sandbox.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(PROGRAM, bin.join("claude-peers")).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let all = commands();
    for event in [
        "SessionStart",
        "UserPromptSubmit",
        "PostToolUse",
        "Stop",
        "StopFailure",
        "Notification",
        "SessionEnd",
    ] {
        assert!(all.iter().any(|(name, _)| name == event), "{event}");
    }
    for (event, hook) in all {
        assert!(hook["timeout"].as_u64().is_some(), "{hook}");
        let output = run_command(&sandbox, &event, &hook, &path);
        assert!(output.status.success(), "{event}: {output:?}");
        assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{event}: {output:?}");
    }
    assert!(sandbox.broker().is_none(), "no hook starts a broker");
}

#[test]
fn without_the_program_a_session_is_told_once_at_its_start() {
    let sandbox = Sandbox::new();
    for (event, hook) in commands() {
        let output = run_command(&sandbox, &event, &hook, "/nowhere");
        assert!(output.status.success() && output.stderr.is_empty(), "{event}: {output:?}");
        if event == "SessionStart" {
            let said: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert!(said["systemMessage"].as_str().unwrap().contains("claude-peers in PATH"));
        } else {
            assert!(output.stdout.is_empty(), "{event}: {output:?}");
        }
    }
}

/// A plugin newer than the program: to Claude Code, exit code 2 of a hook blocks the session.
#[test]
fn a_hook_that_the_program_does_not_know_blocks_nothing() {
    let sandbox = Sandbox::new();
    for words in [&["hook", "Tomorrow"][..], &["hook", "Stop", "--tomorrow"], &["hook"]] {
        let output = sandbox.run(words);
        assert_eq!(output.status.code(), Some(1), "{words:?}: {output:?}");
        assert!(!output.stderr.is_empty(), "{words:?}");
    }
    assert_eq!(sandbox.run(["hook", "--help"]).status.code(), Some(0));
    assert_eq!(sandbox.run(["tomorrow"]).status.code(), Some(2));
}
