//! Setup: undo after other programs or people have changed the files.

use serde_json::json;

use super::standin::*;
use super::*;

#[test]
fn undo_removes_our_entries_and_leaves_later_edits() {
    let sandbox = with_claude();
    write(&settings(&sandbox), RICH);
    succeeds(&sandbox, &["claude", "--yes"]);
    let text = std::fs::read_to_string(settings(&sandbox)).unwrap();
    let edited = text
        .replace("\"model\": \"opus\"", "\"model\": \"haiku\"")
        .replace("\"Bash(ls *)\",", "\"Bash(ls *)\", \"Bash(cat *)\",");
    assert_ne!(text, edited);
    write(&settings(&sandbox), &edited);
    // The client's own file has changed as well.
    let lives = std::fs::read_to_string(state(&sandbox)).unwrap().replace(":1,", ":9,");
    write(&state(&sandbox), &lives);

    let said = succeeds(&sandbox, &["claude", "--undo", "--yes"]);
    assert!(said.contains("was edited since"), "{said}");
    let left = std::fs::read_to_string(settings(&sandbox)).unwrap();
    assert!(!left.contains("hook S") && !left.contains("\"mcp__claude-peers\""), "{left}");
    let mut expected = jsonc(RICH);
    expected["model"] = json!("haiku");
    expected["permissions"]["allow"] =
        json!(["Bash(ls *)", "Bash(cat *)", "mcp__claude-peers-other"]);
    assert_eq!(jsonc(&left), expected);
    keeps_lines(
        &RICH
            .replace("opus", "haiku")
            .replace("\"Bash(ls *)\",", "\"Bash(ls *)\", \"Bash(cat *)\","),
        &left,
    );
    assert_eq!(read(&state(&sandbox)), json!({ "numStartups": 9, "mcpServers": {} }));
    // The copy of the original file is at the place that was named.
    assert_eq!(remembered(&sandbox), ["claude-settings.json.1"]);
    assert!(said.contains("claude-settings.json.1"), "{said}");
    assert!(succeeds(&sandbox, &["claude", "--undo"]).contains("nothing to undo"));
}

#[test]
fn what_was_set_up_without_an_undo_record_is_recognised() {
    let sandbox = with_claude();
    write(&settings(&sandbox), RICH);
    succeeds(&sandbox, &["claude", "--yes"]);
    std::fs::remove_dir_all(sandbox.path().join("state/claude-peers/setup")).unwrap();
    let said = succeeds(&sandbox, &["claude", "--undo", "--yes"]);
    assert!(said.contains("no record"), "{said}");
    assert_eq!(read(&settings(&sandbox)), jsonc(RICH));
    assert_eq!(read(&state(&sandbox))["mcpServers"], json!({}));
}

#[test]
fn a_file_that_is_as_before_already_needs_no_undo() {
    let sandbox = sandbox();
    let file = sandbox.home().join(".cursor/mcp.json");
    write(&file, "{ }");
    succeeds(&sandbox, &["cursor", "--yes"]);
    // As after a crash between undo record and file.
    write(&file, "{ }");
    assert!(succeeds(&sandbox, &["cursor", "--undo"]).contains("nothing to undo"));
    assert_eq!(remembered(&sandbox), Vec::<String>::new());
    // A new setup does not use the old undo record.
    succeeds(&sandbox, &["cursor", "--yes"]);
    write(&file, "{  }");
    succeeds(&sandbox, &["cursor", "--yes"]);
    succeeds(&sandbox, &["cursor", "--undo", "--yes"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{  }");
    assert_eq!(remembered(&sandbox), Vec::<String>::new());
}

#[test]
fn without_the_copy_our_entries_are_removed_nevertheless() {
    let sandbox = sandbox();
    let file = sandbox.home().join(".codex/config.toml");
    write(&file, "model = \"o\"\n");
    succeeds(&sandbox, &["codex", "--yes"]);
    std::fs::remove_file(sandbox.path().join("state/claude-peers/setup/codex-config.toml.1"))
        .unwrap();
    succeeds(&sandbox, &["codex", "--undo", "--yes"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "model = \"o\"\n");
}

#[test]
fn an_undo_record_that_cannot_be_read_is_reported_and_nothing_changes() {
    let sandbox = sandbox();
    let file = sandbox.home().join(".cursor/mcp.json");
    write(&file, "{}");
    succeeds(&sandbox, &["cursor", "--yes"]);
    let record = sandbox.path().join("state/claude-peers/setup/cursor.json");
    write(&record, "{ torn");
    let before = everything(&sandbox);
    let error = fails(&sandbox, &["cursor", "--undo", "--yes"]);
    assert!(error.contains("cursor.json cannot be read"), "{error}");
    assert_eq!(everything(&sandbox), before);
}

/// An edit that is made while setup waits for an answer is kept.
#[test]
fn an_edit_between_plan_and_change_is_not_overwritten() {
    let sandbox = sandbox();
    let file = sandbox.home().join(".cursor/mcp.json");
    write(&file, "{}");
    let (code, screen) = question::at_a_terminal(&sandbox, &["cursor"], || {
        write(&file, "{ \"mine\": 1 }");
        "y\n"
    });
    assert_eq!(code, 1, "{screen}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{ \"mine\": 1 }");
    assert_eq!(remembered(&sandbox), Vec::<String>::new());
}

/// Root would leave files in another user's home that this user cannot write.
#[test]
fn root_does_not_write_in_another_users_directory() {
    if claude_peers::sys::files::effective_uid() != 0 {
        return; // Who is not root cannot do it in the first place.
    }
    let sandbox = sandbox();
    let file = sandbox.home().join(".cursor/mcp.json");
    write(&file, "{}");
    std::os::unix::fs::chown(file.parent().unwrap(), Some(65534), Some(65534)).unwrap();
    let error = fails(&sandbox, &["cursor", "--yes"]);
    assert!(error.contains("belongs to user id 65534"), "{error}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "{}");
}
