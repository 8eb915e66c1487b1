//! Promise 3: what the limits refuse is refused clearly, and leaves nothing half-done.

use serde_json::json;

use crate::support::Sandbox;
use crate::support::http::{RawPeer, Request};

fn count(sandbox: &Sandbox) -> usize {
    sandbox.json(["log", "-n", "10000"])["messages"].as_array().unwrap().len()
}

#[test]
fn the_rate_limit_names_its_key_and_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let names = ["a", "b", "c"];
    let [a, b, c] = names.map(|name| RawPeer::register(&sandbox, name));
    for number in 0..20 {
        a.send(&sandbox, &b.id, &number.to_string());
    }
    // The allowance grows by one a second, so on a slow machine one more may pass.
    let mut accepted = 20;
    let refusal = loop {
        let answer = a.try_send(&sandbox, &b.id, "too many");
        if answer.status != 200 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 200, "nothing is ever refused");
    };
    assert_eq!(refusal.refusal(), (429, "rate_limited".to_owned()));
    let json = refusal.json();
    assert!(
        json["message"].as_str().unwrap().contains("60 a minute are allowed, 20 at once"),
        "{json}"
    );
    let hint = json["hint"].as_str().unwrap();
    assert!(
        hint.contains("CLAUDE_PEERS_MESSAGES_PER_MINUTE") && hint.contains("messages_per_minute"),
        "{hint}"
    );
    let log = std::fs::read_to_string(sandbox.config().paths.log).unwrap();
    assert!(log.contains("refused: ") && log.contains("60 a minute are allowed"), "{log}");
    assert_eq!(count(&sandbox), accepted);
    assert_eq!(b.take(&sandbox).len(), accepted);
    // Each pair has its own limit, and each direction.
    a.send(&sandbox, &c.id, "another recipient");
    b.send(&sandbox, &a.id, "the other way");
    // A retry of an accepted message costs nothing and does nothing.
    let keyed = Request::post("/v1/messages", &json!({ "to": a.id, "text": "once" }))
        .with("Idempotency-Key", "k1")
        .session(&c.secret);
    let first = keyed.unix(&sandbox).json();
    for _ in 0..30 {
        assert_eq!(keyed.unix(&sandbox).json(), first);
    }
    assert_eq!(count(&sandbox), accepted + 3);
}

#[test]
fn a_full_mailbox_refuses_until_it_is_read() {
    let sandbox = Sandbox::new().with("CLAUDE_PEERS_MAX_UNREAD", "3");
    sandbox.ok(["peers"]);
    let (a, b) = (RawPeer::register(&sandbox, "a"), RawPeer::register(&sandbox, "b"));
    let ids: Vec<String> = (0..3).map(|n| a.send(&sandbox, &b.id, &n.to_string())).collect();
    for _ in 0..2 {
        let refusal = a.try_send(&sandbox, &b.id, "too many");
        assert_eq!(refusal.refusal(), (429, "mailbox_full".to_owned()));
        let json = refusal.json();
        assert!(json["message"].as_str().unwrap().contains("3 unread"), "{json}");
        assert!(json["hint"].as_str().unwrap().contains("CLAUDE_PEERS_MAX_UNREAD"), "{json}");
    }
    assert_eq!(count(&sandbox), 3);
    // A message that was taken is not read yet.
    assert_eq!(b.take(&sandbox), ["0", "1", "2"]);
    assert_eq!(a.try_send(&sandbox, &b.id, "too many").status, 429);
    let confirm = Request::post("/v1/mailbox/confirm", &json!({ "ids": [ids[0]] }));
    assert_eq!(confirm.session(&b.secret).unix(&sandbox).json()["noted"], 1);
    a.send(&sandbox, &b.id, "there is room");
}

#[test]
fn the_message_limit_counts_bytes_and_names_its_key() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let (a, b) = (RawPeer::register(&sandbox, "a"), RawPeer::register(&sandbox, "b"));
    let longest = "ü".repeat(32 * 1024);
    let id = a.send(&sandbox, &b.id, &longest);
    assert_eq!(sandbox.message(&id)["text"], longest);
    let refusal = a.try_send(&sandbox, &b.id, &format!("{longest}x"));
    assert_eq!(refusal.refusal(), (413, "too_large".to_owned()));
    let json = refusal.json();
    assert!(json["message"].as_str().unwrap().contains("65537 bytes, 65536 are allowed"), "{json}");
    assert!(json["hint"].as_str().unwrap().contains("CLAUDE_PEERS_MAX_MESSAGE_BYTES"), "{json}");
    for blank in ["", " ", "\n\t ", "\u{a0}"] {
        let refusal = a.try_send(&sandbox, &b.id, blank);
        assert_eq!(refusal.refusal(), (400, "bad_request".to_owned()), "{blank:?}");
    }
    assert_eq!(count(&sandbox), 1);
}
