//! Promise 2: sends of one session that wait at the same time keep their order, and each its outcome.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Frozen, PATIENCE, Sandbox, Session, SessionOptions};

/// What a call was told: the id of its message, or `None` if it was refused.
fn told(answer: &Value) -> Option<String> {
    let result = &answer["result"];
    let id = result["structuredContent"]["id"].as_str().map(str::to_owned);
    assert_eq!(id.is_none(), result["isError"] == true, "{answer}");
    id
}

fn cancel(session: &mut Session, request: u64) {
    session.write(&json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": { "requestId": request, "reason": "AbortError: user-cancel" },
    }));
}

/// Checks that the next pushes are these, and that no other follows.
#[track_caller]
fn arrive(reader: &mut Session, texts: &[String]) {
    for text in texts {
        let push = reader.push();
        assert_eq!(push["content"], text.as_str(), "{push}");
        assert!(push["meta"].get("repeat").is_none(), "{push}");
    }
    assert!(reader.push_within(Duration::from_millis(300)).is_none(), "one too many");
}

#[test]
fn refusals_in_the_middle_of_a_burst_undo_no_neighbour_and_keep_the_order() {
    let sandbox = Sandbox::unlimited();
    let mut reader = sandbox.session("reader");
    let mut sender = SessionOptions::new("sender").at_once().start(&sandbox);
    let large = "x".repeat(64 * 1_024 + 1);
    let beyond_any_request = "x".repeat(1 << 20);
    let mut sent = Vec::new();
    let mut requests = Vec::new();
    for n in 0..120 {
        let text = n.to_string();
        let is_sent = match n % 6 {
            1 => Err(("nobody", text.as_str())),
            3 => Err(("reader", "")),
            4 if n == 64 => Err(("reader", beyond_any_request.as_str())),
            4 => Err(("reader", large.as_str())),
            _ => Ok(()),
        };
        let (to, words) = is_sent.err().unwrap_or(("reader", &text));
        requests.push((sender.start_send(to, words), is_sent.is_ok()));
        if is_sent.is_ok() {
            sent.push(text);
        }
    }
    let ids: Vec<u64> = requests.iter().map(|(id, _)| *id).collect();
    for (answer, (_, is_sent)) in sender.answers_to(&ids).iter().zip(&requests) {
        assert_eq!(told(answer).is_some(), *is_sent, "{answer}");
    }
    arrive(&mut reader, &sent);
}

#[test]
fn messages_to_a_scope_and_questions_keep_their_place_among_the_others() {
    let sandbox = Sandbox::unlimited();
    let mut reader = sandbox.session("reader");
    let mut sender = sandbox.session("sender");
    let mut sent = Vec::new();
    let mut requests = Vec::new();
    for n in 0..60 {
        let text = n.to_string();
        let mut arguments = json!({ "to_id": "reader", "message": text });
        match n % 15 {
            7 => arguments["to_id"] = json!("scope:machine"),
            12 => arguments["wait_seconds"] = json!(1),
            _ => {}
        }
        let params = json!({ "name": "send_message", "arguments": arguments });
        requests.push(sender.start_request("tools/call", params));
        sent.push(text);
    }
    for answer in sender.answers_to(&requests) {
        assert_ne!(answer["result"]["isError"], true, "{answer}");
    }
    arrive(&mut reader, &sent);
}

#[test]
fn a_cancelled_call_of_a_burst_takes_no_other_with_it() {
    let sandbox = Sandbox::unlimited();
    let mut reader = sandbox.session("reader");
    let mut sender = sandbox.session("sender");
    let frozen = Frozen::new(sandbox.broker().unwrap().pid);
    let send = |sender: &mut Session, from: usize, to: usize| -> Vec<u64> {
        (from..to).map(|n| sender.start_send("reader", &n.to_string())).collect()
    };
    // The first request is under way with some of them, and the others wait.
    let mut requests = send(&mut sender, 0, 10);
    assert_eq!(sender.request("ping", json!({}))["result"], json!({}));
    requests.extend(send(&mut sender, 10, 20));
    assert_eq!(sender.request("ping", json!({}))["result"], json!({}));
    for cancelled in [0, 5, 15] {
        cancel(&mut sender, requests[cancelled]);
    }
    assert_eq!(sender.request("ping", json!({}))["result"], json!({}));
    drop(frozen);
    let others = |n: &usize| ![0, 5, 15].contains(n);
    let kept: Vec<u64> = (0..20).filter(others).map(|n| requests[n]).collect();
    for answer in sender.answers_to(&kept) {
        assert!(told(&answer).is_some(), "{answer}");
    }
    // What was cancelled while it waited is not sent. What was under way may be.
    let mut arrived = Vec::new();
    while arrived.last() != Some(&19) {
        let (_, push) = reader.push_within(PATIENCE).expect("the last one arrives");
        arrived.push(push["content"].as_str().unwrap().parse::<usize>().unwrap());
    }
    assert!(arrived.is_sorted_by(|a, b| a < b), "in order and once: {arrived:?}");
    assert!(!arrived.contains(&15), "{arrived:?}");
    arrived.retain(|n| others(n));
    assert_eq!(arrived, (0..20).filter(others).collect::<Vec<_>>());
}

#[test]
fn the_rate_limit_refuses_some_of_a_burst_and_lets_none_overtake() {
    let sandbox = Sandbox::new();
    let mut reader = sandbox.session("reader");
    let mut sender = sandbox.session("sender");
    let texts: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    let requests = sender.start_sends("reader", &texts);
    let answers = sender.answers_to(&requests);
    let sent: Vec<String> = texts
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| told(answer).is_some())
        .map(|(text, _)| text.clone())
        .collect();
    assert!(sent.len() < texts.len(), "the limit refuses some");
    arrive(&mut reader, &sent);
}
