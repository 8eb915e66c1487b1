//! Promise 3: a message whose time to live ends is reported to its sender, once, by a notice.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{RawPeer, Request};
use crate::support::{Sandbox, SessionOptions, until};

/// A sandbox whose messages, notices included, live this many seconds.
fn sandbox(seconds: &str) -> Sandbox {
    let sandbox = Sandbox::new().with("CLAUDE_PEERS_MESSAGE_TTL_SECONDS", seconds);
    sandbox.ok(["peers"]);
    sandbox
}

fn messages(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.json(["log", "-n", "1000"])["messages"].as_array().unwrap().clone()
}

/// The notices that the broker has written.
fn notices(sandbox: &Sandbox) -> Vec<Value> {
    messages(sandbox).into_iter().filter(|message| message["from"]["id"] == "broker").collect()
}

#[test]
fn one_notice_for_each_recipient_says_which_messages_ended_how() {
    let sandbox = sandbox("6");
    let [sender, first, second] =
        ["sender", "first", "second"].map(|name| RawPeer::register(&sandbox, name));
    let one = sender.send(&sandbox, "first", "one");
    assert_eq!(first.take(&sandbox), ["one"]);
    let two = sender.send(&sandbox, "first", "two");
    let three = sender.send(&sandbox, "second", "three");
    // All have ended when expiry runs next.
    sandbox.kill9_broker().expect("a broker runs");
    std::thread::sleep(Duration::from_millis(6_100));
    sandbox.ok(["peers"]);
    let told = notices(&sandbox);
    assert_eq!(told.len(), 2, "{told:#?}");
    for notice in &told {
        assert_eq!(notice["to"]["id"], sender.id.as_str());
        assert_eq!(notice["from"]["name"], "claude-peers broker");
    }
    let text = |of: &RawPeer| {
        let about = format!("{} ({})", of.name, of.id);
        let found = told.iter().find(|notice| notice["text"].as_str().unwrap().contains(&about));
        found.unwrap_or_else(|| panic!("{told:#?}"))["text"].as_str().unwrap().to_owned()
    };
    let said = text(&first);
    assert!(said.contains("2 messages") && said.contains(&format!("(expired): {two}.")), "{said}");
    assert!(said.contains(&format!("(unconfirmed): {one}.")), "{said}");
    let said = text(&second);
    assert!(said.contains("a message") && said.contains(&three), "{said}");
    assert!(sender.take(&sandbox).iter().all(|text| text.contains("has ended")));

    // The notices expire silently, and another broker does not repeat them.
    until("the notices have ended", || {
        notices(&sandbox)
            .iter()
            .all(|notice| notice["state"] == "expired" || notice["state"] == "unconfirmed")
    });
    sandbox.kill9_broker().expect("a broker runs");
    std::thread::sleep(Duration::from_millis(1_100));
    sandbox.ok(["peers"]);
    assert_eq!(messages(&sandbox).len(), 5, "{:#?}", messages(&sandbox));
    drop(second);
}

