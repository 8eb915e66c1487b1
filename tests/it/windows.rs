//! Promise 8: several client processes that show one session each keep their own peer and mail.

use std::process::Command;

use serde_json::json;

use crate::support::{Frozen, Sandbox, Session, SessionOptions, client_process};

/// The session "one" again, with this test as its client process.
fn second_window(sandbox: &Sandbox) -> Session {
    SessionOptions::new("work").session_id(Some("one")).without_channel().start(sandbox)
}

/// The processes that a process has started.
fn children_of(parent: u32) -> Vec<u32> {
    let list = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let pairs = list.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u32>().ok());
        Some((numbers.next()??, numbers.next()??))
    });
    pairs.filter(|(_, of)| *of == parent).map(|(pid, _)| pid).collect()
}

#[test]
fn the_second_window_of_a_session_comes_back_to_its_own_mail_whatever_restarts() {
    let sandbox = Sandbox::new();
    let mut first = client_process(&sandbox, "work", "one");
    let one = first.id();
    let mut second = second_window(&sandbox);
    let two = second.id();
    assert_ne!(one, two);
    let comes_back = |mut window: Session, story: &str| {
        assert_eq!(window.id(), two, "{story}");
        let all = sandbox.json(["peers", "--all"])["peers"].as_array().unwrap().len();
        assert_eq!(all, 2, "{story}");
        let shown = window.text("check_messages", json!({}));
        assert!(shown.contains(&format!("| {story}")), "{shown}");
        assert!(!shown.contains("for the first"), "{shown}");
        window.kill9();
        sandbox.until_away(&two);
    };
    sandbox.ok(["send", &two, "its server is restarted"]);
    second.kill9();
    comes_back(second_window(&sandbox), "its server is restarted");

    sandbox.ok(["send", &two, "the broker, too"]);
    sandbox.kill9_broker();
    comes_back(second_window(&sandbox), "the broker, too");

    first.until_live();
    first.kill9();
    sandbox.until_away(&one);
    sandbox.ok(["send", &one, "for the first"]);
    sandbox.ok(["send", &two, "the first has ended"]);
    comes_back(second_window(&sandbox), "the first has ended");
}

#[test]
fn a_session_that_is_suspended_while_the_broker_restarts_keeps_its_peer_and_mail() {
    let sandbox = Sandbox::new();
    let mut suspended = client_process(&sandbox, "work", "one");
    let one = suspended.identity();
    sandbox.ok(["send", &one.0, "for the suspended one"]);
    suspended.push();
    let mut all = children_of(suspended.pid());
    assert!(!all.is_empty());
    all.push(suspended.pid());
    let frozen: Vec<Frozen> = all.into_iter().map(Frozen::new).collect();
    sandbox.kill9_broker();
    sandbox.ok(["send", &one.0, "while it is suspended"]);

    let mut other = second_window(&sandbox);
    let two = other.id();
    assert_ne!(two, one.0);
    let shown = other.text("check_messages", json!({}));
    assert!(!shown.contains("suspended"), "{shown}");
    drop(frozen);
    suspended.until_live();
    assert_eq!(suspended.identity(), one);
    let shown = suspended.text("check_messages", json!({}));
    assert!(shown.contains("| while it is suspended"), "{shown}");
    assert_eq!(other.id(), two);
}
