//! Promises 6 and 8: the broker stops on request, when idle, or hangs; the sessions go on.
//!
//! Promise 7: an idle broker without live peers exits, and the next call starts it.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::http::{RawPeer, Request, unix};
use crate::support::{Frozen, Sandbox, SessionOptions, send_signal, until};

#[test]
fn kill_broker_stops_the_broker_and_no_session() {
    let sandbox = Sandbox::new();
    let mut a = sandbox.session("a");
    let mut b = sandbox.session("b");
    let ids = (a.id(), b.id());
    let broker = sandbox.broker().unwrap().pid;
    let said = sandbox.ok(["kill-broker"]);
    assert!(said.contains(&format!("process {broker}")), "{said}");
    assert!(said.contains("2 running sessions"), "{said}");
    // No call is made: the sessions reconnect by themselves.
    until("another broker runs", || sandbox.broker().is_some_and(|h| h.pid != broker));
    until("both are live again", || sandbox.live_peers() == Some(2));
    assert!(a.child.try_wait().unwrap().is_none() && b.child.try_wait().unwrap().is_none());
    assert_eq!((a.id(), b.id()), ids);
    a.send("b", "still here");
    assert_eq!(b.push()["content"], "still here");
}

#[test]
fn kill_broker_without_a_broker_says_so_and_succeeds() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.ok(["kill-broker"]), "No broker is running.\n");
    sandbox.ok(["peers"]);
    assert!(sandbox.ok(["kill-broker"]).starts_with("Stopped the broker"));
    assert!(sandbox.broker().is_none());
    assert!(!sandbox.socket().exists(), "it leaves no socket behind");
    for _ in 0..2 {
        assert_eq!(sandbox.ok(["kill-broker"]), "No broker is running.\n");
    }
    let json = sandbox.json(["kill-broker"]);
    assert_eq!((&json["stopped"], &json["was_running"]), (&json!(false), &json!(false)));
}

/// Removes the database while sessions run, and ends the broker.
fn removal_resets_all(end_broker: impl Fn(&Sandbox)) {
    let sandbox = Sandbox::new();
    let mut a = sandbox.session("a");
    let mut b = sandbox.session("b");
    a.send("b", "before");
    assert_eq!(b.push()["content"], "before");
    std::fs::remove_file(sandbox.database()).unwrap();
    end_broker(&sandbox);
    until("both are live again", || sandbox.live_peers() == Some(2));
    assert!(sandbox.database().exists());
    assert_eq!(sandbox.json(["log"])["messages"], json!([]), "the history is gone");
    assert!(b.push_within(Duration::from_millis(200)).is_none());
    a.send("b", "after");
    let push = b.push();
    assert_eq!(push["content"], "after");
    assert_eq!(push["meta"]["from_id"], a.id().as_str());
    assert!(push["meta"].get("repeat").is_none(), "{push}");
}

#[test]
fn removing_the_database_and_kill_broker_reset_all_and_the_sessions_come_back() {
    removal_resets_all(|sandbox| drop(sandbox.ok(["kill-broker"])));
}

#[test]
fn removing_the_database_of_a_broker_that_is_killed_resets_all() {
    removal_resets_all(|sandbox| assert!(sandbox.kill9_broker().is_some()));
}

#[test]
fn a_call_to_a_broker_that_does_not_know_the_session_registers_it_and_succeeds() {
    let sandbox = Sandbox::new();
    let mut session = sandbox.session("a");
    for round in 0..5 {
        std::fs::remove_file(sandbox.database()).unwrap();
        sandbox.kill9_broker().unwrap();
        let summary = format!("round {round}");
        session.call("set_summary", json!({ "summary": summary }));
        assert_eq!(session.me()["summary"], summary);
    }
}

#[test]
fn a_hung_broker_is_reported_by_status_and_ended_by_kill_broker() {
    let sandbox = Sandbox::new();
    let mut a = sandbox.session("a");
    let mut b = sandbox.session("b");
    let id = a.send("b", "before");
    assert_eq!(b.push()["content"], "before");
    let broker = sandbox.broker().unwrap().pid;
    let _frozen = Frozen::new(broker);
    let (code, _) = sandbox.fails(["status"]);
    assert_eq!(code, 1);
    let said = String::from_utf8(sandbox.run(["status"]).stdout).unwrap();
    let expected = format!("process {broker} does not answer");
    assert!(said.contains(&expected) && said.contains("kill-broker"), "{said}");
    sandbox.ok(["kill-broker"]);
    until("it is gone", || sandbox.broker().is_none_or(|now| now.pid != broker));
    assert_ne!(sandbox.message(&id)["state"], "read");
    a.send("b", "after");
    assert_eq!(b.push()["content"], "after");
}

