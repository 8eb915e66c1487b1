//! Promise 6: settings of 100 MB and JSON of any depth end no command and hold no session up.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::json;

use crate::support::hooks::run_with_input;
use crate::support::http::Request;
use crate::support::{Sandbox, SessionOptions, write_program};

/// The levels of the deepest JSON; a reader that recurses without a limit has no stack for it.
const DEEP: usize = 200_000;

const HUGE: u64 = 100 << 20;

/// Kilobytes of address space for a process that must not read a huge file whole.
const ADDRESS_SPACE: &str = "ulimit -v 600000";

fn huge(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::File::create(path).unwrap().set_len(HUGE).unwrap();
}

fn deep(before: &str, behind: &str) -> String {
    format!("{before}{}{}{behind}", "[".repeat(DEEP), "]".repeat(DEEP))
}

/// Runs a line in which `claude-peers` is the program, with an input and little address space.
fn limited(sandbox: &Sandbox, line: &str, input: &[u8]) -> Output {
    let program = env!("CARGO_BIN_EXE_claude-peers");
    let line = format!("{ADDRESS_SPACE}; exec '{program}' {line}");
    run_with_input(sandbox.command_of("sh", ["-c", &line]), input)
}

#[test]
fn a_configuration_file_of_100_mb_is_refused_and_not_read() {
    let sandbox = Sandbox::new();
    let file = sandbox.config().paths.config_file;
    huge(&file);
    for command in ["peers", "send x y", "broker"] {
        let output = limited(&sandbox, command, b"");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command}: {error}");
        assert!(error.contains("too large for settings"), "{command}: {error}");
    }
    // Neither a hook nor a session is held up.
    let hook = limited(&sandbox, "hook Stop", br#"{"session_id":"a"}"#);
    assert!(hook.status.success() && hook.stdout.is_empty(), "{hook:?}");
    let mut session = SessionOptions::new("backend").at_once().start(&sandbox);
    let said = session.try_call("list_peers", json!({}));
    assert!(said["content"][0]["text"].as_str().unwrap().contains("config.toml"), "{said}");
    assert_eq!(fs::metadata(&file).unwrap().len(), HUGE, "it is as it was");
}

#[test]
fn claudes_settings_of_100_mb_or_of_any_depth_are_left_alone_and_named() {
    let sandbox = Sandbox::new();
    let bin = sandbox.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    write_program(&bin.join("claude"), "#!/bin/sh\necho '2.1.330 (Claude Code)'\n");
    let path = format!("{}:{}", bin.display(), sandbox.variable("PATH").unwrap());
    let sandbox = sandbox.with("PATH", path);
    let settings = sandbox.home().join(".claude/settings.json");
    huge(&settings);
    for command in ["setup claude --yes", "setup claude --undo --yes", "doctor"] {
        let output = limited(&sandbox, command, b"");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.code().is_some(), "{command}: {:?} {said}", output.status);
        if command == "setup claude --yes" {
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("settings.json") && said.contains("too large"), "{said}");
        }
        assert_eq!(fs::metadata(&settings).unwrap().len(), HUGE, "{command}");
    }
    let text = deep("{\"hooks\": ", "}");
    fs::write(&settings, &text).unwrap();
    for command in ["setup claude --yes", "doctor"] {
        let output = limited(&sandbox, command, b"");
        assert!(output.status.code().is_some(), "{command}: {:?}", output.status);
        assert_eq!(fs::read_to_string(&settings).unwrap(), text, "{command}");
    }
}

#[test]
fn deep_json_is_refused_wherever_it_comes_in() {
    let sandbox = Sandbox::new();
    let mut backend = SessionOptions::new("backend").start(&sandbox);
    backend.until_live();
    // A hook's input. What does not concern it is skipped, so its depth is no matter.
    for input in [
        deep("{\"session_id\":\"a\",\"tool_response\":", "}"),
        deep("", ""),
        deep("{\"session_id\":", "}"),
        "{\"a\":".repeat(DEEP),
    ] {
        let output = limited(&sandbox, "hook PostToolUse", input.as_bytes());
        assert!(output.status.success() && output.stdout.is_empty(), "{:?}", output.status);
    }
    // A line of a client.
    backend.write_line(&deep(
        r#"{"jsonrpc":"2.0","id":900,"method":"tools/call","params":{"name":"list_peers","arguments":{"scope":"#,
        "}}}",
    ));
    backend.write_line(&deep("", ""));
    assert!(backend.text("list_peers", json!({})).contains("backend"), "it goes on");
    // A request's body.
    for body in [deep("{\"to\":\"backend\",\"text\":", "}"), deep("", "")] {
        let answer = Request::raw("/v1/messages", body).unix(&sandbox);
        assert_eq!(answer.status, 400);
    }
    assert!(sandbox.live_names().contains(&"backend".to_owned()), "the broker goes on");
}

#[test]
fn a_hooks_input_of_100_mb_is_read_without_being_held() {
    let sandbox = Sandbox::new();
    let result = "x".repeat(usize::try_from(HUGE).unwrap());
    let input = format!(r#"{{"session_id":"a","prompt_id":"t","tool_response":"{result}"}}"#);
    let output = limited(&sandbox, "hook PostToolUse", input.as_bytes());
    assert!(output.status.success(), "{:?}", output.status);
    assert!(output.stdout.is_empty() && output.stderr.is_empty());
}
