//! Promise 6: lines that are no valid JSON-RPC cost the session nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::{initialize, spawn, write_initialized};
use crate::support::Sandbox;

/// Lines without a valid request, each with its line end.
fn noise() -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = [
        "",
        "   ",
        "\t",
        "\r",
        "hello",
        "{",
        "}",
        r#"{"jsonrpc":"2.0","id":900,"method":"#,
        "[]",
        r#"[{"jsonrpc":"2.0","method":"notifications/initialized"}]"#,
        "null",
        "42",
        "\"ping\"",
        "{}",
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","method":5}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#,
        r#"{"jsonrpc":"2.0","id":901,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":"nobody","result":{"x":1}}"#,
        r#"{"jsonrpc":"2.0","id":902,"error":{"code":-32000,"message":"no"}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/no_such_thing","params":{"x":1}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":903,"reason":"AbortError: user-cancel"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"nobody"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":0.5}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/claude/channel/permission_request","params":{"request_id":"abcde"}}"#,
    ]
    .iter()
    .map(|line| line.as_bytes().to_vec())
    .collect();
    lines.push(b"\xff\xfe\x80 \xc3\x28".to_vec());
    lines.push(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}".to_vec());
    lines.push(b"\0\0\0".to_vec());
    lines.push(vec![b'x'; 1 << 20]);
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    lines.push(deep.into_bytes());
    for line in &mut lines {
        line.push(b'\n');
    }
    lines
}

#[test]
fn an_invalid_line_costs_the_session_nothing() {
    let sandbox = Sandbox::new();
    let mut session = spawn(&sandbox, "noisy");
    initialize(&mut session, "2025-11-25");
    for line in noise() {
        let shown = String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned();
        session.write_bytes(&line);
        let id = session.start_request("ping", json!({}));
        loop {
            let read = session.read(crate::support::PATIENCE);
            let (_, message) = read.unwrap_or_else(|| panic!("it went silent after {shown}"));
            if message["id"] == id {
                assert_eq!(message["result"], json!({}));
                break;
            }
            // Any other answer may only be an error, and under no id that is in use.
            assert!(message["error"]["code"].is_number(), "{shown}: {message}");
            assert!(message.get("id").is_none_or(Value::is_null), "{shown}: {message}");
        }
    }
    // The last line is not lost because the one before it was bad, nor because of its CR.
    session.write_bytes(b"{\"jsonrpc\":\"2.0\",\"id\":\"with-cr\",\"method\":\"ping\"}\r\n");
    assert_eq!(session.answer_to(&json!("with-cr"))["result"], json!({}));
    // A line may come in pieces.
    session.write_bytes(b"{\"jsonrpc\":\"2.0\",\"id\":\"pieces\",");
    std::thread::sleep(Duration::from_millis(20));
    session.write_bytes(b"\"method\":\"ping\"}\n");
    assert_eq!(session.answer_to(&json!("pieces"))["result"], json!({}));
    write_initialized(&mut session);
    assert_eq!(session.me()["name"], "noisy");
}

#[test]
fn an_invalid_line_before_the_handshake_costs_nothing_either() {
    let sandbox = Sandbox::new();
    for line in noise() {
        let shown = String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned();
        let mut session = spawn(&sandbox, "noisy");
        session.write_bytes(&line);
        let id = session.start_request(
            "initialize",
            json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": { "name": "claude-code", "version": "2.1.330" },
            }),
        );
        let answer = loop {
            let read = session.read(crate::support::PATIENCE);
            let (_, message) = read.unwrap_or_else(|| panic!("it went silent after {shown}"));
            if message["id"] == id {
                break message;
            }
        };
        assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{shown}");
    }
}
