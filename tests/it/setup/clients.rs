//! Setup: the other clients, with one configuration file each.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::support::{SessionOptions, chmod};

/// A client, the place of its file, and our entry in it.
struct Kind {
    name: &'static str,
    file: fn(&Sandbox) -> PathBuf,
    entry: fn(&Value) -> &Value,
    wanted: fn(&str) -> Value,
    contents: &'static [&'static str],
    broken: &'static [(&'static str, &'static str)],
}

const JSON_BROKEN: &[(&str, &str)] = &[
    ("{\n  \"a\": 1\n  \"b\": 2\n}\n", "line 2"),
    ("{ 'a': 1 }", "line 1"),
    ("{\n\n\"a\": \n", "line 4"),
    ("[1]", "no object"),
];

const MCP_SERVERS: &[&str] = &[
    "",
    "{}",
    "{ \"mcpServers\": {} }\n",
    "{\"mcpServers\":{\"docs\":{\"command\":\"npx\",\"args\":[\"x\"]}},\"a\":[1,2 ,3]}",
    "{\n    // my servers\n    \"mcpServers\": {\n        \"docs\": {\n            \"url\": \"https:\",\n        }, // for docs\n    },\n    /* more */\n    \"theme\": \"Dracula\"\n}\n",
];

/// A client that keeps its servers as most do.
const fn usual(name: &'static str, file: fn(&Sandbox) -> PathBuf) -> Kind {
    Kind {
        name,
        file,
        entry: |value| &value["mcpServers"]["claude-peers"],
        wanted: |program| json!({ "command": program, "args": ["mcp"] }),
        contents: MCP_SERVERS,
        broken: JSON_BROKEN,
    }
}

const KINDS: [Kind; 4] = [
    usual("cursor", |sandbox| sandbox.home().join(".cursor/mcp.json")),
    usual("gemini", |sandbox| sandbox.home().join(".gemini/settings.json")),
    Kind {
        name: "opencode",
        file: |sandbox| sandbox.path().join("config/opencode/opencode.json"),
        entry: |value| &value["mcp"]["claude-peers"],
        wanted: |program| json!({ "type": "local", "command": [program, "mcp"], "enabled": true }),
        contents: &[
            "",
            "{}",
            "{\n  \"$schema\": \"x\",\n  // mine\n  \"mcp\": { \"jira\": { \"type\": \"remote\", \"enabled\": false } },\n  \"autoupdate\": true,\n}\n",
        ],
        broken: JSON_BROKEN,
    },
    Kind {
        name: "codex",
        file: |sandbox| sandbox.home().join(".codex/config.toml"),
        entry: |value| &value["mcp_servers"]["claude-peers"],
        wanted: |program| {
            json!({
                "command": program,
                "args": ["mcp"],
                "env_vars": [
                    "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "CLAUDE_PEERS_PORT",
                    "CLAUDE_PEERS_DB", "CLAUDE_PEERS_SOCKET", "CLAUDE_PEERS_NAME",
                ],
            })
        },
        contents: &[
            "",
            "# only words\n",
            "model = \"o\"\n",
            "# mine\nmodel = \"o\" # good\n\n[mcp_servers.docs]\ncommand = \"npx\"\nargs = [\n  \"x\", # one\n]\n\n[projects.\"/srv/a b\"]\ntrust_level = \"trusted\"\n\n[tui]\nnotes = \"\"\"\n[mcp_servers.claude-peers]\n\"\"\"\n# end\n",
        ],
        broken: &[
            ("model = \"o\"\n[mcp_servers\n", "line 2"),
            ("a = 1\na = 2\n", "line 2"),
            ("mcp_servers = { docs = {} }\n", "cannot change safely"),
            ("mcp_servers = 3\n", "mcp_servers is not an object"),
        ],
    },
];

fn parsed(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    if path.extension().unwrap() == "toml" {
        let text = text.trim_start_matches('\u{feff}');
        return serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
    }
    jsonc(&text)
}

