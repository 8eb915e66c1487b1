//! Promises 1 and 2: receivers come and go, and the session's mail stays.
//!
//! A message that may have been shown is marked as a repeat.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Chance, Sandbox, Session, SessionOptions, rounds, until};

/// Starts a session without waiting until it may be pushed to.
fn begin(sandbox: &Sandbox, name: &str) -> Session {
    let mut session = SessionOptions::new(name).at_once().start(sandbox);
    session.me();
    session
}

/// Waits until pushes go out to all sessions that were started before.
fn settle() {
    std::thread::sleep(Duration::from_millis(1_100));
}

fn pushed_texts(messages: &[Value]) -> Vec<String> {
    let pushes = messages.iter().filter(|m| m["method"] == "notifications/claude/channel");
    pushes.map(|m| m["params"]["content"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_message_offered_to_a_receiver_that_is_killed_is_offered_to_the_next_as_a_repeat() {
    let sandbox = Sandbox::unlimited();
    let mut sender = sandbox.session("sender");
    let mut chance = Chance::new();
    let (mut shown_before, mut not_shown_before) = (0, 0);
    for round in 0..rounds(2) {
        let names: Vec<String> = (0..8).map(|n| format!("receiver-{round}-{n}")).collect();
        let first: Vec<(String, Session)> =
            names.iter().map(|name| (name.clone(), begin(&sandbox, name))).collect();
        settle();
        let mut shown: Vec<(String, Vec<String>)> = Vec::new();
        for (name, session) in first {
            let requests: Vec<u64> =
                (0..3).map(|n| sender.start_send(&name, &n.to_string())).collect();
            std::thread::sleep(chance.between(Duration::ZERO, Duration::from_millis(25)));
            shown.push((name, pushed_texts(&session.kill9_and_drain())));
            for answer in sender.answers_to(&requests) {
                assert!(answer["result"]["isError"] != true, "{answer}");
            }
        }
        // Mail that is sent while no receiver exists was never shown, so it is no repeat.
        for name in &names {
            sender.send(name, "3");
        }
        let mut next: Vec<Session> = names.iter().map(|name| begin(&sandbox, name)).collect();
        settle();
        for (session, (name, before)) in next.iter_mut().zip(&shown) {
            for n in 0..4 {
                let push = session.push();
                let text = n.to_string();
                assert_eq!(push["content"], text.as_str(), "{name}: all of it, in order");
                let repeat = push["meta"].get("repeat");
                if before.contains(&text) {
                    assert_eq!(repeat, Some(&json!("true")), "{name} has shown {text}: {push}");
                    shown_before += 1;
                } else if n == 3 {
                    assert_eq!(repeat, None, "{name} was away: {push}");
                } else {
                    not_shown_before += 1;
                }
            }
            assert!(session.push_within(Duration::ZERO).is_none());
        }
    }
    println!("shown before {shown_before}, cut off {not_shown_before}");
}

#[test]
fn what_a_tool_took_is_read_only_if_its_result_came_out() {
    let sandbox = Sandbox::unlimited();
    let mut sender = sandbox.session("sender");
    let mut chance = Chance::new();
    let start = || SessionOptions::new("receiver").without_channel().at_once().start(&sandbox);
    start().me();
    let (mut came_out, mut cut_off) = (0, 0);
    for round in 0..rounds(16) {
        let id = sender.send("receiver", &format!("round {round}"));
        let mut session = start();
        session.me();
        let request = session
            .start_request("tools/call", json!({ "name": "check_messages", "arguments": {} }));
        std::thread::sleep(chance.between(Duration::ZERO, Duration::from_millis(40)));
        let messages = session.kill9_and_drain();
        let answer = messages.iter().find(|m| m["id"] == request);
        let shown = answer.is_some_and(|answer| {
            let list = answer["result"]["structuredContent"]["messages"].as_array();
            list.is_some_and(|list| list.iter().any(|m| m["message_id"] == id.as_str()))
        });
        if shown {
            came_out += 1;
        } else {
            cut_off += 1;
            assert_ne!(sandbox.message(&id)["state"], "read", "round {round}: it was not shown");
        }
        // The next server gets every message that is not known as read, however fresh the lease is.
        let mut next = start();
        let again = next.call("check_messages", json!({}))["structuredContent"].clone();
        let again = again["messages"].as_array().unwrap();
        let given = again.iter().find(|m| m["message_id"] == id.as_str());
        match given {
            Some(message) if shown => assert_eq!(message["repeat"], true, "{message}"),
            Some(_) => {}
            None => assert!(shown, "round {round}: the message is lost"),
        }
        until("it is read", || sandbox.message(&id)["state"] == "read");
        next.kill9();
    }
    println!("came out {came_out}, cut off {cut_off}");
}

#[test]
fn what_a_tool_took_and_never_showed_is_pushed_to_the_next_server_at_once() {
    let sandbox = Sandbox::new();
    let mut sender = sandbox.session("sender");
    let mut session = SessionOptions::new("receiver").without_channel().start(&sandbox);
    let gate = session.reading();
    let small = sender.send("receiver", "hello");
    // Escaped, and in both forms of the result, it is more than the pipe takes.
    let big = sender.send("receiver", &"\"".repeat(19_000));
    {
        let _nobody_reads = gate.hold();
        // The line at which the reader stops.
        session.start_request("tools/list", json!({}));
        session.start_request("tools/call", json!({ "name": "check_messages", "arguments": {} }));
        until("both were taken", || sandbox.message(&big)["state"] == "offered");
        std::thread::sleep(Duration::from_millis(200));
        for id in [&small, &big] {
            assert_eq!(sandbox.message(id)["state"], "offered", "its result is not out");
        }
        session.child.kill().unwrap();
        session.child.wait().unwrap();
    }
    // The lease of the take has not ended, but its receiver is gone.
    let mut next = sandbox.session("receiver");
    for id in [&small, &big] {
        let push = next.push();
        assert_eq!(
            (&push["meta"]["message_id"], &push["meta"]["repeat"]),
            (&json!(id), &json!("true"))
        );
    }
    assert!(next.push_within(Duration::from_millis(300)).is_none());
}

#[test]
fn two_receivers_of_one_session_are_pushed_to_once_and_the_other_takes_over() {
    let sandbox = Sandbox::unlimited();
    let mut sender = sandbox.session("sender");
    let mut first = sandbox.session("receiver");
    let mut second = sandbox.session("receiver");
    assert_eq!(first.id(), second.id(), "one session, one peer");
    let texts: Vec<String> = (0..10).map(|n| format!("{n}")).collect();
    sender.send_all("receiver", &texts, false);
    for text in &texts {
        let push = second.push();
        assert_eq!(push["content"], text.as_str());
        assert!(push["meta"].get("repeat").is_none(), "{push}");
    }
    assert!(first.push_within(Duration::from_millis(500)).is_none(), "pushed twice");
    second.kill9();
    for text in &texts {
        let push = first.push();
        assert_eq!(push["content"], text.as_str());
        assert_eq!(push["meta"]["repeat"], "true");
    }
    sender.send("receiver", "new");
    let push = first.push();
    assert_eq!(push["content"], "new");
    assert!(push["meta"].get("repeat").is_none(), "{push}");
}
