//! Promise 2: two sessions find each other and talk, by channel and by tools.
//!
//! Promise 3: the state of each message is what really happened.

use serde_json::json;

use crate::support::{Sandbox, Session, SessionOptions, until};

#[test]
fn a_message_sent_to_one_session_appears_in_its_conversation() {
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let mut frontend = sandbox.session("frontend");
    let id = backend.send("frontend", "hello");
    let push = frontend.push();
    assert_eq!(push["content"], "hello");
    assert_eq!(push["meta"]["message_id"], id.as_str());
    assert_eq!(push["meta"]["from_name"], "backend");
    assert_eq!(push["meta"]["from_id"], backend.id().as_str());
    assert_eq!(sandbox.message(&id)["state"], "offered");
}

#[test]
fn a_session_without_a_channel_gets_its_mail_by_a_tool() {
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let mut frontend = SessionOptions::new("frontend").without_channel().start(&sandbox);
    let id = backend.send("frontend", "hello");
    assert_eq!(sandbox.message(&id)["state"], "queued");
    let listing = frontend.text("list_peers", json!({}));
    assert!(listing.ends_with("1 message waits for you: call check_messages."), "{listing}");
    let text = frontend.text("check_messages", json!({}));
    assert!(text.contains("\n| hello"), "{text}");
    until("it is read", || sandbox.message(&id)["state"] == "read");
    assert_eq!(sandbox.message(&id)["read_via"], "tool");
    assert!(frontend.text("check_messages", json!({})).starts_with("No messages wait"));
}

#[test]
fn an_answer_proves_the_channel_and_its_pushes_are_no_backlog_from_then_on() {
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let mut frontend = sandbox.session("frontend");
    let question = backend.send("frontend", "are you there?");
    assert_eq!(frontend.push()["meta"]["message_id"], question.as_str());
    let reach = |session: &mut Session| session.listed(json!({}))["peers"][0].clone();
    assert_eq!(reach(&mut backend)["reach"], "channel_presumed");
    assert_eq!(reach(&mut backend)["unread"], 1);

    let to = backend.id();
    frontend.call("send_message", json!({ "to_id": to, "message": "yes", "reply_to": question }));
    assert_eq!(sandbox.message(&question)["state"], "read");
    assert_eq!(sandbox.message(&question)["read_via"], "reply");
    assert_eq!(reach(&mut backend)["reach"], "channel_proven");

    let next = backend.send("frontend", "good");
    assert_eq!(frontend.push()["content"], "good");
    assert_eq!(reach(&mut backend)["unread"], 0, "a push over a proven channel is no backlog");
    let checked = frontend.call("check_messages", json!({}));
    let message = &checked["structuredContent"]["messages"][0];
    assert_eq!(message["message_id"], next.as_str());
    assert_eq!(message["already_pushed"], true);
}

#[test]
fn a_long_backlog_comes_in_pages_and_loses_nothing() {
    let sandbox = Sandbox::unlimited();
    let mut backend = sandbox.session("backend");
    let mut frontend = SessionOptions::new("frontend").without_channel().start(&sandbox);
    let text = "x".repeat(15_000);
    for number in 0..7 {
        backend.send("frontend", &format!("{number} {text}"));
    }
    let mut seen = Vec::new();
    loop {
        let page = frontend.call("check_messages", json!({}))["structuredContent"].clone();
        for message in page["messages"].as_array().unwrap() {
            seen.push(message["text"].as_str().unwrap().split(' ').next().unwrap().to_owned());
        }
        if page.get("remaining").is_none() {
            break;
        }
        assert!(page["mail"].as_str().unwrap().contains("call check_messages again"));
    }
    assert_eq!(seen, ["0", "1", "2", "3", "4", "5", "6"]);
}