#[test]
fn any_configuration_is_extended_and_undone_to_the_byte() {
    for kind in &KINDS {
        for (way, put) in WAYS {
            for content in kind.contents {
                let sandbox = sandbox();
                let file = (kind.file)(&sandbox);
                put(&file, content);
                let before = everything(&sandbox);
                let text = std::fs::read_to_string(&file).unwrap();
                succeeds(&sandbox, &[kind.name, "--yes"]);
                let value = parsed(&file);
                assert_eq!(*(kind.entry)(&value), (kind.wanted)(PROGRAM), "{way} {content:?}");
                let after = std::fs::read_to_string(&file).unwrap();
                if text.lines().count() > 1 {
                    keeps_lines(&text, &after);
                }
                if text.contains('\r') {
                    assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
                }
                let was = identity(&file);
                assert!(succeeds(&sandbox, &[kind.name]).contains("is already set up"));
                assert_eq!(identity(&file), was, "{way} {content:?}");
                succeeds(&sandbox, &[kind.name, "--undo", "--yes"]);
                assert_eq!(everything(&sandbox), before, "{} {way} {content:?}", kind.name);
                assert_eq!(remembered(&sandbox), Vec::<String>::new());
            }
        }
    }
}

#[test]
fn where_nothing_was_nothing_is_left() {
    for kind in &KINDS {
        let sandbox = sandbox();
        let before = everything(&sandbox);
        succeeds(&sandbox, &[kind.name, "--yes"]);
        let file = (kind.file)(&sandbox);
        assert_eq!(*(kind.entry)(&parsed(&file)), (kind.wanted)(PROGRAM));
        succeeds(&sandbox, &[kind.name, "--undo", "--yes"]);
        assert_eq!(everything(&sandbox), before, "{}", kind.name);
        assert!(succeeds(&sandbox, &[kind.name, "--undo"]).contains("nothing to undo"));
    }
}

#[test]
fn what_cannot_be_read_or_written_is_not_touched() {
    for kind in &KINDS {
        let sandbox = sandbox();
        let file = (kind.file)(&sandbox);
        for (broken, line) in kind.broken {
            write(&file, broken);
            let before = everything(&sandbox);
            let error = fails(&sandbox, &[kind.name, "--yes"]);
            assert!(error.contains(line), "{}: {error}", kind.name);
            assert!(error.contains(&file.display().to_string()), "{error}");
            assert_eq!(everything(&sandbox), before);
        }
        write(&file, kind.contents.last().unwrap());
        chmod(&file, 0o400);
        let before = everything(&sandbox);
        assert!(fails(&sandbox, &[kind.name, "--yes"]).contains("is read-only"));
        assert_eq!(everything(&sandbox), before);
        chmod(&file, 0o600);
        chmod(file.parent().unwrap(), 0o500);
        let before = everything(&sandbox);
        assert!(fails(&sandbox, &[kind.name, "--yes"]).contains("is read-only"));
        assert_eq!(everything(&sandbox), before);
        chmod(file.parent().unwrap(), 0o700);
        std::fs::write(&file, b"\xff\xfe{\0}\0").unwrap();
        assert!(fails(&sandbox, &[kind.name, "--yes"]).contains("is not UTF-8 text"));
        assert_eq!(remembered(&sandbox), Vec::<String>::new());
    }
}

#[test]
fn undo_removes_our_entries_and_leaves_later_edits() {
    for kind in &KINDS {
        for with_record in [true, false] {
            let sandbox = sandbox();
            let file = (kind.file)(&sandbox);
            let content = kind.contents.last().unwrap();
            write(&file, content);
            succeeds(&sandbox, &[kind.name, "--yes"]);
            let text = std::fs::read_to_string(&file).unwrap();
            let (mark, edited) = match kind.name {
                "codex" => ("#", format!("# since\n{text}\n[since]\nx = 1\n")),
                _ => ("/", text.replacen('{', "{\n  // since\n  \"since\": [1],", 1)),
            };
            assert!(edited.contains(mark));
            write(&file, &edited);
            if !with_record {
                std::fs::remove_dir_all(sandbox.path().join("state/claude-peers/setup")).unwrap();
            }
            let said = succeeds(&sandbox, &[kind.name, "--undo", "--yes"]);
            let why = if with_record { "was edited since" } else { "no record" };
            assert!(said.contains(why), "{said}");
            let left = std::fs::read_to_string(&file).unwrap();
            assert!(left.contains("since"), "{left}");
            keeps_lines(content, &left);
            let mut value = parsed(&file);
            value.as_object_mut().unwrap().shift_remove("since");
            write(&file, content);
            assert_eq!(value, parsed(&file), "{}", kind.name);
            assert!(succeeds(&sandbox, &[kind.name, "--undo"]).contains("nothing to undo"));
        }
    }
}