#[test]
fn tools_end_with_an_error_while_the_broker_hangs_and_work_again_afterwards() {
    let sandbox = Sandbox::new();
    let mut a = sandbox.session("a");
    let mut b = sandbox.session("b");
    let frozen = Frozen::new(sandbox.broker().unwrap().pid);
    let since = Instant::now();
    let mut requests: Vec<u64> = (0..4).map(|n| a.start_send("b", &format!("hung {n}"))).collect();
    let list = json!({ "name": "list_peers", "arguments": {} });
    requests.push(a.start_request("tools/call", list));
    // A request that needs no broker is answered meanwhile.
    let tools = a.request("tools/list", json!({}));
    assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 4);
    for (n, answer) in a.answers_to(&requests).iter().enumerate() {
        let result = &answer["result"];
        assert_eq!(result["isError"], true, "{answer}");
        let words = result["content"][0]["text"].as_str().unwrap();
        // The messages behind the first were not sent, and the answers say so.
        let expected = if (1..4).contains(&n) { "Nothing was sent" } else { "does not answer" };
        assert!(words.contains(expected) && words.contains("`claude-peers "), "{words}");
    }
    // A call may take 20 s; the rest is for a slow machine.
    assert!(since.elapsed() < Duration::from_secs(25), "{:?}", since.elapsed());
    drop(frozen);
    a.send("b", "awake");
    let mut last = b.push();
    if last["content"] == "hung 0" {
        // Its sender was told that the broker is silent, not that nothing was sent.
        last = b.push();
    }
    assert_eq!(last["content"], "awake");
}

#[test]
fn an_idle_broker_exits_and_the_next_call_starts_it() {
    let sandbox = Sandbox::new().with("CLAUDE_PEERS_IDLE_EXIT_SECONDS", "1");
    sandbox.ok(["peers"]);
    let first = sandbox.broker().unwrap().pid;
    until("it is gone", || sandbox.broker().is_none());
    assert!(!sandbox.socket().exists());
    assert_eq!(sandbox.fails(["status"]).0, 3);

    let mut session = sandbox.session("worker");
    let second = sandbox.broker().unwrap().pid;
    assert_ne!(first, second);
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(sandbox.broker().map(|h| h.pid), Some(second), "a live session keeps it");
    session.close_input();
    session.wait_end();
    until("it is gone", || sandbox.broker().is_none());
    assert!(sandbox.ok(["peers", "--all"]).contains("DIRECTORY"));
}

#[test]
fn a_broker_that_is_asked_to_stop_ends_its_streams_and_leaves_a_whole_database() {
    let sandbox = Sandbox::new();
    let mut broker = sandbox.start_broker();
    let mut a = sandbox.session("a");
    let b = sandbox.session("b");
    a.send("b", "hello");
    let raw = RawPeer::register(&sandbox, "raw");
    let mut stream = unix(&sandbox);
    stream.write_all(&Request::get("/v1/stream").session(&raw.secret).bytes()).unwrap();
    until("the stream is open", || sandbox.live_peers() == Some(3));
    // Frozen, they neither read from the broker nor start another.
    let frozen = (Frozen::new(a.pid()), Frozen::new(b.pid()));
    let wal = claude_peers::sys::files::beside(&sandbox.database(), "-wal");
    assert!(std::fs::metadata(&wal).unwrap().len() > 0, "the message is in the log only");
    let since = Instant::now();
    send_signal(broker.id(), Signal::TERM);
    let status = broker.wait().unwrap();
    assert!(status.success(), "{status:?}");
    // Requests in flight may take two seconds, twice; there are none.
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    assert!(!wal.exists(), "the log was written back");
    assert!(!sandbox.socket().exists());
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.contains("bye") && said.contains("\"stopping\""), "{said}");
    drop(frozen);
    a.send("b", "hello again");
    assert_eq!(sandbox.json(["log"])["messages"].as_array().unwrap().len(), 2);
}

#[test]
fn sessions_that_start_while_the_broker_hangs_are_served_after_kill_broker() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let frozen = Frozen::new(sandbox.broker().unwrap().pid);
    // The handshake needs no broker.
    let mut late = SessionOptions::new("late").at_once().start(&sandbox);
    sandbox.ok(["kill-broker"]);
    drop(frozen);
    until("it is live", || late.me()["live"] == true);
}

#[test]
fn a_stream_is_told_that_its_broker_stops() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let peer = RawPeer::register(&sandbox, "peer");
    let mut stream = unix(&sandbox);
    let open = Request::get("/v1/stream").session(&peer.secret);
    stream.write_all(&open.bytes()).unwrap();
    until("it is live", || sandbox.live_names().contains(&"peer".to_owned()));
    sandbox.ok(["kill-broker"]);
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.contains(r#"{"type":"bye","reason":"stopping"}"#), "{said}");
}
