//! Setup: the question, the dry run, and the overview.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use serde_json::Value;

use super::*;
use crate::support::{terminal, until};

#[test]
fn nothing_changes_without_a_yes() {
    let sandbox = sandbox();
    write(&sandbox.home().join(".cursor/mcp.json"), "{}");
    let before = everything(&sandbox);
    let shown = succeeds(&sandbox, &["cursor", "--dry-run"]);
    assert!(shown.contains("+   \"mcpServers\": {"), "{shown}");
    let output = setup(&sandbox, &["cursor"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("cannot ask for confirmation"), "{error}");
    assert!(error.contains("claude-peers setup cursor --yes"), "{error}");
    let json = setup(&sandbox, &["cursor", "--json"]);
    let error: Value = serde_json::from_slice(&json.stderr).unwrap();
    let told = error["error"]["message"].as_str().unwrap();
    assert!(told.contains("cannot ask for confirmation"), "{error}");
    assert_eq!(everything(&sandbox), before);
    assert!(!sandbox.path().join("state/claude-peers").exists(), "not even a directory is made");
    assert_eq!(sandbox.fails(["setup", "emacs"]).0, 2);
}

/// Runs setup at a terminal and types what `answer` returns. Returns the exit code and the screen.
pub fn at_a_terminal(
    sandbox: &Sandbox,
    arguments: &[&str],
    mut answer: impl FnMut() -> &'static str,
) -> (i32, String) {
    let (ours, theirs) = terminal();
    let mut child = sandbox
        .command(std::iter::once("setup").chain(arguments.iter().copied()))
        .stdin(Stdio::from(theirs.try_clone().unwrap()))
        .stdout(Stdio::from(theirs))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut terminal = std::fs::File::from(ours);
    let mut screen = Vec::new();
    let mut bytes = [0u8; 4096];
    // The end of a terminal is an error.
    while let Ok(count) = terminal.read(&mut bytes) {
        if count == 0 {
            break;
        }
        screen.extend_from_slice(&bytes[..count]);
        if String::from_utf8_lossy(&screen).ends_with("Make these changes? [y/N] ") {
            terminal.write_all(answer().as_bytes()).unwrap();
        }
    }
    let mut code = None;
    until("it ends", || {
        code = child.try_wait().unwrap().and_then(|status| status.code());
        code.is_some()
    });
    (code.unwrap(), String::from_utf8_lossy(&screen).into_owned())
}

#[test]
fn a_person_is_shown_the_change_and_asked() {
    let sandbox = sandbox();
    let file = sandbox.home().join(".cursor/mcp.json");
    write(&file, "{}");
    for answer in ["n\n", "\n", "maybe\n"] {
        let (code, screen) = at_a_terminal(&sandbox, &["cursor"], || answer);
        assert_eq!(code, 1, "{screen}");
        assert!(screen.contains("\"mcpServers\"") && screen.contains("Nothing was changed."));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{}");
    }
    let (code, screen) = at_a_terminal(&sandbox, &["cursor"], || "y\n");
    assert_eq!(code, 0, "{screen}");
    assert!(std::fs::read_to_string(&file).unwrap().contains("claude-peers"));
    // Where everything is in place there is no question.
    let (code, screen) = at_a_terminal(&sandbox, &[], || "");
    assert_eq!(code, 0, "{screen}");
    let (code, screen) = at_a_terminal(&sandbox, &["cursor", "--undo"], || "yes\n");
    assert_eq!(code, 0, "{screen}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{}");
    // Without a named client, those that are installed are offered.
    let (code, screen) = at_a_terminal(&sandbox, &[], || "y\n");
    assert_eq!((code, screen.matches("Make these changes?").count()), (0, 1), "{screen}");
    assert!(std::fs::read_to_string(&file).unwrap().contains("claude-peers"));
}

#[test]
fn setup_always_says_what_it_did_or_why_it_did_nothing() {
    let sandbox = sandbox();
    let said = succeeds(&sandbox, &[]);
    assert!(said.contains("None of these clients was found, so nothing was done"), "{said}");
    assert!(said.contains("name it: claude-peers setup claude"), "{said}");
    let (code, screen) = at_a_terminal(&sandbox, &[], || "");
    assert!(code == 0 && screen.contains("nothing was done"), "{screen}");
    std::fs::create_dir(sandbox.home().join(".cursor")).unwrap();
    succeeds(&sandbox, &["--yes"]);
    for arguments in [&[][..], &["--yes"], &["--dry-run"]] {
        let said = succeeds(&sandbox, arguments);
        assert!(said.contains("All clients found are already set up; no changes."), "{said}");
    }
}

#[test]
fn undo_without_a_client_undoes_everything_that_was_set_up() {
    let sandbox = sandbox();
    write(&sandbox.home().join(".cursor/mcp.json"), "{}");
    std::fs::create_dir(sandbox.home().join(".codex")).unwrap();
    std::fs::create_dir(sandbox.home().join(".gemini")).unwrap();
    let before = everything(&sandbox);
    let said = succeeds(&sandbox, &["--undo"]);
    assert!(said.contains("nothing to undo"), "{said}");
    succeeds(&sandbox, &["--yes"]);
    let after = everything(&sandbox);
    assert_ne!(after, before);

    let shown = succeeds(&sandbox, &["--undo", "--dry-run"]);
    for title in ["Codex", "Gemini CLI", "Cursor"] {
        assert!(shown.contains(&format!("{title}: changes to make")), "{shown}");
    }
    assert!(!shown.contains("opencode"), "{shown}");
    let error = fails(&sandbox, &["--undo"]);
    assert!(error.contains("cannot ask for confirmation"), "{error}");
    assert!(error.contains("claude-peers setup --undo --yes"), "{error}");
    let (code, screen) = at_a_terminal(&sandbox, &["--undo"], || "n\n");
    assert_eq!((code, screen.matches("Make these changes?").count()), (1, 3), "{screen}");
    assert_eq!(everything(&sandbox), after);

    // A file that cannot be read does not stop the others.
    let codex = sandbox.home().join(".codex/config.toml");
    let text = std::fs::read_to_string(&codex).unwrap();
    write(&codex, "broken = [");
    let error = fails(&sandbox, &["--undo", "--yes"]);
    assert!(error.contains("config.toml"), "{error}");
    write(&codex, &text);
    let done = sandbox.json(["setup", "--undo", "--yes"]);
    assert_eq!(done["done"].as_array().unwrap().len(), 1, "{done}");
    assert_eq!(
        (&done["done"][0]["client"], &done["done"][0]["changed"]),
        (&"codex".into(), &true.into())
    );
    assert_eq!(everything(&sandbox), before);
    assert_eq!(remembered(&sandbox), Vec::<String>::new());
}

#[test]
fn the_overview_lists_the_installed_clients_and_the_state_of_each() {
    let sandbox = sandbox();
    let state = |name: &str| {
        let list = sandbox.json(["setup"]);
        let clients = list["clients"].as_array().unwrap();
        let found = clients.iter().find(|found| found["client"] == name).unwrap();
        found["state"].as_str().unwrap().to_owned()
    };
    for name in ["claude", "codex", "opencode", "gemini", "cursor"] {
        assert_eq!(state(name), "not_found");
    }
    let program = sandbox.path().join("bin/gemini");
    write_program(&program, "#!/bin/sh\n");
    std::fs::create_dir(sandbox.home().join(".codex")).unwrap();
    write(&sandbox.home().join(".cursor/mcp.json"), "{ broken");
    assert_eq!(state("gemini"), "not_set_up");
    assert_eq!(state("codex"), "not_set_up");
    assert_eq!(state("cursor"), "unusable");
    let before = everything(&sandbox);
    let output = setup(&sandbox, &[]);
    assert_eq!(output.status.code(), Some(1), "something is to be done, and was not");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("claude-peers setup codex, claude-peers setup gemini"), "{said}");
    assert!(said.contains("cursor: ") && said.contains("line 1"), "{said}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("cannot ask for confirmation"), "{error}");
    assert!(error.contains("claude-peers setup --yes"), "{error}");
    assert_eq!(everything(&sandbox), before, "it asks nothing and changes nothing");

    let output = setup(&sandbox, &["--yes", "--json"]);
    assert_eq!(output.status.code(), Some(1), "one of them could not be set up");
    let done: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(done["done"].as_array().unwrap().len(), 2, "{done}");
    assert_eq!(done["done"][0]["changed"], true);
    assert_eq!(done["done"][0]["steps"][0]["kind"], "create");
    assert_eq!((state("gemini"), state("codex")), ("set_up".into(), "set_up".into()));
    let codex = sandbox.home().join(".codex/config.toml");
    let text = std::fs::read_to_string(&codex).unwrap();
    write(&codex, &text.replace(PROGRAM, "/old/claude-peers"));
    assert_eq!(state("codex"), "partly");
    // The directory was there before.
    let undone = sandbox.json(["setup", "gemini", "--undo", "--yes"]);
    assert_eq!(undone["done"][0]["steps"][0]["kind"], "remove");
    assert!(!sandbox.home().join(".gemini").exists());
}