#[test]
fn another_path_takes_the_place_of_the_old_one_and_additions_stay() {
    for kind in &KINDS {
        let sandbox = sandbox();
        let file = (kind.file)(&sandbox);
        write(&file, kind.contents.last().unwrap());
        let before = everything(&sandbox);
        let old = elsewhere(&sandbox, "opt/old");
        let output = sandbox.command_of(&old, ["setup", kind.name, "--yes"]).output().unwrap();
        assert!(output.status.success());
        assert_eq!(*(kind.entry)(&parsed(&file)), (kind.wanted)(&old.display().to_string()));
        succeeds(&sandbox, &[kind.name, "--yes"]);
        assert_eq!(*(kind.entry)(&parsed(&file)), (kind.wanted)(PROGRAM));
        succeeds(&sandbox, &[kind.name, "--undo", "--yes"]);
        assert_eq!(everything(&sandbox), before, "{}", kind.name);
    }
    // Codex: what its user added to the table stays.
    let sandbox = sandbox();
    let file = sandbox.home().join(".codex/config.toml");
    write(
        &file,
        "[mcp_servers.claude-peers]\ncommand = \"/old/claude-peers\" # mine\nargs = [\"mcp\"]\n\
         startup_timeout_sec = 3\n\n[mcp_servers.claude-peers.tools.send_message]\n\
         approval_mode = \"approve\"\n",
    );
    succeeds(&sandbox, &["codex", "--yes"]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(&format!("command = \"{PROGRAM}\" # mine\n")), "{text}");
    let value = parsed(&file);
    assert_eq!(value["mcp_servers"]["claude-peers"]["startup_timeout_sec"], 3);
    assert_eq!(
        value["mcp_servers"]["claude-peers"]["tools"]["send_message"]["approval_mode"],
        "approve"
    );
}

#[test]
fn opencode_has_one_entry_in_one_of_its_files() {
    let sandbox = sandbox();
    let directory = sandbox.path().join("config/opencode");
    let (json, jsonc_file) = (directory.join("opencode.json"), directory.join("opencode.jsonc"));
    write(&json, "{}");
    write(&jsonc_file, "{\n  // mine\n}\n");
    let before = everything(&sandbox);
    succeeds(&sandbox, &["opencode", "--yes"]);
    assert_eq!(std::fs::read_to_string(&json).unwrap(), "{}");
    assert_eq!(parsed(&jsonc_file)["mcp"]["claude-peers"]["type"], "local");
    succeeds(&sandbox, &["opencode", "--undo", "--yes"]);
    assert_eq!(everything(&sandbox), before);
    // An entry that is there already stays in its file.
    write(
        &json,
        &format!(
            "{{ \"mcp\": {{ \"claude-peers\": {} }} }}",
            json!({ "type": "local", "command": ["/old/claude-peers", "mcp"], "enabled": false })
        ),
    );
    succeeds(&sandbox, &["opencode", "--yes"]);
    assert_eq!(std::fs::read_to_string(&jsonc_file).unwrap(), "{\n  // mine\n}\n");
    let wanted = json!({ "type": "local", "command": [PROGRAM, "mcp"], "enabled": true });
    assert_eq!(parsed(&json)["mcp"]["claude-peers"], wanted);
}

