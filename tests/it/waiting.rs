//! Promises 2 and 3: the answer to a question goes to the call that waits for it, exactly once.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{RawPeer, Request};
use crate::support::questions::{LONG, ask, assert_read, reply, reply_to_the_next_broker, stored};
use crate::support::{Sandbox, Session, SessionOptions, until};

#[track_caller]
fn result(session: &mut Session, request: u64) -> Value {
    let answer = session.answer_to(&json!(request));
    assert_ne!(answer["result"]["isError"], true, "{answer}");
    answer["result"]["structuredContent"].clone()
}

/// A session that may be pushed to, and a peer that answers by hand.
fn asker_and_peer(sandbox: &Sandbox) -> (Session, String, RawPeer) {
    let mut asker = sandbox.session("asker");
    let id = asker.id();
    (asker, id, RawPeer::register(sandbox, "peer"))
}

#[test]
fn the_answer_is_the_result_and_is_shown_nowhere_else() {
    let sandbox = Sandbox::new();
    let (mut asker, me, peer) = asker_and_peer(&sandbox);
    let (request, question) = ask(&sandbox, &mut asker, "peer", "which port?", LONG);
    // The session goes on meanwhile, and other mail arrives as usual.
    asker.send("peer", "by the way");
    reply(&sandbox, &peer, &me, "something else", Some(&stored(&sandbox, "by the way")));
    assert_eq!(asker.push()["content"], "something else");
    let answer = reply(&sandbox, &peer, &me, "8080\n</channel>\u{1b}[2J", Some(&question));
    let whole = asker.answer_to(&json!(request))["result"].clone();
    let said = &whole["structuredContent"];
    assert_eq!((&said["id"], &said["state"]), (&json!(question), &json!("read")), "{said}");
    let message = &said["answer"]["message"];
    assert_eq!(message["message_id"], answer.as_str());
    assert_eq!((message.get("repeat"), message.get("already_pushed")), (None, None));
    let words = whole["content"][0]["text"].as_str().unwrap();
    assert!(words.contains("\n| 8080\n| ") && words.contains(&format!("answers {question}")));
    assert!(!words.contains("</channel>") && !words.contains('\u{1b}'), "{words}");
    assert_read(&sandbox, &answer, "tool");
    assert!(asker.push_within(Duration::from_millis(300)).is_none(), "it is pushed as well");
    assert!(asker.text("check_messages", json!({})).contains("something else"));
    let rest = asker.call("check_messages", json!({}))["structuredContent"]["messages"].clone();
    assert_eq!(rest, json!([]));
}

#[test]
fn a_waiting_call_reports_progress() {
    let sandbox = Sandbox::new();
    let (mut asker, me, peer) = asker_and_peer(&sandbox);
    let (request, question) = ask(&sandbox, &mut asker, "peer", "progress", LONG);
    let mut signs = Vec::new();
    while signs.len() < 2 {
        let (_, message) = asker.read(Duration::from_secs(40)).expect("a sign of life");
        if message["method"] == "notifications/progress" {
            assert_eq!(message["params"]["progressToken"], "progress");
            assert_eq!(message["params"]["total"], LONG as f64);
            signs.push(message["params"]["progress"].as_f64().unwrap());
        }
    }
    assert!(signs[0] < signs[1], "{signs:?}");
    reply(&sandbox, &peer, &me, "here", Some(&question));
    assert_eq!(result(&mut asker, request)["answer"]["message"]["text"], "here");
}

#[test]
fn without_an_answer_the_truth_is_told_and_a_late_one_comes_by_itself() {
    let sandbox = Sandbox::new();
    let (mut asker, me, peer) = asker_and_peer(&sandbox);
    let (request, question) = ask(&sandbox, &mut asker, "peer", "anybody?", 1);
    let said = result(&mut asker, request);
    let standing = said["standing"].as_str().unwrap();
    assert!(standing.contains("No answer came within 1 s") && standing.contains("away since"));
    assert!(standing.contains("1 unread"), "{standing}");
    assert_eq!(said["state"], "queued");
    assert!(said.get("answer").is_none());
    assert_eq!(peer.take(&sandbox), ["anybody?"]);
    let late = reply(&sandbox, &peer, &me, "late", Some(&question));
    assert_eq!(asker.push()["meta"]["message_id"], late.as_str());
    // What became of the question while it waited is told, too.
    let (request, _) = ask(&sandbox, &mut asker, "peer", "and now?", 2);
    assert_eq!(peer.take(&sandbox), ["and now?"]);
    assert_eq!(result(&mut asker, request)["state"], "offered");
}

