//! Promise 6: the handshake is answered before the broker is contacted.

use serde_json::{Value, json};

use super::{A_WHILE, TOOLS, initialize, is_pinged, peer, refused, spawn};
use crate::support::{Sandbox, SessionOptions, until};

/// What Claude Code writes first, before `initialize`.
const PROBE: &str = r#"{"jsonrpc":"2.0","id":"server-discover-probe-1","method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"claude-code","version":"2.1.330"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;

#[test]
fn the_probe_for_a_newer_protocol_is_refused_and_the_same_process_then_initializes() {
    let sandbox = Sandbox::new();
    let partial = r#"{"jsonrpc":"2.0","id":"server-discover-probe-1","method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
    let bare = r#"{"jsonrpc":"2.0","id":"server-discover-probe-1","method":"server/discover"}"#;
    for probe in [PROBE, partial, bare] {
        let mut session = spawn(&sandbox, "prober");
        session.write_line(probe);
        let answer = session.answer_to(&json!("server-discover-probe-1"));
        assert!(answer.get("result").is_none(), "{answer}");
        if probe == PROBE {
            // Both codes send the client to the handshake that keeps the channel.
            assert!(
                [-32601, -32022].map(Value::from).contains(&answer["error"]["code"]),
                "{answer}"
            );
        }
        assert!(!answer["error"].to_string().contains("\"2026-07-28\",\"2"), "{answer}");
        let result = session.handshake("claude-code");
        assert_eq!(result["protocolVersion"], "2025-11-25");
        assert_eq!(result["capabilities"]["experimental"], json!({ "claude/channel": {} }));
    }
    assert!(sandbox.broker().is_none(), "a probe starts no broker");
}

#[test]
fn a_session_that_began_with_the_probe_gets_its_pushes() {
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let mut frontend = spawn(&sandbox, "frontend");
    frontend.write_line(PROBE);
    frontend.answer_to(&json!("server-discover-probe-1"));
    frontend.handshake("claude-code");
    until("frontend is live", || peer(&sandbox, "frontend")["live"] == true);
    backend.send("frontend", "hello");
    assert_eq!(frontend.push()["content"], "hello");
}

#[test]
fn initialize_and_the_list_of_tools_are_answered_without_a_broker() {
    let sandbox = Sandbox::new();
    for (asked, given) in [
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2025-06-18"),
        ("2024-11-05", "2024-11-05"),
        // The first has no handshake, and the second is unknown.
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let mut session = spawn(&sandbox, "fresh");
        let result = initialize(&mut session, asked);
        assert_eq!(result["protocolVersion"], given, "{asked}: {result}");
        assert_eq!(
            result["capabilities"],
            json!({ "experimental": { "claude/channel": {} }, "tools": {} })
        );
        let length = result["instructions"].as_str().unwrap().chars().count();
        assert!((1..=2_048).contains(&length), "{length}");
        assert_eq!(result["serverInfo"]["name"], "claude-peers");
        assert_eq!(result["serverInfo"]["version"], claude_peers::VERSION);
        let tools = session.request("tools/list", json!({}));
        assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), TOOLS.len());
        assert!(is_pinged(&mut session));
    }
    let mut waiting = spawn(&sandbox, "waiting");
    initialize(&mut waiting, "2025-11-25");
    std::thread::sleep(A_WHILE);
    assert!(sandbox.broker().is_none(), "a broker was started before `initialized`");
    assert!(!sandbox.database().exists() && !sandbox.socket().exists());
}

#[test]
fn a_ping_is_answered_before_the_handshake() {
    let sandbox = Sandbox::new();
    let mut session = spawn(&sandbox, "early");
    assert!(is_pinged(&mut session));
    // Too early, but no reason to exit: a server that ends is not restarted by its client.
    let early = session.request("tools/call", json!({ "name": "list_peers", "arguments": {} }));
    assert!(early["error"]["code"].is_number(), "{early}");
    assert_eq!(initialize(&mut session, "2025-11-25")["protocolVersion"], "2025-11-25");
}

#[test]
fn a_configuration_that_cannot_be_read_is_reported_by_the_tools() {
    let sandbox = Sandbox::new();
    let config = sandbox.path().join("bad-config");
    std::fs::create_dir_all(config.join("claude-peers")).unwrap();
    let file = config.join("claude-peers/config.toml");
    std::fs::write(&file, "port = [\n").unwrap();
    let path = config.display().to_string();
    for (name, value, words) in [
        ("XDG_CONFIG_HOME", path.as_str(), vec!["config.toml", "Correct"]),
        ("CLAUDE_PEERS_PORT", "many", vec!["CLAUDE_PEERS_PORT", "many"]),
        ("CLAUDE_PEERS_CHANNEL", "perhaps", vec!["CLAUDE_PEERS_CHANNEL", "on, off or auto"]),
        ("HOME", "", vec!["HOME"]),
    ] {
        let mut session = SessionOptions::new("lost").with(name, value).spawn(&sandbox);
        assert_eq!(session.handshake("claude-code")["protocolVersion"], "2025-11-25", "{name}");
        let tools = session.request("tools/list", json!({}));
        assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), TOOLS.len());
        for (tool, arguments) in [
            ("list_peers", json!({})),
            ("send_message", json!({ "to_id": "x", "message": "y" })),
            ("set_summary", json!({ "summary": "x" })),
            ("check_messages", json!({})),
        ] {
            let told = refused(&mut session, tool, arguments);
            for word in &words {
                assert!(told.contains(word), "{name}: {told}");
            }
        }
        assert!(is_pinged(&mut session));
    }
    assert!(sandbox.broker().is_none());
}

#[test]
fn a_session_that_ends_with_its_answer_is_shown_as_one() {
    let sandbox = Sandbox::new();
    let mut viewer = sandbox.session("viewer");
    let _one_shot =
        SessionOptions::new("brief").with("CLAUDE_CODE_ENTRYPOINT", "sdk-cli").start(&sandbox);
    assert_eq!(peer(&sandbox, "brief")["one_shot"], true);
    assert_eq!(peer(&sandbox, "viewer")["one_shot"], false);
    let result = viewer.call("list_peers", json!({}));
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("one-shot session"), "{text}");
    // The model may see the structured content only.
    let peers = &result["structuredContent"]["peers"];
    assert_eq!(peers[0]["one_shot"], true, "{peers}");
}

#[test]
fn another_client_inside_a_session_does_not_become_that_session() {
    let sandbox = Sandbox::new();
    let id = "4c9d1a9e-0000-4000-8000-000000000001";
    let mut claude = SessionOptions::new("claude").session_id(Some(id)).start(&sandbox);
    let mut other =
        SessionOptions::new("agent").session_id(Some(id)).client("some-client").start(&sandbox);
    assert_ne!(claude.id(), other.id());
    let sent = claude.send("agent", "hello");
    assert_eq!(sandbox.message(&sent)["to"]["name"], "agent");
    let result = claude.call("list_peers", json!({}));
    let peers = &result["structuredContent"]["peers"];
    assert_eq!(peers[0]["client"], "some-client", "{peers}");
}