/// Only Claude Code has a channel; in any other client a push would be lost.
#[test]
fn another_client_is_never_pushed_to() {
    let sandbox = Sandbox::new();
    let claude = sandbox.path().join("claude");
    // A client process that looks as Claude Code does when it loads our channel.
    write_program(&claude, format!("#!/bin/sh\n'{PROGRAM}' mcp\nexit $?\n"));
    let mut sender = sandbox.session("sender");
    for client in ["codex", "opencode", "gemini-cli-mcp-client", "cursor-vscode", "claude-code"] {
        let options = SessionOptions::new(client).session_id(None);
        let plain = options.command(&sandbox);
        let mut command = sandbox.command_of(&claude, ["--channels", "server:claude-peers"]);
        command.current_dir(plain.get_current_dir().unwrap());
        command.env("CLAUDE_PEERS_CHANNEL", "auto");
        let mut session = crate::support::Session::spawn(command);
        session.handshake(client);
        crate::support::until("the session is live", || {
            session.call("list_peers", json!({}))["structuredContent"]["me"]["live"] == true
        });
        std::thread::sleep(std::time::Duration::from_millis(1_100));
        let id = sender.send(client, "hello");
        if client == "claude-code" {
            assert_eq!(session.push()["content"], "hello", "so the others say something");
        } else {
            assert_eq!(sandbox.message(&id)["state"], "queued", "{client}");
            let push = session.push_within(std::time::Duration::from_millis(300));
            assert!(push.is_none(), "{client}");
            let mail = session.call("check_messages", json!({}));
            assert_eq!(mail["structuredContent"]["messages"][0]["text"], "hello");
        }
    }
}

/// Copies are files in a directory, and may have been removed.
#[test]
fn without_its_copy_an_undo_removes_what_setup_added() {
    let sandbox = sandbox();
    let path = sandbox.home().join(".cursor/mcp.json");
    let before =
        "{\n  // mine\n  \"mcpServers\": {\n    \"docs\": { \"command\": \"npx\" }\n  }\n}\n";
    write(&path, before);
    succeeds(&sandbox, &["cursor", "--yes"]);
    std::fs::remove_file(sandbox.path().join("state/claude-peers/setup/cursor-mcp.json.1"))
        .unwrap();
    let said = succeeds(&sandbox, &["cursor", "--undo", "--yes"]);
    assert!(said.contains("is gone, so only what setup put there is taken out"), "{said}");
    assert_eq!(jsonc(&std::fs::read_to_string(&path).unwrap()), jsonc(before));
    assert_eq!(remembered(&sandbox), [""; 0]);
}

#[test]
fn a_client_that_cannot_be_set_up_does_not_keep_the_others_from_it() {
    let sandbox = sandbox();
    for directory in [".codex", ".cursor"] {
        std::fs::create_dir(sandbox.home().join(directory)).unwrap();
    }
    write(&sandbox.path().join("state/claude-peers/setup/codex.json"), "{");
    let error = fails(&sandbox, &["--yes"]);
    assert!(error.contains("codex.json cannot be read"), "{error}");
    assert!(!sandbox.home().join(".codex/config.toml").exists());
    assert!(sandbox.home().join(".cursor/mcp.json").exists());
}

#[test]
fn places_whose_names_are_not_utf_8_are_reported_and_nothing_is_done_there() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let sandbox = sandbox();
    let odd = sandbox.path().join(OsStr::from_bytes(b"odd\xff"));
    std::fs::create_dir(&odd).unwrap();
    let run = |variable: &str, arguments: &[&str]| {
        let words = std::iter::once("setup").chain(arguments.iter().copied());
        sandbox.command(words).env(variable, &odd).output().unwrap()
    };
    for (variable, client) in [
        ("HOME", "codex"),
        ("CODEX_HOME", "codex"),
        ("CLAUDE_CONFIG_DIR", "claude"),
        ("XDG_CONFIG_HOME", "opencode"),
    ] {
        for how in ["--yes", "--dry-run", "--undo"] {
            let output = run(variable, &[client, how, "--json"]);
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{variable} {how}: {error}");
            assert!(error.contains("odd") && error.contains("UTF-8"), "{error}");
            let error: Value = serde_json::from_str(&error).unwrap();
            assert!(error["error"]["hint"].is_string(), "{error}");
        }
    }
    assert_eq!(std::fs::read_dir(&odd).unwrap().count(), 0);
    // A client in such a place is listed nevertheless.
    std::fs::write(odd.join("codex"), "#!/bin/sh\n").unwrap();
    chmod(&odd.join("codex"), 0o755);
    let output = run("PATH", &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(found["clients"][1]["place"].as_str().unwrap().ends_with("/codex"), "{found}");
}
