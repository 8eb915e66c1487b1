//! Promises 5 and 6: JSON-RPC lines as clients of every kind write them, and the answers.

mod handshake;
mod hostile;
mod lines;
mod numbers;
mod push;
mod tools;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Sandbox, Session, SessionOptions};

const TOOLS: [&str; 4] = ["list_peers", "send_message", "set_summary", "check_messages"];

/// Long enough that a push which is wrongly sent would be seen.
const A_WHILE: Duration = Duration::from_millis(1_500);

fn spawn(sandbox: &Sandbox, name: &str) -> Session {
    SessionOptions::new(name).spawn(sandbox)
}

fn initialize(session: &mut Session, version: &str) -> Value {
    let answer = session.request(
        "initialize",
        json!({
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": { "name": "claude-code", "version": "2.1.330" },
        }),
    );
    answer["result"].clone()
}

fn write_initialized(session: &mut Session) {
    session.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
}

/// Calls a tool, which must fail. Returns the text of its error.
#[track_caller]
fn refused(session: &mut Session, tool: &str, arguments: Value) -> String {
    let called = format!("{tool} {arguments}");
    let result = session.try_call(tool, arguments);
    assert_eq!(result["isError"], true, "{called}: {result}");
    // A client that finds structured content shows nothing else.
    assert!(result.get("structuredContent").is_none(), "{result}");
    result["content"][0]["text"].as_str().unwrap().to_owned()
}

fn is_pinged(session: &mut Session) -> bool {
    session.request("ping", json!({}))["result"] == json!({})
}

/// One peer, as the command line lists it.
fn peer(sandbox: &Sandbox, name: &str) -> Value {
    let list = sandbox.json(["peers", "--all"]);
    let mut peers = list["peers"].as_array().unwrap().iter();
    peers.find(|peer| peer["name"] == name).cloned().unwrap_or_default()
}

const META: [&str; 8] = [
    "from_id",
    "from_name",
    "from_summary",
    "from_cwd",
    "sent_at",
    "message_id",
    "reply_to",
    "repeat",
];

/// Checks that a push has only what the client accepts: text, and attributes that are strings of
/// one line.
#[track_caller]
fn check_form(push: &Value) {
    let params = push.as_object().unwrap();
    assert!(params.keys().all(|key| key == "content" || key == "meta"), "{push}");
    harmless(push["content"].as_str().unwrap());
    let meta = push["meta"].as_object().unwrap();
    for key in ["from_id", "sent_at", "message_id"] {
        assert!(meta.contains_key(key), "{key}: {push}");
    }
    for (key, value) in meta {
        assert!(META.contains(&key.as_str()), "{key}");
        let mut letters = key.chars();
        assert!(letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_'), "{key}");
        assert!(letters.all(|c| c.is_ascii_alphanumeric() || c == '_'), "{key}");
        let value = value.as_str().unwrap_or_else(|| panic!("{key} is no string: {push}"));
        assert!(!value.is_empty() && !value.contains(['\n', '\r', '\t']), "{key}: {value:?}");
        harmless(value);
    }
}

/// Checks that a text has nothing hidden, no cursor movement, and no tag that a client or a model
/// may obey.
#[track_caller]
pub fn harmless(text: &str) {
    let hidden = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{200e}' | '\u{200f}')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            || matches!(c, '\u{ad}' | '\u{e0000}'..='\u{e007f}')
    };
    assert!(!text.contains(hidden), "{text:?}");
    // As a careless reader sees it: in lower case, without gaps.
    let seen: String = text
        .chars()
        .map(|c| if c == '\u{ff1c}' { '<' } else { c })
        .filter(|c| c.is_ascii_graphic() && !matches!(c, '/' | '"'))
        .collect::<String>()
        .to_lowercase();
    for name in [
        "channel",
        "system-reminder",
        "system_reminder",
        "cross-session-message",
        "user>",
        "function_calls",
    ] {
        assert!(!seen.contains(&format!("<{name}")), "{name} in {text:?}");
    }
}
