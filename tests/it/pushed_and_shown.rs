//! Promise 2: what is both pushed and shown by a tool or a hook says so, in every order.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::hooks::context;
use crate::support::{Frozen, PATIENCE, Sandbox, Session, SessionOptions, rounds};

/// Reads what the server writes until the answer to this request. Returns the ids that were pushed
/// before it.
#[track_caller]
fn pushed_before(session: &mut Session, request: u64) -> (HashSet<String>, Value) {
    let mut pushed = HashSet::new();
    loop {
        let (_, message) = session.read(PATIENCE).expect("the request is answered");
        if message["method"] == "notifications/claude/channel" {
            pushed.insert(id_of(&message["params"]));
        } else if message["id"] == request {
            return (pushed, message["result"].clone());
        }
    }
}

fn id_of(push: &Value) -> String {
    push["meta"]["message_id"].as_str().unwrap().to_owned()
}

fn start_check(session: &mut Session) -> u64 {
    session.start_request("tools/call", json!({ "name": "check_messages", "arguments": {} }))
}

#[test]
fn a_result_marks_what_was_pushed_before_it_and_nothing_is_pushed_behind_it() {
    let sandbox = Sandbox::unlimited();
    let mut writer = sandbox.session("writer");
    let mut reader = sandbox.session("reader");
    let mut pushed = HashSet::new();
    let mut shown = HashSet::new();
    let (mut marked, mut unmarked) = (0, 0);
    for round in 0..rounds(40) {
        let text = format!("text {round}");
        let sends: Vec<u64> = (0..=round % 4).map(|_| writer.start_send("reader", &text)).collect();
        if round % 2 == 0 {
            // Its receipt is not with the broker yet.
            let (_, push) = reader.push_within(PATIENCE).expect("a push arrives");
            pushed.insert(id_of(&push));
        }
        // Otherwise the push is on its way, at any place.
        let check = start_check(&mut reader);
        let (before, result) = pushed_before(&mut reader, check);
        assert!(before.is_disjoint(&shown), "pushed behind a result that showed it");
        pushed.extend(before);
        let content = &result["structuredContent"];
        let text = result["content"][0]["text"].as_str().unwrap();
        let marks = text.matches("already pushed into this session").count();
        let messages = content["messages"].as_array().unwrap();
        for message in messages {
            let id = message["message_id"].as_str().unwrap().to_owned();
            let is_marked = message["already_pushed"] == true;
            assert_eq!(is_marked, pushed.contains(&id), "round {round}: {result}");
            *(if is_marked { &mut marked } else { &mut unmarked }) += 1;
            shown.insert(id);
        }
        let all = messages.iter().filter(|message| message["already_pushed"] == true).count();
        assert_eq!(marks, all, "{text}");
        writer.answers_to(&sends);
        while let Some((_, push)) = reader.push_within(Duration::from_millis(1)) {
            let id = id_of(&push);
            assert!(!shown.contains(&id) || pushed.contains(&id), "pushed behind a result: {id}");
            pushed.insert(id);
        }
    }
    assert!(marked > 0, "no push came before a result");
    println!("{marked} were pushed before the result, {unmarked} were not");
}

/// Shows a message by a tool before pushes are written, and returns the ids that are pushed later.
fn shown_before_pushes(options: &SessionOptions, text: &str) -> (Value, Vec<String>) {
    let sandbox = Sandbox::unlimited();
    let mut writer = sandbox.session("writer");
    let mut reader = options.start(&sandbox);
    reader.until_live();
    writer.send("reader", text);
    let shown = reader.call("check_messages", json!({}))["structuredContent"].clone();
    assert!(reader.push_within(Duration::ZERO).is_none(), "pushes began too early");
    let last = writer.send("reader", "last");
    let mut pushed = Vec::new();
    while pushed.last() != Some(&last) {
        pushed.push(id_of(&reader.push()));
    }
    (shown, pushed)
}

#[test]
fn a_push_that_waits_while_a_tool_shows_its_message_is_not_written() {
    // Pushes begin one second after the handshake.
    let (shown, pushed) = shown_before_pushes(&SessionOptions::new("reader").at_once(), "hello");
    let message = &shown["messages"][0];
    assert_eq!(message["text"], "hello");
    assert!(message.get("already_pushed").is_none(), "it was not written: {message}");
    assert_eq!(pushed.len(), 1, "{pushed:?} were pushed, {shown} was shown");
}

#[test]
fn a_push_that_waits_while_a_tool_shows_a_part_of_its_message_is_not_written() {
    let other = SessionOptions::new("reader").client("other").at_once();
    let (shown, pushed) = shown_before_pushes(&other, &"long ".repeat(8_000));
    assert!(shown["messages"][0]["part"].is_string(), "{shown}");
    assert_eq!(pushed.len(), 1, "{pushed:?} were pushed, {shown} was shown");
}

#[test]
fn a_hook_says_of_what_may_have_been_pushed_that_it_may_be_a_repeat() {
    let sandbox = Sandbox::unlimited();
    let mut writer = sandbox.session("writer");
    let mut reader = sandbox.session("reader");
    // The push is under way: there is no receipt, and nobody knows on which side of the hook it is.
    let frozen = Frozen::new(reader.pid());
    writer.send("reader", "hello");
    let shown = context(&sandbox, "UserPromptSubmit", "reader", "turn", json!({}));
    assert!(shown.contains("| hello") && shown.contains("a repeat: it may have been"), "{shown}");
    drop(frozen);
    assert_eq!(reader.push()["content"], "hello");
}
