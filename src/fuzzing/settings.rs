//! Settings: our own file and variables, and those of Claude Code and Codex, which we edit.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::config::{Config, Environment, SETTINGS};
use crate::fuzzing::directory;
use crate::setup::edit::change::{Change, path, taking_back};
use crate::setup::edit::removal::removals;
use crate::setup::edit::syntax::Syntax;

/// Any `settings.json` is edited so that it means what it should, or is left alone, and is itself
/// again when that is undone.
pub fn claude_settings(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    edited_and_undone(
        Syntax::Json,
        text,
        &[
            Change::Set {
                path: path(&["mcpServers", "claude-peers"]),
                value: json!({ "command": "/usr/bin/claude-peers", "args": ["mcp"] }),
            },
            Change::Append {
                path: path(&["hooks", "Stop"]),
                value: json!({ "hooks": [{ "type": "command", "command": "claude-peers hook stop" }] }),
            },
            Change::Append {
                path: path(&["permissions", "allow"]),
                value: json!("mcp__claude-peers"),
            },
        ],
    );
}

/// The same of Codex's `config.toml`.
pub fn codex_settings(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    edited_and_undone(
        Syntax::Toml,
        text,
        &[Change::Set {
            path: path(&["mcp_servers", "claude-peers"]),
            value: json!({ "command": "/usr/bin/claude-peers", "args": ["mcp"] }),
        }],
    );
}

fn edited_and_undone(syntax: Syntax, text: &str, changes: &[Change]) {
    let Ok(before) = syntax.parse(text) else {
        assert!(syntax.edit(text, changes).is_err(), "what cannot be read is not written");
        return;
    };
    for change in removals(&before, "mcpServers") {
        let _ = syntax.edit(text, &[change]);
    }
    let mut wanted = before.clone();
    let mut applied = Vec::new();
    for change in changes {
        match change.apply(&mut wanted) {
            Ok(done) => applied.extend(done),
            Err(_) => return assert!(syntax.edit(text, changes).is_err()),
        }
    }
    let Ok(edited) = syntax.edit(text, changes) else { return };
    let after = syntax.parse(&edited).unwrap();
    same(syntax, &after, &wanted, &edited);
    let Ok(back) = syntax.edit(&edited, &taking_back(&applied, &after)) else { return };
    same(syntax, &syntax.parse(&back).unwrap(), &before, &back);
}

/// TOML has no empty table without its header.
fn same(syntax: Syntax, one: &Value, other: &Value, text: &str) {
    let shown = |value: &Value| match (syntax, value) {
        (Syntax::Toml, Value::Object(object)) => {
            let mut object = object.clone();
            object.retain(|_, value| value.as_object().is_none_or(|inner| !inner.is_empty()));
            Value::Object(object)
        }
        _ => value.clone(),
    };
    assert_eq!(shown(one), shown(other), "{text}");
}

thread_local! {
    static HOME: RefCell<TempDir> = RefCell::new(directory());
}

/// Any configuration file and any values of the variables give settings within their bounds, or an
/// error of a few lines.
///
/// The input: the values of the first variables, one a line, then an empty line, then the file.
pub fn config_file(data: &[u8]) {
    let at = data.windows(2).position(|pair| pair == b"\n\n").map_or(0, |at| at + 2);
    let (variables, file) = data.split_at(at);
    HOME.with_borrow(|home| {
        let home = home.path();
        let config = home.join(".config/claude-peers");
        std::fs::create_dir_all(&config).unwrap();
        std::fs::write(config.join("config.toml"), file).unwrap();
        let mut environment = vec![("HOME", home.as_os_str())];
        let names = SETTINGS.iter().map(|setting| setting.variable);
        let values = variables.split(|byte| *byte == b'\n').map(OsStr::from_bytes);
        let set = names
            .zip(values)
            .filter(|(_, value)| !value.is_empty() && !value.as_bytes().contains(&0));
        environment.extend(set);
        let environment: Environment = environment.into_iter().collect();
        match Config::from_environment(&environment) {
            Ok(config) => {
                assert!(config.port > 0);
                assert!(config.database_path().is_absolute());
                assert!(config.paths.socket.is_absolute());
                assert!(config.limits.max_message_bytes <= crate::config::MAX_MESSAGE_BYTES);
            }
            Err(error) => {
                let shown = error.to_string();
                assert!(shown.len() < 8_192, "{} bytes of error", shown.len());
            }
        }
        let _ = Config::load_despite_file(&environment);
    });
}
