//! Setup: Claude Code, by its own command for the server and its `settings.json` for the rest.
//!
//! The real client is run by `tests/system/claude-code`. Here a small program stands in for its
//! `mcp` command, because failures of that command must be tested, too.

use serde_json::{Value, json};

use super::standin::*;
use super::*;
use crate::support::chmod;

const CONTENTS: [&str; 7] = [
    "",
    "\n",
    "{}\n",
    "{\"model\":\"opus\",\"permissions\":{\"allow\":[\"Bash\"]},\"hooks\":{}}\n",
    "// nothing yet\n",
    RICH,
    "{\n\t\"env\": {\n\t\t\"A\": \"1\",\n\t},\n\t\"hooks\": {\n\t\t\"Stop\": []\n\t},\n}\n",
];

#[test]
fn any_settings_are_extended_and_undone_to_the_byte() {
    for (way, put) in WAYS {
        for content in CONTENTS {
            let sandbox = with_claude();
            put(&settings(&sandbox), content);
            write(&state(&sandbox), "{\"numStartups\":3}");
            let before = everything(&sandbox);
            let text = std::fs::read_to_string(settings(&sandbox)).unwrap();

            succeeds(&sandbox, &["claude", "--yes"]);
            is_set_up(&sandbox, PROGRAM);
            let after = std::fs::read_to_string(settings(&sandbox)).unwrap();
            if text.lines().count() > 1 {
                keeps_lines(&text, &after);
            }
            assert_eq!(text.starts_with('\u{feff}'), after.starts_with('\u{feff}'), "{way}");
            if text.contains('\r') {
                assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "{way}");
            }
            if serde_json::from_str::<Value>(&text).is_ok() {
                serde_json::from_str::<Value>(&after).unwrap();
            }

            let (identity_before, called) = (identity(&settings(&sandbox)), calls(&sandbox));
            let said = succeeds(&sandbox, &["claude", "--yes"]);
            assert!(said.contains("is already set up"), "{said}");
            assert_eq!(identity(&settings(&sandbox)), identity_before, "{way} {content:?}");
            assert_eq!(calls(&sandbox), called, "its program is not even asked");

            succeeds(&sandbox, &["claude", "--undo", "--yes"]);
            std::fs::remove_file(sandbox.home().join("calls")).unwrap();
            assert_eq!(everything(&sandbox), before, "{way} {content:?}");
            assert_eq!(remembered(&sandbox), Vec::<String>::new());
        }
    }
}

#[test]
fn what_keeps_the_hooks_from_running_is_said_wherever_it_stands() {
    let sandbox = with_claude();
    succeeds(&sandbox, &["claude", "--yes"]);
    let project = sandbox.path().join(".claude/settings.local.json");
    for (file, content) in [
        (settings(&sandbox), "{\"disableAllHooks\": true}"),
        (project.clone(), "{\"disableAllHooks\": true}"),
    ] {
        let before = std::fs::read_to_string(&file).ok();
        write(&file, content);
        let said = succeeds(&sandbox, &["claude", "--yes"]);
        let told = format!("disableAllHooks is set in {}", file.display());
        assert!(said.contains(&told), "{told}: {said}");
        write(&file, before.as_deref().unwrap_or("{}"));
    }
    // The nearer file takes precedence.
    write(&project, "{\"disableAllHooks\": false}");
    write(&settings(&sandbox), "{\"disableAllHooks\": true}");
    let said = succeeds(&sandbox, &["claude", "--yes"]);
    assert!(!said.contains("disableAllHooks is set"), "{said}");
    // With the plugin, too.
    std::fs::remove_file(&project).unwrap();
    write(
        &settings(&sandbox),
        "{\"disableAllHooks\": true, \"enabledPlugins\": {\"peers@claude-peers\": true}}",
    );
    let said = succeeds(&sandbox, &["claude", "--yes"]);
    assert!(said.contains("disableAllHooks is set in"), "{said}");
}

/// Measured with the real client: with an unknown hook event it ignores the whole file.
#[test]
fn a_client_that_may_not_know_a_hook_does_not_get_it() {
    for version in ["2.1.77 (Claude Code)", "nonsense", ""] {
        let sandbox = with_claude();
        write(&sandbox.home().join("claude-version"), version);
        let said = succeeds(&sandbox, &["claude", "--yes"]);
        assert!(said.contains("The hook StopFailure is left out"), "{version}: {said}");
        let hooks = read(&settings(&sandbox))["hooks"].clone();
        assert!(hooks["StopFailure"].is_null() && hooks["Stop"].is_array(), "{hooks}");
        // With a newer client, the rest is added.
        write(&sandbox.home().join("claude-version"), "2.1.78 (Claude Code)");
        let said = succeeds(&sandbox, &["claude", "--yes"]);
        assert!(!said.contains("left out"), "{said}");
        is_set_up(&sandbox, PROGRAM);
    }
}

