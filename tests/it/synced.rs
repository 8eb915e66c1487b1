//! Promise 1: between a request and its answer the database is synced, whatever was accepted.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::{Value, json};

use crate::support::faults;
use crate::support::http::{RawPeer, Request};

#[test]
fn each_answer_to_a_write_comes_after_a_sync() {
    let Some((sandbox, faults)) = faults::sandbox() else { return };
    let sandbox = sandbox.with("CLAUDE_PEERS_MESSAGES_PER_MINUTE", "0");
    let mut broker = sandbox.start_broker();
    crate::support::until("it serves", || sandbox.status_is("running"));
    let synced = |what: &str, request: Request| -> Value {
        let before = faults.syncs.load(SeqCst);
        let answer = request.unix(&sandbox);
        assert_eq!(answer.status, 200, "{what}: {:?}", answer.refusal());
        assert!(faults.syncs.load(SeqCst) > before, "{what} was answered without a sync");
        answer.json()
    };
    let registration = |name: &str| {
        json!({
            "instance": format!("instance-of-{name}"), "secret": name.repeat(40),
            "session": format!("raw-{name}"), "name": name, "cwd": "/srv", "channel": "presumed",
        })
    };
    // The very first write of a broker, too.
    synced("a registration", Request::post("/v1/register", &registration("ann")));
    synced("another", Request::post("/v1/register", &registration("bob")));
    let (ann, bob) = ("ann".repeat(40), "bob".repeat(40));
    let send = |text: &str| Request::post("/v1/messages", &json!({ "to": "bob", "text": text }));
    let id = synced("a send", send("hello").session(&ann))["id"].clone();
    let batch = json!({ "messages": [{ "key": "k", "message": { "to": "bob", "text": "x" } }] });
    synced("a batch", Request::post("/v1/messages/batch", &batch).session(&ann));
    synced("a take", Request::post("/v1/mailbox/take", &json!({})).session(&bob));
    let confirm = json!({ "ids": [id] });
    synced("a confirmation", Request::post("/v1/mailbox/confirm", &confirm).session(&bob));
    let id = synced("a send", send("question").session(&ann))["id"].clone();
    let reply = json!({ "to": "ann", "text": "answer", "reply_to": id });
    synced("a reply", Request::post("/v1/messages", &reply).session(&bob));
    let profile = json!({ "summary": "works" });
    synced("a profile", Request::post("/v1/profile", &profile).session(&bob));
    let hook = json!({ "event": "UserPromptSubmit", "session": "raw-ann", "room": 1000 });
    synced("a hook that shows mail", Request::post("/v1/hook", &hook));
    // A command line's send, after a receipt that was written without a sync.
    let written = json!({ "session": "raw-ann", "ids": [] });
    assert_eq!(Request::post("/v1/hook/written", &written).unix(&sandbox).status, 200);
    synced("a send behind an unsynced write", send("behind"));
    broker.kill().unwrap();
    broker.wait().unwrap();
}

/// A receipt is a note, unless it lets messages go that waited for the push window: then their offers
/// must be durable before they are pushed.
#[test]
fn a_receipt_that_lets_messages_go_is_synced() {
    let Some((sandbox, faults)) = faults::sandbox() else { return };
    let sandbox =
        sandbox.with("CLAUDE_PEERS_MESSAGES_PER_MINUTE", "0").with("CLAUDE_PEERS_MAX_UNREAD", "0");
    let mut broker = sandbox.start_broker();
    crate::support::until("it serves", || sandbox.status_is("running"));
    let ann = RawPeer::register(&sandbox, "ann");
    let secret = "bob".repeat(40);
    let registration = json!({
        "instance": "instance-of-bob", "secret": secret, "session": "raw-bob", "name": "bob",
        "cwd": "/srv", "channel": "presumed",
    });
    assert_eq!(Request::post("/v1/register", &registration).unix(&sandbox).status, 200);
    let mut stream = crate::support::http::unix(&sandbox);
    let open = Request::get("/v1/stream").session(&secret).bytes();
    std::io::Write::write_all(&mut stream, &open).unwrap();
    crate::support::until("it is live", || {
        let listed = sandbox.json(["peers"]);
        listed["peers"].as_array().unwrap().iter().any(|peer| peer["name"] == "bob")
    });
    let ids: Vec<String> = (0..300).map(|n| ann.send(&sandbox, "bob", &n.to_string())).collect();
    assert_eq!(sandbox.message(&ids[299])["state"], "queued");
    let before = faults.syncs.load(SeqCst);
    let written = Request::post("/v1/mailbox/written", &json!({ "ids": ids[..100] }));
    assert_eq!(written.session(&secret).unix(&sandbox).json()["noted"], 100);
    assert!(faults.syncs.load(SeqCst) > before, "answered without a sync");
    assert_eq!(sandbox.message(&ids[299])["state"], "offered");
    broker.kill().unwrap();
    broker.wait().unwrap();
}
