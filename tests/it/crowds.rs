//! Promise 2: many senders to one receiver, one sender to many, and a client that does not read.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::support::{Sandbox, Session, SessionOptions, messages};

/// Starts `count` sessions and waits until they are live and may be pushed to.
fn sessions(sandbox: &Sandbox, name: &str, count: usize) -> Vec<Session> {
    let mut all: Vec<Session> = (0..count)
        .map(|n| SessionOptions::new(&format!("{name}-{n}")).at_once().start(sandbox))
        .collect();
    for session in &mut all {
        session.me();
    }
    std::thread::sleep(Duration::from_millis(1_100));
    all
}

#[test]
fn eight_senders_to_one_keep_each_their_order() {
    let sandbox = Sandbox::unlimited();
    let mut receiver = sandbox.session("receiver");
    let senders = sessions(&sandbox, "sender", 8);
    let count = messages(200) / 8;
    let threads: Vec<_> = senders
        .into_iter()
        .map(|mut sender| {
            std::thread::spawn(move || {
                let texts: Vec<String> = (0..count).map(|n| n.to_string()).collect();
                let ids = sender.send_all("receiver", &texts, true);
                (sender.id(), ids)
            })
        })
        .collect();
    let sent: HashMap<String, Vec<String>> =
        threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let mut arrived: HashMap<String, Vec<String>> = HashMap::new();
    for _ in 0..8 * count {
        let meta = receiver.push()["meta"].clone();
        let text = |name: &str| meta[name].as_str().unwrap().to_owned();
        arrived.entry(text("from_id")).or_default().push(text("message_id"));
    }
    assert_eq!(arrived, sent);
    assert!(receiver.push_within(Duration::from_millis(300)).is_none(), "one too many");
}

#[test]
fn one_sender_to_twenty_reaches_each_in_order() {
    let sandbox = Sandbox::unlimited();
    let mut sender = sandbox.session("sender");
    let mut receivers = sessions(&sandbox, "receiver", 20);
    let each = messages(200) / 20;
    let requests: Vec<u64> = (0..each)
        .flat_map(|n| (0..20).map(move |to| (n, to)))
        .map(|(n, to)| sender.start_send(&format!("receiver-{to}"), &n.to_string()))
        .collect();
    let answers = sender.answers_to(&requests);
    let ids: HashSet<&str> = answers
        .iter()
        .map(|answer| answer["result"]["structuredContent"]["id"].as_str().expect("it is sent"))
        .collect();
    assert_eq!(ids.len(), 20 * each);
    for receiver in &mut receivers {
        for n in 0..each {
            assert_eq!(receiver.push()["content"], n.to_string().as_str());
        }
        assert!(receiver.push_within(Duration::ZERO).is_none(), "one too many");
    }
}

#[test]
fn a_client_that_reads_nothing_blocks_no_sender_and_gets_all_in_order_later() {
    let sandbox = Sandbox::unlimited();
    let mut sender = sandbox.session("sender");
    let mut receiver = sandbox.session("receiver");
    let gate = receiver.reading();
    // All of them fit into one list of the history.
    let filler = "x".repeat(12 * 1024);
    let texts: Vec<String> = (0..320).map(|n| format!("{n} {filler}")).collect();
    let ids = {
        let _nobody_reads = gate.hold();
        let ids = sender.send_all("receiver", &texts, false);
        // At most one push window, and what pipe and test hold, is on its way. The rest waits in
        // the database, and its sender is told so.
        let log = sandbox.json(["log", "--limit", "500"]);
        let offered =
            log["messages"].as_array().unwrap().iter().filter(|m| m["state"] == "offered").count();
        assert!((256..=256 + 16).contains(&offered), "{offered} are under way");
        assert_eq!(sandbox.message(ids.last().unwrap())["state"], "queued");
        ids
    };
    for (id, text) in ids.iter().zip(&texts) {
        let push = receiver.push();
        assert_eq!(push["meta"]["message_id"], id.as_str());
        assert_eq!(push["content"].as_str().unwrap(), text);
        assert!(push["meta"].get("repeat").is_none(), "{}", push["meta"]);
    }
    assert!(receiver.push_within(Duration::from_millis(300)).is_none(), "one too many");
}

#[test]
fn a_client_that_reads_nothing_loses_nothing_when_the_broker_is_killed() {
    let sandbox = Sandbox::unlimited();
    let mut sender = sandbox.session("sender");
    let mut receiver = sandbox.session("receiver");
    let gate = receiver.reading();
    let filler = "x".repeat(4 * 1024);
    let texts: Vec<String> = (0..320).map(|n| format!("{n} {filler}")).collect();
    let ids = {
        let _nobody_reads = gate.hold();
        let mut ids = Vec::new();
        for part in texts.chunks(80) {
            ids.extend(sender.send_all("receiver", part, true));
            sandbox.kill9_broker();
        }
        ids
    };
    for id in &ids {
        let push = receiver.push();
        assert_eq!(push["meta"]["message_id"], id.as_str());
        assert!(push["meta"].get("repeat").is_none(), "{}", push["meta"]);
    }
    assert!(receiver.push_within(Duration::from_millis(300)).is_none(), "one too many");
}