/// Measured with the real client: it silently ignores such a file.
#[test]
fn settings_that_the_client_ignores_are_said_to_be() {
    let sandbox = with_claude();
    write(&settings(&sandbox), RICH);
    for arguments in [&["claude", "--dry-run"][..], &["claude", "--yes"], &["claude"]] {
        let said = succeeds(&sandbox, arguments);
        assert!(said.contains("WARNING: Claude Code ignores the whole of"), "{said}");
        assert!(said.contains("(line 2)"), "{said}");
    }
    assert!(succeeds(&sandbox, &[]).contains("claude: Claude Code ignores"));
    succeeds(&sandbox, &["claude", "--undo", "--yes"]);
    write(&settings(&sandbox), "{}");
    assert!(!succeeds(&sandbox, &["claude", "--yes"]).contains("WARNING"));
}

#[test]
fn where_nothing_was_nothing_is_left() {
    let sandbox = with_claude();
    succeeds(&sandbox, &["claude", "--yes"]);
    is_set_up(&sandbox, PROGRAM);
    succeeds(&sandbox, &["claude", "--undo", "--yes"]);
    assert!(!sandbox.home().join(".claude").exists());
    // The client's own state file stays.
    assert_eq!(read(&state(&sandbox)), json!({ "numStartups": 1, "mcpServers": {} }));
    assert!(succeeds(&sandbox, &["claude", "--undo"]).contains("nothing to undo"));
}

#[test]
fn what_cannot_be_read_is_not_touched() {
    for (broken, line) in [
        ("{\n  \"model\": \"opus\"\n  \"hooks\": {}\n}\n", "line 2"),
        ("{\n  \"model\": \"opus\",\n", "line 1"),
        ("[]", "no object"),
        ("{ \"hooks\": \"none\" }", "hooks is not an object"),
        ("{ \"permissions\": { \"allow\": {} } }", "permissions.allow is not an array"),
        ("{ \"hooks\": {}, \"hooks\": {} }", "hooks stands there twice"),
    ] {
        let sandbox = with_claude();
        write(&settings(&sandbox), broken);
        let before = everything(&sandbox);
        for arguments in [&["claude", "--yes"][..], &["claude", "--dry-run"], &["claude"]] {
            let error = fails(&sandbox, arguments);
            assert!(error.contains(line), "{error}");
            assert!(error.contains(&settings(&sandbox).display().to_string()), "{error}");
            assert_eq!(everything(&sandbox), before);
        }
    }
    // Its own file: the client itself would refuse it, or damage it.
    let sandbox = with_claude();
    write(&state(&sandbox), "{\"oauthAccount\": ");
    let before = everything(&sandbox);
    let error = fails(&sandbox, &["claude", "--yes"]);
    assert!(error.contains(".claude.json"), "{error}");
    assert_eq!(everything(&sandbox), before);
    assert_eq!(remembered(&sandbox), Vec::<String>::new());
}

#[test]
fn what_is_read_only_is_not_written() {
    let sandbox = with_claude();
    write(&settings(&sandbox), "{}");
    chmod(&settings(&sandbox), 0o444);
    let before = everything(&sandbox);
    let error = fails(&sandbox, &["claude", "--yes"]);
    assert!(error.contains("settings.json is read-only (mode 444)"), "{error}");
    assert_eq!(everything(&sandbox), before);

    chmod(&settings(&sandbox), 0o644);
    chmod(&sandbox.home().join(".claude"), 0o555);
    let before = everything(&sandbox);
    let error = fails(&sandbox, &["claude", "--yes"]);
    assert!(error.contains(".claude is read-only (mode 555)"), "{error}");
    assert_eq!(everything(&sandbox), before);
    chmod(&sandbox.home().join(".claude"), 0o755);

    std::fs::remove_file(settings(&sandbox)).unwrap();
    std::fs::create_dir(settings(&sandbox)).unwrap();
    assert!(fails(&sandbox, &["claude", "--yes"]).contains("is no file"));
    std::fs::remove_dir(settings(&sandbox)).unwrap();
    symlink("nowhere", settings(&sandbox)).unwrap();
    assert!(fails(&sandbox, &["claude", "--yes"]).contains("leads nowhere"));
    assert_eq!(calls(&sandbox), 0);
}

