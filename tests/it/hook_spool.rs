//! What hooks report while no broker runs is not lost, whatever becomes of the next broker.

use std::path::PathBuf;

use claude_peers::sys::files::beside;
use serde_json::json;

use crate::hooks::hook;
use crate::support::http::Request;
use crate::support::{Sandbox, Session, SessionOptions, until};

/// Where no broker runs yet, the first session's own server starts it, behind its hook.
#[test]
fn a_hook_that_spoke_before_the_broker_ran_counts() {
    let sandbox = Sandbox::new().with("CLAUDE_PID", std::process::id().to_string());
    let start = |session: &str| {
        let input = json!({ "session_id": session, "source": "startup" });
        assert!(hook(&sandbox, "SessionStart", &input).stdout.is_empty());
        assert!(sandbox.holder().is_none());
    };
    let server = |session: &str| SessionOptions::new(session).without_channel().start(&sandbox);
    start("session-frontend");
    let mut frontend = server("frontend");
    let id = frontend.id();
    assert_eq!(sandbox.json(["peers"])["peers"][0]["reach"], "hooks");
    frontend.close_input();
    frontend.wait_end();
    sandbox.ok(["send", &id, "for later"]);
    sandbox.ok(["kill-broker"]);
    // Its window goes on, and the client gives the server an id that nobody knows.
    start("session-frontend");
    let mut again = server("thrown-away");
    assert_eq!(again.id(), id);
    let left = std::fs::read_dir(sandbox.socket().parent().unwrap()).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("unheard")), "{names:?}");
}

/// A session that has ended, whose window goes on: its hook spoke while no broker ran. Gives the id
/// of its peer.
fn spoken_without_a_broker() -> (Sandbox, String) {
    let sandbox = Sandbox::new().with("CLAUDE_PID", std::process::id().to_string());
    let input = json!({ "session_id": "session-frontend", "source": "startup" });
    let mut frontend = SessionOptions::new("frontend").without_channel().start(&sandbox);
    let id = frontend.id();
    frontend.close_input();
    frontend.wait_end();
    sandbox.ok(["kill-broker"]);
    assert!(hook(&sandbox, "SessionStart", &input).stdout.is_empty());
    assert!(spool(&sandbox, "").exists() && sandbox.holder().is_none());
    (sandbox, id)
}

/// What hooks leave for the next broker, or with a suffix what a broker has set aside of it.
fn spool(sandbox: &Sandbox, suffix: &str) -> PathBuf {
    beside(&sandbox.socket(), &format!(".unheard{suffix}"))
}

/// A server to which the client gave the id of a session that nobody knows.
fn server_of_the_window(sandbox: &Sandbox) -> Session {
    let server = SessionOptions::new("thrown-away").without_channel().start(sandbox);
    until("what hooks left is gone", || {
        !spool(sandbox, "").exists() && !spool(sandbox, "-taken").exists()
    });
    server
}

#[test]
fn a_registration_that_is_refused_costs_nothing_of_what_hooks_left() {
    let (sandbox, id) = spoken_without_a_broker();
    sandbox.ok(["peers"]);
    let refused = json!({ "instance": "i", "secret": "short", "cwd": "/", "channel": "absent" });
    let answer = Request::post("/v1/register", &refused).unix(&sandbox);
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(
        answer.json().to_string().contains("too short"),
        "refused in its transaction: {answer:?}"
    );
    assert_eq!(server_of_the_window(&sandbox).id(), id);
}

#[test]
fn a_broker_that_dies_before_it_has_applied_what_hooks_left_leaves_it_to_the_next() {
    let (sandbox, id) = spoken_without_a_broker();
    // As a broker leaves it that dies before the commit, with a hook that speaks afterwards.
    std::fs::rename(spool(&sandbox, ""), spool(&sandbox, "-taken")).unwrap();
    let left = std::fs::read(spool(&sandbox, "-taken")).unwrap();
    let input = json!({ "session_id": "session-frontend", "source": "resume" });
    assert!(hook(&sandbox, "SessionStart", &input).stdout.is_empty());
    assert!(spool(&sandbox, "").exists());
    let mut server = server_of_the_window(&sandbox);
    assert_eq!(server.id(), id);
    server.close_input();
    server.wait_end();
    // As a broker leaves it that dies between the commit and the end of the file.
    sandbox.kill9_broker().unwrap();
    until("the broker is gone", || sandbox.holder().is_none());
    std::fs::write(spool(&sandbox, "-taken"), left).unwrap();
    assert_eq!(server_of_the_window(&sandbox).id(), id);
}
