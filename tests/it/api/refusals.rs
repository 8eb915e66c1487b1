//! Documentation: each refusal that `docs/openapi.json` knows occurs, with its status, where it says.

use std::collections::BTreeSet;
use std::io::Write as _;

use serde_json::{Value, json};

use super::schema::Description;
use super::{Call, asking, refused, with};
use crate::support::http::{Answer, RawPeer, Request, read_answer, unix};
use crate::support::{PROGRAM, Sandbox, until};

/// What was refused, and with which code.
#[derive(Default)]
struct Seen(BTreeSet<String>);

impl Seen {
    #[track_caller]
    fn expect(&mut self, description: &Description, id: &str, answer: &Answer, code: &str) {
        assert_eq!(refused(description, id, answer), code, "{id}");
        self.0.insert(code.to_owned());
    }
}

/// What a message is, to one recipient.
fn message(to: &str, text: impl Into<String>) -> Value {
    json!({ "to": to, "text": text.into() })
}

#[test]
fn every_refusal_that_is_described_occurs_and_only_where_it_is_described() {
    let sandbox = Sandbox::new()
        .with("CLAUDE_PEERS_MESSAGE_BURST", "2")
        .with("CLAUDE_PEERS_MESSAGES_PER_MINUTE", "1")
        .with("CLAUDE_PEERS_MAX_UNREAD", "3");
    let description = Description::read();
    let mut seen = Seen::default();
    let mut broker = sandbox.start_broker();
    let peers =
        ["backend-1", "backend-2", "frontend"].map(|name| RawPeer::register(&sandbox, name));
    let [one, two, frontend] = &peers;
    let call = |id: &str, call: &Call<'_>| call.request(&description, id);
    let send = |to: &str, text: &str| call("sendMessage", &with(message(to, text)));

    // What concerns the message.
    seen.expect(&description, "sendMessage", &send("nobody", "hi").unix(&sandbox), "not_found");
    seen.expect(&description, "sendMessage", &send("backend", "hi").unix(&sandbox), "ambiguous");
    seen.expect(&description, "sendMessage", &send("", "hi").unix(&sandbox), "bad_request");
    let huge = "x".repeat(70_000);
    seen.expect(&description, "sendMessage", &send("frontend", &huge).unix(&sandbox), "too_large");
    let keyed = |text: &str| send("frontend", text).with("Idempotency-Key", "a-key");
    assert_eq!(keyed("first").unix(&sandbox).status, 200);
    seen.expect(&description, "sendMessage", &keyed("other").unix(&sandbox), "key_reused");
    assert_eq!(send("frontend", "second").unix(&sandbox).status, 200);
    seen.expect(
        &description,
        "sendMessage",
        &send("frontend", "third").unix(&sandbox),
        "rate_limited",
    );
    let by = |session: &RawPeer, text: &str| {
        with(message("frontend", text))
            .by(session)
            .request(&description, "sendMessage")
            .unix(&sandbox)
    };
    let full = [by(one, "a"), by(two, "b"), by(one, "c")];
    let full = full.iter().find(|answer| answer.status != 200).unwrap();
    seen.expect(&description, "sendMessage", full, "mailbox_full");
    // Refused at first, accepted later, and then too late: only in a batch.
    let item = |key: &str, to: &str| json!({ "key": key, "message": message(to, key) });
    let mut batch = json!({ "messages": [item("k1", "latecomer"), item("k2", "backend-1")] });
    let first = with(batch.clone()).request(&description, "sendBatch").unix(&sandbox).json();
    assert_eq!(first["outcomes"][0]["refused"]["code"], "not_found");
    RawPeer::register(&sandbox, "latecomer");
    batch["again"] = true.into();
    let again = with(batch).request(&description, "sendBatch").unix(&sandbox).json();
    assert_eq!(again["outcomes"][0]["refused"]["code"], "out_of_order", "{again}");
    seen.0.insert("out_of_order".to_owned());

    // Who calls, and how.
    let peers = || call("listPeers", &Call::default());
    seen.expect(&description, "listPeers", &peers().tcp(&sandbox), "unauthorized");
    let token = sandbox.token();
    let web_page = peers().token(&token).with("Origin", "https://example.com");
    seen.expect(&description, "listPeers", &web_page.tcp(&sandbox), "forbidden");
    let health = call("health", &Call::default());
    assert_eq!(health.tcp(&sandbox).status, 200);
    let rebound = health.with("Host", "example.com");
    seen.expect(&description, "health", &rebound.tcp(&sandbox), "forbidden");
    let stranger = peers().session("a secret of nobody");
    seen.expect(&description, "listPeers", &stranger.unix(&sandbox), "unknown_session");
    let other = peers().with("claude-peers-database", "/another/database");
    seen.expect(&description, "listPeers", &other.unix(&sandbox), "settings_differ");
    let newer = peers().with("claude-peers-protocol", "1000");
    seen.expect(&description, "listPeers", &newer.unix(&sandbox), "broker_too_old");
    let form = send("frontend", "hi").with("Content-Type", "application/x-www-form-urlencoded");
    seen.expect(&description, "sendMessage", &form.unix(&sandbox), "unsupported_media_type");
    let session = with(json!({ "older_than": 1_000_000 })).by(frontend);
    seen.expect(&description, "prune", &call("prune", &session).unix(&sandbox), "forbidden");
    let young = with(json!({ "older_than": 1 }));
    seen.expect(&description, "prune", &call("prune", &young).unix(&sandbox), "bad_request");
    let taken = with(json!({ "name": "backend-1" })).by(frontend);
    let mut live = unix(&sandbox);
    live.write_all(&Request::get("/v1/stream").session(&one.secret).bytes()).unwrap();
    until("the session is live", || sandbox.live_names().contains(&"backend-1".to_owned()));
    seen.expect(
        &description,
        "setProfile",
        &call("setProfile", &taken).unix(&sandbox),
        "name_taken",
    );
    let unknown = asking("?id=mzzzzzzzzzzz");
    seen.expect(
        &description,
        "listMessages",
        &call("listMessages", &unknown).unix(&sandbox),
        "not_found",
    );

    // A path and a method that are not there.
    assert_eq!(Request::get("/v1/unheard-of").unix(&sandbox).refusal(), (404, "not_found".into()));
    assert_eq!(Request::get("/v1/prune").unix(&sandbox).refusal(), (405, "bad_request".into()));

    // A broker that stops while a call waits.
    let mut waiting = unix(&sandbox);
    let wait = Call { query: "?wait_seconds=60", ..with(json!({})) }.by(two);
    let _ = call("takeMail", &with(json!({})).by(two)).unix(&sandbox);
    waiting.write_all(&call("takeMail", &wait).bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(call("shutdown", &with(json!({}))).unix(&sandbox).status, 200);
    let answer = read_answer(&mut waiting).unwrap();
    seen.expect(&description, "takeMail", &answer, "shutting_down");
    broker.wait().unwrap();

    // A disk that takes no more.
    let full = Sandbox::unlimited();
    let line = "ulimit -f 400 && exec \"$0\" broker";
    let mut small = full.command_of("sh", ["-c", line, PROGRAM]);
    let mut broker = full.start_broker_by(small.stderr(std::process::Stdio::null()));
    RawPeer::register(&full, "frontend");
    let refusal = (0..200).map(|_| send("frontend", &"x".repeat(8_000)).unix(&full));
    let refusal = refusal.into_iter().find(|answer| answer.status != 200).unwrap();
    seen.expect(&description, "sendMessage", &refusal, "storage");
    full.ok(["kill-broker"]);
    broker.wait().unwrap();

    let all: BTreeSet<String> = description.codes().into_iter().collect();
    assert_eq!(seen.0, all, "codes that are described, and codes that occurred");
}

/// A refusal that no operation names is described for nobody.
#[test]
fn every_code_is_named_by_an_operation_or_by_an_outcome() {
    let description = Description::read();
    let named: BTreeSet<String> =
        description.operations().iter().flat_map(|one| description.codes_of(one.0)).collect();
    let mut all: BTreeSet<String> = description.codes().into_iter().collect();
    // Only one message of a batch can be so.
    assert!(all.remove("out_of_order"));
    assert_eq!(named, all);
}
