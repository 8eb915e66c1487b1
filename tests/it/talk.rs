//! Sessions find each other and talk.

use serde_json::json;

use crate::support::{Sandbox, SessionOptions};

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
    crate::support::until("it is read", || sandbox.message(&id)["state"] == "read");
    assert_eq!(sandbox.message(&id)["read_via"], "tool");
    assert!(frontend.text("check_messages", json!({})).starts_with("No messages wait"));
}
