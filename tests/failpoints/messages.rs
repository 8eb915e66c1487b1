//! Messages whose way is interrupted: sends, batches, offers, evidence, receipts, expiry.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{Case, checked, last_words, pushed_once, pushes, until_state};
use crate::support::until;

fn ids(answers: &[Value]) -> Vec<String> {
    let id = |answer: &Value| {
        assert_ne!(answer["result"]["isError"], true, "{answer}");
        answer["result"]["structuredContent"]["id"].as_str().unwrap().to_owned()
    };
    answers.iter().map(id).collect()
}

/// The broker dies while a session sends one message.
pub fn send(case: &Case) {
    let mut broker = case.broker();
    let (mut a, mut b) = (case.session("a"), case.session("b"));
    case.open_gate();
    let id = a.send("b", "one");
    broker.dies();
    case.stored_once(&[("one", &id)]);
    pushed_once(&mut b, std::slice::from_ref(&id), false);
    case.sandbox.assert_state(&id, "offered", "channel");
    // The next message comes after it.
    let next = a.send("b", "two");
    pushed_once(&mut b, &[next], false);
}

/// The broker dies while a session sends several messages at once.
pub fn batch(case: &Case) {
    let mut broker = case.broker();
    let (mut a, mut b) = (case.session("a"), case.session("b"));
    let texts: Vec<String> = (0..6).map(|n| format!("message {n}")).collect();
    case.open_gate();
    let sent = a.send_all("b", &texts, true);
    broker.dies();
    let pairs: Vec<(&str, &str)> =
        texts.iter().map(String::as_str).zip(sent.iter().map(String::as_str)).collect();
    case.stored_once(&pairs);
    pushed_once(&mut b, &sent, false);
}

/// The sender's server dies while it sends one message. It is sent once or not at all.
pub fn sender(case: &Case) {
    let mut b = case.session("b");
    let mut a = case.armed_session("a").start(&case.sandbox);
    case.open_gate();
    a.start_sends("b", &["one", "two", "three"]);
    let answered: Vec<Value> =
        last_words(a).into_iter().filter(|line| line["result"]["content"].is_array()).collect();
    let log = case.log();
    let texts: Vec<&Value> = log.iter().map(|message| &message["text"]).collect();
    assert!(
        ["one", "two", "three"]
            .starts_with(&texts.iter().map(|text| text.as_str().unwrap()).collect::<Vec<_>>()),
        "in order, once, without a gap: {texts:?}"
    );
    for id in ids(&answered) {
        assert!(log.iter().any(|message| message["id"] == id.as_str()), "{id} is stored");
    }
    let stored: Vec<String> =
        log.iter().map(|message| message["id"].as_str().unwrap().to_owned()).collect();
    pushed_once(&mut b, &stored, false);
    // The session comes back, as the same peer.
    let mut again = case.session("a");
    let id = again.send("b", "four");
    pushed_once(&mut b, &[id], false);
}

/// The broker dies between a `check_messages` and the evidence of its result.
pub fn tool(case: &Case) {
    let mut broker = case.broker();
    let (mut a, mut b) = (case.session("a"), case.without_channel("b"));
    let sent = [a.send("b", "one"), a.send("b", "two")];
    case.open_gate();
    let shown: Vec<String> = checked(&mut b).into_iter().map(|(id, _)| id).collect();
    broker.dies();
    assert_eq!(shown, sent, "both, in order");
    for id in &sent {
        until_state(case, id, "read");
        case.sandbox.assert_state(id, "read", "tool");
    }
    assert_eq!(checked(&mut b), [], "what was read is not shown again");
}

/// The reader's server dies around the evidence.
pub fn reader(case: &Case) {
    let mut a = case.session("a");
    let mut b = case.armed_session("b").without_channel().start(&case.sandbox);
    let id = a.send("b", "one");
    case.open_gate();
    b.start_request("tools/call", json!({ "name": "check_messages", "arguments": {} }));
    last_words(b);
    let state = case.sandbox.message(&id)["state"].clone();
    let shown = checked(&mut case.without_channel("b"));
    if state == "read" {
        assert_eq!(shown, [], "what was read is not shown again");
    } else {
        assert_eq!(shown, [(id, true)], "shown again, marked as a repeat");
    }
}

