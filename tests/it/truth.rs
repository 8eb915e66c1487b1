//! Promise 3: what a sender is told of the recipient, its backlog, and each message.

use serde_json::{Value, json};

use crate::support::http::RawPeer;
use crate::support::{Sandbox, Session, SessionOptions, until};

/// A session without a channel.
fn quiet(sandbox: &Sandbox, name: &str) -> Session {
    SessionOptions::new(name).without_channel().start(sandbox)
}

#[test]
fn a_sender_is_told_how_the_recipient_is_reached_and_its_backlog() {
    let sandbox = Sandbox::new();
    let mut sender = quiet(&sandbox, "sender");
    let _tools = quiet(&sandbox, "tools");
    let _pushed = sandbox.session("pushed");
    let away = RawPeer::register(&sandbox, "away");
    let words = |line: &str| line.split_once("): ").unwrap().1.trim_end().to_owned();
    for (to, mcp, cli) in [
        (
            "tools",
            "is live and gets it when it next calls a claude-peers tool",
            "sees the message when it next calls",
        ),
        (
            "pushed",
            "whether its client shows pushes is not known",
            "it is not known whether its client shows",
        ),
        ("away", "has been away since 20", "away since 20"),
    ] {
        let sent = sender.call("send_message", json!({ "to_id": to, "message": "one" }));
        let (text, said) =
            (sent["content"][0]["text"].as_str().unwrap(), &sent["structuredContent"]);
        let standing = said["standing"].as_str().unwrap();
        assert!(standing.contains(mcp) && text.contains(standing), "{text}");
        assert!(standing.contains("It has 1 unread, the oldest "), "{text}");
        let line = words(&sandbox.ok(["send", to, "two"]));
        assert!(line.starts_with(cli) || line.contains(cli), "{line}");
        assert!(line.contains("; 2 unread, the oldest ") && line.ends_with(" old"), "{line}");
    }
    // A recipient that waits in a call gets it at once, and the answer says so.
    let mut waiting = quiet(&sandbox, "waiting");
    let check = json!({ "name": "check_messages", "arguments": { "wait_seconds": 60 } });
    let mut told = String::new();
    until("it waits in a call", || {
        let request = waiting.start_request("tools/call", check.clone());
        std::thread::sleep(std::time::Duration::from_millis(200));
        told = sender.text("send_message", json!({ "to_id": "waiting", "message": "news" }));
        waiting.answer_to(&json!(request));
        told.contains("is waiting for a message and receives it immediately")
    });
    assert!(!told.contains("when it next calls"), "{told}");
    drop(away);
}

#[test]
fn the_log_of_sent_messages_shows_state_time_and_way() {
    let sandbox = Sandbox::new();
    let mut reader = quiet(&sandbox, "reader");
    let other = RawPeer::register(&sandbox, "other");
    let send = |to: &str, text: &str| {
        let sent = sandbox.json(["send", to, text]);
        sent["id"].as_str().unwrap().to_owned()
    };
    let read = send("reader", "read me");
    reader.text("check_messages", json!({}));
    until("it is read", || sandbox.message(&read)["state"] == "read");
    let taken = send("other", "take me");
    assert_eq!(other.take(&sandbox), ["take me"]);
    let lies = send("other", "leave me");
    other.send(&sandbox, "cli", "not mine");
    reader.send("other", "nor this");

    let table = sandbox.ok(["log", "--sent"]);
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "SENT", "TO", "STATE", "SINCE", "TEXT"]);
    let shown: Vec<(&str, &str, &str)> =
        rows[1..].iter().map(|row| (row[0], row[2], row[3])).collect();
    assert_eq!(
        shown,
        [
            (read.as_str(), "reader", "read,tool"),
            (taken.as_str(), "other", "offered,tool"),
            (lies.as_str(), "other", "queued"),
        ]
    );
    assert_eq!(rows[1][4], sandbox.message(&read)["read_at"].as_str().unwrap());
    assert_eq!(rows[2][4], sandbox.message(&taken)["offered_at"].as_str().unwrap());
    assert_eq!(rows[3][4], rows[3][1], "it lies since it was sent");
    let theirs = sandbox.json(["log", "--sent", "--peer", "other"]);
    let texts: Vec<&Value> =
        theirs["messages"].as_array().unwrap().iter().map(|message| &message["text"]).collect();
    assert_eq!(texts, ["not mine"]);
    assert_eq!(sandbox.json(["log", "--sent", &read])["messages"][0]["id"], read.as_str());
    let (code, _) = sandbox.fails(["log", "--sent", "--peer", "reader", &read]);
    assert_eq!(code, 1, "the reader did not send it");

    // A session is told the same of its unread messages.
    let result = reader.call("check_messages", json!({}));
    let own = &result["structuredContent"]["own_unread"];
    assert_eq!(own.as_array().unwrap().len(), 1);
    assert_eq!((&own[0]["state"], own[0].get("offered")), (&json!("queued"), None));
    other.take(&sandbox);
    let result = reader.call("check_messages", json!({}));
    let own = &result["structuredContent"]["own_unread"][0];
    assert_eq!(own["state"], "offered");
    let offered = own["offered"].as_str().unwrap();
    assert!(offered.starts_with("by tool, ") && offered.ends_with(" ago"), "{offered}");
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains(" ago: offered by tool, ") && text.ends_with(" ago"), "{text}");
}