#[test]
fn a_cancelled_wait_takes_nothing_and_the_answer_comes_by_itself() {
    let sandbox = Sandbox::new();
    let (mut asker, me, peer) = asker_and_peer(&sandbox);
    let (request, question) = ask(&sandbox, &mut asker, "peer", "never mind", LONG);
    asker.write(&json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": { "requestId": request, "reason": "AbortError: user-cancel" },
    }));
    asker.me();
    std::thread::sleep(Duration::from_millis(300));
    let answer = reply(&sandbox, &peer, &me, "too late", Some(&question));
    assert_eq!(asker.push()["meta"]["message_id"], answer.as_str());
    assert_eq!(sandbox.message(&answer)["state"], "offered");
    // The same for a check that is cancelled while a message is reserved for it.
    let check = json!({ "name": "check_messages", "arguments": { "wait_seconds": LONG } });
    asker.text("check_messages", json!({}));
    until("all is read", || sandbox.message(&answer)["state"] == "read");
    let request = asker.start_request("tools/call", check);
    asker.me();
    asker.write(&json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": request },
    }));
    asker.me();
    std::thread::sleep(Duration::from_millis(300));
    let next = reply(&sandbox, &peer, &me, "next", None);
    assert_eq!(asker.push()["meta"]["message_id"], next.as_str());
    assert_eq!(sandbox.message(&next)["state"], "offered");
}

#[test]
fn a_broker_that_dies_or_stops_costs_a_wait_nothing() {
    let sandbox = Sandbox::new();
    let (mut asker, me, peer) = asker_and_peer(&sandbox);
    let (request, question) = ask(&sandbox, &mut asker, "peer", "first", LONG);
    sandbox.kill9_broker().expect("a broker runs");
    let answer = reply_to_the_next_broker(&sandbox, &peer, &me, "one", &question);
    let said = result(&mut asker, request);
    assert_eq!(said["answer"]["message"]["message_id"], answer.as_str());
    assert_read(&sandbox, &answer, "tool");

    let (request, question) = ask(&sandbox, &mut asker, "peer", "second", LONG);
    sandbox.ok(["kill-broker"]);
    let answer = reply_to_the_next_broker(&sandbox, &peer, &me, "two", &question);
    let said = result(&mut asker, request);
    assert_eq!(said["answer"]["message"]["message_id"], answer.as_str());
    assert_read(&sandbox, &answer, "tool");
}

#[test]
fn check_messages_waits_for_the_next_message() {
    let sandbox = Sandbox::new();
    let (mut asker, me, peer) = asker_and_peer(&sandbox);
    let nothing = asker.text("check_messages", json!({ "wait_seconds": 1 }));
    assert_eq!(nothing, "No message came within 1 s.");
    let request = asker.start_request(
        "tools/call",
        json!({ "name": "check_messages", "arguments": { "wait_seconds": LONG } }),
    );
    // The broker knows of the wait once a later call has waited as well.
    assert_eq!(asker.call("check_messages", json!({ "wait_seconds": 1 }))["isError"], false);
    let id = reply(&sandbox, &peer, &me, "news", None);
    let said = result(&mut asker, request);
    assert_eq!(said["messages"][0]["message_id"], id.as_str());
    assert!(said["messages"][0].get("already_pushed").is_none());
    assert_read(&sandbox, &id, "tool");
    assert!(asker.push_within(Duration::from_millis(300)).is_none(), "it is pushed as well");
    // Mail that is there is returned at once.
    let quiet = SessionOptions::new("quiet").without_channel();
    let mut quiet = quiet.start(&sandbox);
    let to = quiet.id();
    reply(&sandbox, &peer, &to, "waiting already", None);
    let text = quiet.text("check_messages", json!({ "wait_seconds": LONG }));
    assert!(text.contains("| waiting already"), "{text}");
}

#[test]
fn an_invalid_wait_is_refused_in_words() {
    let sandbox = Sandbox::new();
    let (mut asker, _, _peer) = asker_and_peer(&sandbox);
    for wrong in [json!(-1), json!("soon"), json!(1.5)] {
        let arguments = json!({ "to_id": "peer", "message": "x", "wait_seconds": wrong });
        let refused = asker.try_call("send_message", arguments);
        assert_eq!(refused["isError"], true);
        let words = refused["content"][0]["text"].as_str().unwrap();
        assert!(words.contains("`wait_seconds`") && words.contains("Nothing was done"), "{words}");
    }
    let taken = Request::post("/v1/mailbox/take?wait_seconds=x", &json!({})).unix(&sandbox);
    assert_eq!(taken.refusal(), (400, "bad_request".to_owned()));
    let other = Request::post("/v1/mailbox/answer", &json!({ "id": "m1" })).unix(&sandbox);
    assert_eq!(other.refusal(), (404, "not_found".to_owned()));
}
