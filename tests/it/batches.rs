//! Promises 1 and 2: messages in one request are stored each once and in order, or refused alone.

use serde_json::{Value, json};

use crate::support::Sandbox;
use crate::support::http::{Answer, RawPeer, Request};

fn item(key: &str, to: &str, text: &str) -> Value {
    json!({ "key": key, "message": { "to": to, "text": text } })
}

fn send(sandbox: &Sandbox, from: &RawPeer, items: &[Value]) -> Answer {
    Request::post("/v1/messages/batch", &json!({ "messages": items }))
        .session(&from.secret)
        .unix(sandbox)
}

#[track_caller]
fn outcomes(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()["outcomes"].as_array().unwrap().clone()
}

#[test]
fn a_batch_is_stored_in_order_around_what_is_refused_and_once_however_often_it_is_sent() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let (a, b) = (RawPeer::register(&sandbox, "a"), RawPeer::register(&sandbox, "b"));
    let items = [
        item("k1", &b.id, "one"),
        item("k2", "nobody-is-called-so", "lost"),
        item("k3", &b.name, "two"),
        item("", &b.id, "without a key"),
        item("k5", &b.id, "three"),
    ];
    let first = outcomes(&send(&sandbox, &a, &items));
    let refused: Vec<_> = first.iter().map(|one| one["refused"]["code"].as_str()).collect();
    assert_eq!(refused, [None, Some("not_found"), None, Some("bad_request"), None]);
    // The answer may have been lost, together with the broker.
    sandbox.kill9_broker().unwrap();
    sandbox.ok(["peers"]);
    let again = outcomes(&send(&sandbox, &a, &items));
    for (first, again) in first.iter().zip(&again) {
        assert_eq!(first["sent"]["id"], again["sent"]["id"]);
    }
    assert_eq!(b.take(&sandbox), ["one", "two", "three"]);
    // A key of a batch stands for the same request as on the route of one message.
    let single = Request::raw("/v1/messages", items[0]["message"].to_string())
        .with("Idempotency-Key", "k1")
        .session(&a.secret)
        .unix(&sandbox);
    assert_eq!(single.json()["id"], first[0]["sent"]["id"]);
    let other = outcomes(&send(&sandbox, &a, &[item("k1", &b.id, "another text")]));
    assert_eq!(other[0]["refused"]["code"], "key_reused");
}

#[test]
fn a_batch_is_bounded_by_messages_and_bytes_and_larger_than_one_message() {
    let sandbox = Sandbox::new()
        .with("CLAUDE_PEERS_MESSAGES_PER_MINUTE", "0")
        .with("CLAUDE_PEERS_MAX_MESSAGE_BYTES", "1048576");
    sandbox.ok(["peers"]);
    let (a, b) = (RawPeer::register(&sandbox, "a"), RawPeer::register(&sandbox, "b"));
    let small: Vec<_> = (0..257).map(|n| item(&format!("k{n}"), &b.id, &n.to_string())).collect();
    let refusal = send(&sandbox, &a, &small);
    assert_eq!(refusal.refusal(), (413, "too_large".to_owned()));
    let text = refusal.json()["message"].as_str().unwrap().to_owned();
    assert!(text.contains("257 messages, 256 are allowed"), "{text}");
    let accepted = outcomes(&send(&sandbox, &a, &small[1..]));
    assert!(accepted.iter().all(|one| one["sent"]["id"].is_string()), "{accepted:?}");
    let large = "x".repeat(1024 * 1024);
    let seven: Vec<_> = (0..7).map(|n| item(&format!("l{n}"), &b.id, &large)).collect();
    assert_eq!(outcomes(&send(&sandbox, &a, &seven)).len(), 7);
    let nine: Vec<_> = (0..9).map(|n| item(&format!("m{n}"), &b.id, &large)).collect();
    let refusal = send(&sandbox, &a, &nine);
    assert_eq!(refusal.refusal(), (413, "too_large".to_owned()));
    let text = refusal.json()["message"].as_str().unwrap().to_owned();
    assert!(text.contains("8388608 bytes"), "{text}");
    assert_eq!(outcomes(&send(&sandbox, &a, &[])), Vec::<Value>::new());
}

#[test]
fn a_question_in_a_batch_gets_its_reply() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let (a, b) = (RawPeer::register(&sandbox, "a"), RawPeer::register(&sandbox, "b"));
    let mut question = item("k1", &b.id, "well?");
    question["message"]["wait"] = json!(true);
    let asked = outcomes(&send(&sandbox, &a, &[question, item("k2", &b.id, "a second")]));
    let id = &asked[0]["sent"]["id"];
    let reply = json!({ "to": a.id, "text": "yes", "reply_to": id });
    let reply = Request::post("/v1/messages", &reply).session(&b.secret).unix(&sandbox).json();
    assert_eq!(reply["awaited"], true, "{reply}");
    let answer = Request::post("/v1/mailbox/answer?wait_seconds=10", &json!({ "id": id }));
    let answer = answer.session(&a.secret).unix(&sandbox).json();
    assert_eq!(answer["answer"]["text"], "yes", "{answer}");
}