/// The recipient's server dies around a push. The next one is pushed it, marked if it was shown.
pub fn pushed(case: &Case) {
    let mut a = case.session("a");
    let b = case.armed_session("b").start(&case.sandbox);
    case.open_gate();
    let id = a.send("b", "one");
    let before = pushes(&last_words(b));
    assert!(before.len() <= 1 && before.iter().all(|(shown, repeat)| *shown == id && !repeat));
    let mut again = case.session("b");
    pushed_once(&mut again, std::slice::from_ref(&id), true);
    case.sandbox.assert_state(&id, "offered", "channel");
}

/// The broker dies around the receipt of a push. The instance is not pushed the message again.
pub fn receipt(case: &Case) {
    let mut broker = case.broker();
    let (mut a, mut b) = (case.session("a"), case.session("b"));
    case.open_gate();
    // A receipt that shares the transaction of a request does not wait, so there is more than one try.
    let mut sent = Vec::new();
    while sent.len() < 20 && !broker.ends_within(Duration::from_millis(500)) {
        sent.push(a.send("b", &format!("message {}", sent.len())));
        assert_eq!(b.push()["meta"]["message_id"], sent.last().unwrap().as_str());
    }
    broker.dies();
    until("the session is live again", || b.me()["live"] == true);
    pushed_once(&mut b, &[], false);
    for id in &sent {
        case.sandbox.assert_state(id, "offered", "channel");
    }
    let next = a.send("b", "two");
    pushed_once(&mut b, &[next], false);
}

/// The broker dies while the time to live of a message ends. The sender gets one notice.
pub fn expiry(case: &Case) {
    let mut broker = case.broker();
    let mut a = case.session("a");
    let mut b = case.session("b");
    let away = b.id();
    b.kill9();
    case.sandbox.until_away(&away);
    let id = a.send(&away, "one");
    // The call finds it, or what the broker does by itself once no call has come for a while.
    case.open_gate();
    std::thread::sleep(Duration::from_millis(2_100));
    a.me();
    broker.dies();
    let notice = a.push();
    assert!(notice["content"].as_str().unwrap().contains(&id), "{notice}");
    assert_eq!(case.sandbox.message(&id)["state"], "expired");
    pushed_once(&mut a, &[], false);
}

/// The broker dies while it makes a checkpoint.
pub fn checkpoint(case: &Case) {
    let mut broker = case.broker();
    let (mut a, mut b) = (case.session("a"), case.without_channel("b"));
    case.open_gate();
    let text = "x".repeat(60_000);
    // A look at the length of the log comes every 64 commits, which others may share.
    let mut sent: Vec<String> = Vec::new();
    while sent.len() < 300 && !broker.ends_within(Duration::ZERO) {
        sent.push(a.send("b", &format!("{} {text}", sent.len())));
    }
    broker.dies();
    for (n, id) in sent.iter().enumerate() {
        let stored = case.sandbox.message(id);
        let number = format!("{n} ");
        assert!(stored["text"].as_str().unwrap().starts_with(&number), "{n} is stored: {stored}");
    }
    assert!(!checked(&mut b).is_empty());
}

/// The command line dies around its `inbox`. What it did not confirm is shown again.
pub fn inbox(case: &Case) {
    let mut a = case.session("a");
    let id = a.send("cli", "one");
    case.open_gate();
    let mut inbox = case.command(&["inbox", "--json"]);
    let output = inbox.output().unwrap();
    assert!(output.status.code().is_none(), "it died at the failpoint: {output:?}");
    let state = case.sandbox.message(&id)["state"].clone();
    let again = case.sandbox.json(["inbox"])["messages"].clone();
    if case.point == "cli.inbox.confirmed" {
        assert_eq!((state, again), (json!("read"), json!([])));
    } else {
        assert_eq!(state, "offered");
        assert_eq!((&again[0]["id"], &again[0]["repeat"]), (&json!(id), &json!(true)), "{again}");
    }
    until_state(case, &id, "read");
}
