//! Promise 4: what a session may not do that a hook, the owner or another session may.

#[cfg(target_os = "linux")]
use std::net::TcpStream;

use serde_json::{Value, json};

use super::World;
use crate::support::http::{RawPeer, Request};

/// The routes of hooks and wakes, and a request for each in the name of a session and peer.
fn requests(session: &str, peer: &str) -> [(&'static str, Value); 6] {
    [
        ("/v1/hook", json!({ "event": "Stop", "session": session, "turn": "t", "room": 10_000 })),
        ("/v1/hook/moved", json!({ "session": session, "cwd": "/tmp", "directory": "/tmp" })),
        ("/v1/hook/written", json!({ "session": session, "turn": "t", "ids": [] })),
        ("/v1/wake", json!({ "session": session })),
        ("/v1/wake/given", json!({ "peer": peer, "upto": 1 })),
        ("/v1/wake/looked", json!({ "peer": peer, "turn": 1, "idle": true })),
    ]
}

#[test]
fn a_session_uses_no_route_of_hooks_and_reports_no_wake_of_another() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let (alice, bob) = (RawPeer::register(sandbox, "alice"), RawPeer::register(sandbox, "bob"));
    let id = bob.send(sandbox, &alice.id, "for alice alone");
    for (path, body) in requests("raw-alice", &alice.id) {
        let request = Request::post(path, &body).session(&bob.secret);
        for answer in [request.unix(sandbox), request.token(&world.token).tcp(sandbox)] {
            assert_eq!(answer.refusal(), (403, "forbidden".to_owned()), "{path}");
        }
    }
    assert_eq!(sandbox.message(&id)["state"], "queued");
    // Its own wake it may report.
    for (path, body) in &requests("raw-bob", &bob.id)[4..] {
        let answer = Request::post(path, body).session(&bob.secret).unix(sandbox);
        assert_eq!(answer.status, 200, "{path}: {:?}", answer.refusal());
    }
    world.still_serves();
}

#[test]
fn who_is_no_session_describes_and_ends_none() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let alice = RawPeer::register(sandbox, "alice");
    for (path, body) in [
        ("/v1/profile", json!({ "summary": "not hers", "automatic": false })),
        ("/v1/unregister", json!({})),
        ("/v1/mailbox/written", json!({ "ids": [] })),
        ("/v1/tool/answered", json!({})),
    ] {
        let answer = Request::post(path, &body).unix(sandbox);
        assert_eq!(answer.refusal(), (403, "forbidden".to_owned()), "{path}");
    }
    assert_eq!(alice.take(sandbox), Vec::<String>::new());
    world.still_serves();
}

#[test]
fn a_secret_that_could_be_guessed_registers_nobody() {
    let world = World::new();
    for (length, status) in [(0, 400), (31, 400), (32, 200)] {
        let request = json!({
            "instance": format!("instance-{length}"), "secret": "s".repeat(length),
            "session": format!("raw-{length}"), "cwd": "/srv", "channel": "absent",
        });
        let answer = Request::post("/v1/register", &request).unix(&world.sandbox);
        assert_eq!(answer.status, status, "{length}: {:?}", answer.refusal());
    }
}

#[test]
fn one_callers_key_answers_no_other() {
    let world = World::new();
    let sandbox = &world.sandbox;
    let (alice, bob) = (RawPeer::register(sandbox, "alice"), RawPeer::register(sandbox, "bob"));
    let to = RawPeer::register(sandbox, "carol").id;
    let send = |peer: &RawPeer| {
        let request = Request::post("/v1/messages", &json!({ "to": to, "text": "hello" }));
        let request = request.with("idempotency-key", &"k".repeat(32)).session(&peer.secret);
        request.unix(sandbox).json()["id"].as_str().unwrap().to_owned()
    };
    let (first, second) = (send(&alice), send(&bob));
    assert_ne!(first, second);
    assert_eq!(send(&alice), first, "a retry");
    assert_eq!(sandbox.message(&second)["from"]["id"], bob.id.as_str());
    assert_eq!(world.messages(), 2);
}

/// An earlier release goes on with a newer broker; a later one is told to replace it.
#[test]
fn a_client_of_an_earlier_protocol_is_served_and_one_of_a_later_is_not() {
    let world = World::new();
    let ask = |protocol: &str| {
        let request = Request::get("/v1/peers").with("claude-peers-protocol", protocol);
        request.unix(&world.sandbox).status
    };
    assert_eq!((ask("1"), ask("2")), (200, 200));
    assert_ne!(ask("4000000000"), 200);
}

#[cfg(target_os = "linux")]
#[test]
fn the_port_is_open_on_one_address_of_this_machine() {
    let world = World::new();
    let port = world.sandbox.port();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    // All of 127.0.0.0/8 is this machine, and whatever listens on all addresses is there too.
    assert!(TcpStream::connect(("127.0.0.2", port)).is_err());
}