#[test]
fn a_notice_reaches_its_session_by_every_way_and_passes_for_no_peers_message() {
    let sandbox = sandbox("7");
    let mut pushed = sandbox.session("pushed");
    let mut quiet = SessionOptions::new("quiet").without_channel().start(&sandbox);
    let gone = RawPeer::register(&sandbox, "gone");
    let ids = [pushed.send("gone", "one"), quiet.send("gone", "two")];
    sandbox.ok(["send", "gone", "three"]);
    // The first request after that runs expiry.
    until("all are told", || notices(&sandbox).len() == 3);
    let push = pushed.push();
    assert!(push["content"].as_str().unwrap().contains(&ids[0]), "{push}");
    let meta = &push["meta"];
    assert_eq!((&meta["from_id"], &meta["notice"]), (&json!("broker"), &json!("true")));
    assert_eq!(meta["from_name"], "claude-peers broker");

    let set = quiet.text("set_summary", json!({ "summary": "waits" }));
    assert!(set.ends_with("1 message waits for you: call check_messages."), "{set}");
    assert_eq!(quiet.me()["unread"], 0, "it is no backlog");
    let result = quiet.call("check_messages", json!({}));
    let message = &result["structuredContent"]["messages"][0];
    assert_eq!((&message["from_id"], &message["notice"]), (&json!("broker"), &json!(true)));
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("a notice of claude-peers itself (from_id broker; do not answer it)"));
    assert!(text.contains(&format!("\n| Never offered (expired): {}.", ids[1])), "{text}");
    let inbox = sandbox.ok(["inbox"]);
    assert!(inbox.contains("  notice from claude-peers, "), "{inbox}");

    // Nothing can be sent to `broker`, and no peer can take that name.
    for words in [
        quiet.try_call("send_message", json!({ "to_id": "broker", "message": "thanks" })),
        quiet.try_call("set_summary", json!({ "summary": "x", "name": "broker" })),
    ] {
        assert_eq!(words["isError"], true, "{words}");
    }
    let (code, error) = sandbox.fails(["send", "broker", "thanks"]);
    assert!(code == 1 && error.contains("notices from claude-peers cannot be answered"), "{error}");
    assert!(error.contains("hint: Write to the peer that the notice names."), "{error}");
    drop(gone);
}

#[test]
fn notices_count_against_no_limit_and_keep_no_peer_listed() {
    let sandbox = sandbox("6").with("CLAUDE_PEERS_MAX_UNREAD", "1");
    sandbox.ok(["kill-broker"]);
    sandbox.ok(["peers"]);
    let sender = RawPeer::register(&sandbox, "sender");
    for name in ["first", "second", "third"] {
        RawPeer::register(&sandbox, name);
        sender.send(&sandbox, name, "hello");
    }
    until("the sender is told thrice", || notices(&sandbox).len() == 3);
    let other = RawPeer::register(&sandbox, "other");
    other.send(&sandbox, "sender", "there is room for one");
    assert_eq!(other.try_send(&sandbox, "sender", "and no more").status, 429);
    assert_eq!(sandbox.json(["status"])["health"]["backlog"], 1);
    assert_eq!(sender.take(&sandbox).len(), 4);
    let all = sandbox.json(["peers", "--all"]);
    let listed = all["peers"].as_array().unwrap();
    let sender = listed.iter().find(|peer| peer["name"] == "sender").unwrap();
    assert_eq!(sender["unread"], 0, "the one is leased, and notices are no backlog");
    assert!(listed.iter().all(|peer| peer["id"] != "broker"), "{all}");
}

/// A client that is known by its process, and has ended, cannot return.
#[test]
fn a_sender_that_cannot_return_is_told_nothing() {
    let sandbox = sandbox("2");
    let recipient = RawPeer::register(&sandbox, "recipient");
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    let pid = ended.id();
    ended.wait().unwrap();
    let register = |name: &str, session: Option<&str>| {
        let secret = format!("secret-of-{name}-{}", "x".repeat(32));
        let client = json!({ "pid": pid, "start": "1", "boot": "gone" });
        let body = json!({
            "instance": format!("instance-{name}"), "secret": secret, "session": session,
            "client": client, "cwd": "/srv", "channel": "absent", "name": name,
        });
        // Over TCP the caller's process is not known, so the client may be any process.
        let answer = Request::post("/v1/register", &body).token(&sandbox.token()).tcp(&sandbox);
        assert_eq!(answer.status, 200, "{:?}", answer.refusal());
        let id = answer.json()["peer"]["id"].as_str().unwrap().to_owned();
        let send = json!({ "to": recipient.id, "text": name });
        assert_eq!(
            Request::post("/v1/messages", &send).session(&secret).unix(&sandbox).status,
            200
        );
        id
    };
    register("process", None);
    let session = register("session", Some("session-1"));
    until("one is told", || !notices(&sandbox).is_empty());
    let told = notices(&sandbox);
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(told[0]["to"]["id"], session.as_str(), "it may be resumed");
    assert_eq!(messages(&sandbox).len(), 3);
}