#[test]
fn another_path_of_the_program_takes_the_place_of_the_old_one() {
    let sandbox = with_claude();
    write(&settings(&sandbox), RICH);
    write(&state(&sandbox), "{\"numStartups\":3}");
    let before = everything(&sandbox);
    for directory in ["opt/one/bin", "opt/with a $pace/bin"] {
        let program = elsewhere(&sandbox, directory);
        let run = |arguments: &[&str]| {
            let output = sandbox.command_of(&program, arguments).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        run(&["setup", "claude", "--yes"]);
        let shown = program.display().to_string();
        let value = read(&settings(&sandbox));
        assert_eq!(value["hooks"]["Stop"].as_array().unwrap().len(), 2, "{value}");
        let command = value["hooks"]["SessionEnd"][0]["hooks"][0]["command"].as_str().unwrap();
        assert_eq!(command, format!("\"{}\" hook SessionEnd", shown.replace('$', "\\$")));
        assert_eq!(read(&state(&sandbox))["mcpServers"]["claude-peers"], server_entry(&shown));
        assert!(run(&["setup", "claude"]).contains("is already set up"));
    }
    succeeds(&sandbox, &["claude", "--undo", "--yes"]);
    std::fs::remove_file(sandbox.home().join("calls")).unwrap();
    assert_eq!(everything(&sandbox), before);
}

#[test]
fn a_command_that_fails_leaves_everything_as_it_was() {
    for content in [None, Some(RICH)] {
        let sandbox = with_claude();
        if let Some(content) = content {
            write(&settings(&sandbox), content);
        }
        write(&sandbox.home().join("claude-fails"), "");
        let before = everything(&sandbox);
        let error = fails(&sandbox, &["claude", "--yes"]);
        assert!(error.contains("the sky is falling"), "{error}");
        assert!(error.contains("mcp add --scope user"), "{error}");
        std::fs::remove_file(sandbox.home().join("calls")).unwrap();
        assert_eq!(everything(&sandbox), before);
        assert_eq!(remembered(&sandbox), Vec::<String>::new());
    }
}

#[test]
fn without_its_program_its_file_is_edited_and_undone_to_the_byte() {
    for content in ["", "{\"numStartups\":3}\n", "{\n  \"mcpServers\": {\n    \"x\": {}\n  }\n}"] {
        let sandbox = sandbox();
        write(&settings(&sandbox), RICH);
        write(&state(&sandbox), content);
        let before = everything(&sandbox);
        assert!(succeeds(&sandbox, &["claude", "--yes"]).contains("no `claude` in PATH"));
        let server = json!({ "command": PROGRAM, "args": ["mcp"] });
        let text = std::fs::read_to_string(state(&sandbox)).unwrap();
        assert_eq!(jsonc(&text)["mcpServers"]["claude-peers"], server);
        let said = succeeds(&sandbox, &["claude", "--yes"]);
        assert!(said.contains("is already set up"), "{said}");
        succeeds(&sandbox, &["claude", "--undo", "--yes"]);
        assert_eq!(everything(&sandbox), before, "{content:?}");
        assert_eq!(remembered(&sandbox), Vec::<String>::new());
    }
    for broken in ["{", "[]", "{\"mcpServers\": 1}"] {
        let sandbox = sandbox();
        write(&state(&sandbox), broken);
        let before = everything(&sandbox);
        fails(&sandbox, &["claude", "--yes"]);
        assert_eq!(everything(&sandbox), before, "{broken}");
    }
}

#[test]
fn a_program_that_only_its_installer_knows_of_is_found() {
    let sandbox = sandbox();
    write(&settings(&sandbox), RICH);
    let program = sandbox.home().join(".local/bin/claude");
    write_program(&program, CLAUDE);
    succeeds(&sandbox, &["claude", "--yes"]);
    is_set_up(&sandbox, PROGRAM);
    // Without the program, the rest can still be undone.
    std::fs::remove_file(&program).unwrap();
    let said = succeeds(&sandbox, &["claude", "--undo", "--yes"]);
    assert!(said.contains("claude mcp remove --scope user claude-peers"), "{said}");
    assert_eq!(std::fs::read_to_string(settings(&sandbox)).unwrap(), RICH);
}

#[test]
fn another_server_of_that_name_is_replaced_and_restored() {
    let sandbox = with_claude();
    let old = r#"{"command":"bun","args":["/home/me/claude-peers-mcp/server.ts"],"timeout":9}"#;
    let content = format!("{{\"numStartups\":3,\"mcpServers\":{{\"claude-peers\":{old}}}}}");
    write(&state(&sandbox), &content);
    let said = succeeds(&sandbox, &["claude", "--yes"]);
    assert!(said.contains("It is replaced"), "{said}");
    is_set_up(&sandbox, PROGRAM);
    succeeds(&sandbox, &["claude", "--undo", "--yes"]);
    assert_eq!(std::fs::read_to_string(state(&sandbox)).unwrap(), content);
}

#[test]
fn a_registration_by_hand_is_kept_up_to_date_with_what_was_added_to_it() {
    let sandbox = with_claude();
    let entry = r#"{"command":"claude-peers","args":["mcp"],"timeout":9}"#;
    let content = format!("{{\"mcpServers\":{{\"mates\":{entry}}}}}");
    write(&state(&sandbox), &content);
    let by_hand = json!({ "hooks": {
        "SessionStart": [{ "hooks": [{ "type": "command", "command": "claude-peers hook SessionStart" }] }],
        "Stop": [{ "hooks": [
            { "type": "command", "command": "mine" },
            { "type": "command", "command": "claude-peers hook Stop" },
        ] }],
    } });
    let by_hand = serde_json::to_string_pretty(&by_hand).unwrap();
    write(&settings(&sandbox), &by_hand);
    succeeds(&sandbox, &["claude", "--yes"]);
    let servers = &read(&state(&sandbox))["mcpServers"];
    assert_eq!(*servers, json!({ "mates": { "command": PROGRAM, "args": ["mcp"], "timeout": 9 } }));
    let value = read(&settings(&sandbox));
    assert_eq!(value["permissions"]["allow"], json!(["mcp__mates"]));
    assert_eq!(value["hooks"]["SessionStart"].as_array().unwrap().len(), 1, "{value}");
    let first = &value["hooks"]["Stop"][0];
    assert_eq!(*first, json!({ "hooks": [{ "type": "command", "command": "mine" }] }));
    assert_eq!(value["hooks"]["Stop"].as_array().unwrap().len(), 2);
    succeeds(&sandbox, &["claude", "--undo", "--yes"]);
    assert_eq!(std::fs::read_to_string(settings(&sandbox)).unwrap(), by_hand);
    assert_eq!(std::fs::read_to_string(state(&sandbox)).unwrap(), content);
}

#[test]
fn parts_can_be_left_out() {
    let sandbox = with_claude();
    succeeds(&sandbox, &["claude", "--yes", "--no-hooks", "--no-permission"]);
    assert!(!settings(&sandbox).exists());
    succeeds(&sandbox, &["claude", "--yes", "--no-hooks"]);
    assert_eq!(
        read(&settings(&sandbox)),
        json!({ "permissions": { "allow": ["mcp__claude-peers"] } })
    );
    // The rest can follow, and one undo reverts all of it.
    succeeds(&sandbox, &["claude", "--yes"]);
    is_set_up(&sandbox, PROGRAM);
    succeeds(&sandbox, &["claude", "--undo", "--yes"]);
    assert!(!sandbox.home().join(".claude").exists());
}

#[test]
fn beside_the_plugin_the_permission_rule_of_its_server_is_set_and_nothing_else() {
    const RULE: &str = "mcp__plugin_peers_claude-peers";
    let sandbox = with_claude();
    write(&settings(&sandbox), "{ \"enabledPlugins\": { \"peers@claude-peers\": true } }");
    let before = everything(&sandbox);
    let state = || {
        let list = sandbox.json(["setup", "--no-hooks"]);
        list["clients"][0]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(), "partly");
    succeeds(&sandbox, &["claude", "--yes", "--no-permission"]);
    assert_eq!(everything(&sandbox), before);
    let said = succeeds(&sandbox, &["claude", "--yes"]);
    assert!(
        said.contains("The plugin peers@claude-peers already contains the server and the hooks"),
        "{said}"
    );
    assert!(said.contains(RULE) && !said.contains("unneeded registration"), "{said}");
    let with_rule = json!({
        "enabledPlugins": { "peers@claude-peers": true }, "permissions": { "allow": [RULE] },
    });
    assert_eq!(read(&settings(&sandbox)), with_rule);
    assert_eq!((calls(&sandbox), state()), (0, "set_up".to_owned()));
    let said = succeeds(&sandbox, &["claude", "--yes"]);
    assert!(
        said.contains("is already set up") && !said.contains("unneeded registration"),
        "{said}"
    );
    succeeds(&sandbox, &["claude", "--undo", "--yes"]);
    assert_eq!(everything(&sandbox), before);
    // Without an undo record it is recognised by its name.
    write(&settings(&sandbox), &with_rule.to_string());
    succeeds(&sandbox, &["claude", "--undo", "--yes"]);
    assert_eq!(read(&settings(&sandbox)), json!({ "enabledPlugins": with_rule["enabledPlugins"] }));

    // If it was set up before the plugin came, setup says that it is not needed.
    write(&settings(&sandbox), "{}");
    succeeds(&sandbox, &["claude", "--yes"]);
    let mut value = read(&settings(&sandbox));
    value["enabledPlugins"] = with_rule["enabledPlugins"].clone();
    write(&settings(&sandbox), &value.to_string());
    assert!(succeeds(&sandbox, &["claude", "--yes"]).contains("unneeded registration"));
    succeeds(&sandbox, &["claude", "--undo", "--yes"]);
    write(
        &settings(&sandbox),
        "{ \"enabledPlugins\": { \"peers@claude-peers\": false, \"peers@others\": true } }",
    );
    succeeds(&sandbox, &["claude", "--yes"]);
    is_set_up(&sandbox, PROGRAM);
}

#[test]
fn another_directory_of_the_client_has_its_own_configuration() {
    let sandbox = with_claude();
    let other = sandbox.home().join("work/claude");
    write(&other.join("settings.json"), "{}");
    write(&other.join(".claude.json"), "{\"mcpServers\":{}}");
    let sandbox = sandbox.with("CLAUDE_CONFIG_DIR", other.display().to_string());
    // The stand-in uses only the home, so its result is missing.
    let error = fails(&sandbox, &["claude", "--yes"]);
    assert!(error.contains("work/claude/.claude.json was not changed as it should be"), "{error}");
    assert_eq!(std::fs::read_to_string(other.join("settings.json")).unwrap(), "{}");
    assert!(!sandbox.home().join(".claude").exists());
}

#[test]
fn a_client_that_fails_does_not_stop_the_others() {
    let sandbox = with_claude();
    write(&sandbox.home().join("claude-fails"), "");
    std::fs::create_dir(sandbox.home().join(".cursor")).unwrap();
    let error = sandbox.fails(["setup", "--yes"]);
    assert_eq!(error.0, 1);
    assert!(error.1.contains("the sky is falling"), "{}", error.1);
    let cursor = std::fs::read_to_string(sandbox.home().join(".cursor/mcp.json")).unwrap();
    assert!(cursor.contains(PROGRAM), "{cursor}");
}

#[test]
fn where_its_sandbox_is_on_the_brokers_socket_is_allowed_and_the_rule_undone() {
    let sandbox = with_claude();
    let before = "{\n  \"sandbox\": { \"enabled\": true, \"network\": { \"allowUnixSockets\": [\"/run/docker.sock\"] } }\n}\n";
    write(&settings(&sandbox), before);
    let socket = sandbox.socket().display().to_string();
    let said = succeeds(&sandbox, &["claude", "--dry-run"]);
    assert!(said.contains(&socket) && said.contains("allowUnixSockets"), "{said}");
    succeeds(&sandbox, &["claude", "--yes", "--no-sandbox"]);
    let listed = |sandbox: &Sandbox| {
        read(&settings(sandbox))["sandbox"]["network"]["allowUnixSockets"].clone()
    };
    assert_eq!(listed(&sandbox), json!(["/run/docker.sock"]));
    succeeds(&sandbox, &["claude", "--yes"]);
    assert_eq!(listed(&sandbox), json!(["/run/docker.sock", socket]));
    assert!(succeeds(&sandbox, &["claude", "--yes"]).contains("is already set up"));
    succeeds(&sandbox, &["claude", "--undo", "--yes"]);
    assert_eq!(std::fs::read_to_string(settings(&sandbox)).unwrap(), before);
    // Where the sandbox is off, nothing is offered.
    write(&settings(&sandbox), "{}");
    succeeds(&sandbox, &["claude", "--yes"]);
    assert!(read(&settings(&sandbox)).get("sandbox").is_none());
}
