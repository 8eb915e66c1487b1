//! Promises 6 and 7: callers that hold connections, dawdle or read nothing cost others nothing.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Child;

use serde_json::json;

use crate::support::http::{RawPeer, Request, exchange, unix};
#[cfg(target_os = "linux")]
use crate::support::{Frozen, process_status};
use crate::support::{Sandbox, until};

fn end(mut broker: Child) {
    assert!(broker.try_wait().unwrap().is_none(), "the broker lives");
    broker.kill().unwrap();
    broker.wait().unwrap();
}

fn connect(sandbox: &Sandbox) -> UnixStream {
    UnixStream::connect(sandbox.socket()).unwrap()
}

#[test]
fn idle_connections_lock_out_neither_new_sessions_nor_the_command_line() {
    let sandbox = Sandbox::new();
    let broker = sandbox.start_small_broker();
    let mut before = sandbox.session("before");
    before.me();
    // Some have sent nothing, some a request, and a few, which end soon, half of one.
    let held: Vec<UnixStream> = (0..300)
        .filter_map(|number| {
            let mut stream = UnixStream::connect(sandbox.socket()).ok()?;
            // An error means that it was closed meanwhile.
            match number % 2 {
                0 => drop(exchange(&mut stream, &Request::get("/health").bytes())),
                _ if number % 50 == 1 => drop(stream.write_all(b"GET /health HTTP/1.1\r\n")),
                _ => {}
            }
            Some(stream)
        })
        .collect();
    assert!(held.len() > 200, "{} connections", held.len());
    // All of these are still held.
    sandbox.ok(["peers"]);
    let mut late = sandbox.session("late");
    assert_eq!(late.me()["live"], true);
    let id = sandbox.ok(["send", "before", "in the flood"]);
    assert_eq!(before.push()["meta"]["message_id"], id.split(' ').next().unwrap());
    drop(held);
    end(broker);
}

#[test]
fn a_head_or_body_that_dawdles_is_cut_off_on_the_unix_socket_too() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let mut idle = unix(&sandbox);
    assert_eq!(exchange(&mut idle, &Request::get("/health").bytes()).unwrap().status, 200);
    let mut silent = connect(&sandbox);
    silent.set_nonblocking(true).unwrap();
    let mut head = unix(&sandbox);
    head.write_all(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ").unwrap();
    let mut body = unix(&sandbox);
    let post = Request::raw("/v1/mailbox/take", "{}").with("Content-Length", "100");
    body.write_all(&post.bytes()).unwrap();
    let mut rest = Vec::new();
    // Both end before our own patience does.
    head.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "no answer to half a request");
    body.read_to_end(&mut rest).unwrap();
    let text = String::from_utf8_lossy(&rest);
    assert!(text.starts_with("HTTP/1.1 400") && text.contains("did not arrive"), "{text}");
    // A connection without a request has no time limit.
    let error = silent.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(exchange(&mut idle, &Request::get("/health").bytes()).unwrap().status, 200);
}

/// Sends a request on a hundred connections, and reads no answer: each is 1.2 MB, with all texts that
/// were sent to a peer. Meanwhile others are served, with what is small or large.
#[cfg(target_os = "linux")]
fn leave_answers_unread(request: impl Fn(&RawPeer) -> Vec<u8>) {
    let sandbox = Sandbox::unlimited();
    sandbox.ok(["peers"]);
    let pid = sandbox.broker().unwrap().pid;
    let (ann, bob) = (RawPeer::register(&sandbox, "ann"), RawPeer::register(&sandbox, "bob"));
    let text = "x".repeat(60 * 1024);
    for _ in 0..20 {
        ann.send(&sandbox, &bob.id, &text);
    }
    let before = process_status(pid, "VmHWM");
    let ask = request(&bob);
    let mut unread: Vec<UnixStream> = (0..100)
        .map(|_| {
            let mut stream = connect(&sandbox);
            stream.write_all(&ask).unwrap();
            stream
        })
        .collect();
    sandbox.ok(["peers"]);
    let log = sandbox.ok(["log", "--json", "--limit", "1000"]);
    assert!(log.len() > 1_000_000, "{} bytes", log.len());
    let grown = process_status(pid, "VmHWM") - before;
    assert!(grown < 32 * 1024, "the broker grew by {grown} KiB");
    let mut answer = Vec::new();
    unread.remove(0).take(1_000_000).read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200") && answer.len() == 1_000_000, "a large answer");
    drop(unread);
    sandbox.ok(["peers"]);
}

#[cfg(target_os = "linux")]
#[test]
fn lists_that_nobody_reads_cost_bounded_memory_and_end() {
    leave_answers_unread(|_| Request::get("/v1/messages?limit=10000").bytes());
}

#[cfg(target_os = "linux")]
#[test]
fn mail_that_a_waiting_call_does_not_read_costs_bounded_memory() {
    // With one key each call gets the same messages.
    leave_answers_unread(|bob| {
        Request::post("/v1/mailbox/take?wait_seconds=1", &json!({}))
            .session(&bob.secret)
            .with("Idempotency-Key", "of-all-calls-the-same")
            .bytes()
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_session_whose_server_is_stopped_costs_others_nothing() {
    let sandbox = Sandbox::unlimited();
    let mut sender = sandbox.session("sender");
    let mut other = sandbox.session("other");
    let mut stopped = sandbox.session("stopped");
    for session in [&mut sender, &mut other, &mut stopped] {
        session.until_live();
    }
    let pid = sandbox.broker().unwrap().pid;
    let filler = "x".repeat(32 * 1024);
    let texts: Vec<String> = (0..600).map(|number| format!("{number} {filler}")).collect();
    let ids = {
        let _frozen = Frozen::new(stopped.child.id());
        let before = process_status(pid, "VmHWM");
        let ids = sender.send_all("stopped", &texts, false);
        let id = sandbox.ok(["send", "other", "still here?"]);
        assert_eq!(other.push()["meta"]["message_id"], id.split(' ').next().unwrap());
        // At most a push window of texts, and what is in requests, is in memory.
        let grown = process_status(pid, "VmHWM") - before;
        assert!(grown < 64 * 1024, "the broker grew by {grown} KiB");
        ids
    };
    for id in &ids {
        assert_eq!(stopped.push()["meta"]["message_id"], id.as_str());
    }
}

#[test]
fn an_event_stream_stays_open_with_nothing_to_say() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let peer = RawPeer::register(&sandbox, "peer");
    let mut stream = unix(&sandbox);
    stream.write_all(&Request::get("/v1/stream").session(&peer.secret).bytes()).unwrap();
    let mut first = [0; 15];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");
    let is_live = || {
        let listed = sandbox.json(["peers"]);
        listed["peers"].as_array().unwrap().iter().any(|one| one["id"] == peer.id.as_str())
    };
    until("it is live", is_live);
    // Longer than any limit of a request's head or body.
    std::thread::sleep(std::time::Duration::from_secs(11));
    assert!(is_live());
    assert_eq!(
        Request::post("/v1/mailbox/take?wait_seconds=11", &json!({}))
            .session(&peer.secret)
            .unix(&sandbox)
            .status,
        200
    );
}
