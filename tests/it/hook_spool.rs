//! Promise 8: hook events that come while no broker runs are spooled, and none is lost.

use std::path::PathBuf;

use claude_peers::sys::files::beside;
use serde_json::json;

use crate::support::hooks::hook;
use crate::support::http::Request;
use crate::support::{Sandbox, Session, SessionOptions, until};

/// Where no broker runs yet, the first session's server starts it, after the hook has run.
#[test]
fn a_hook_event_before_the_broker_ran_counts() {
    let sandbox = Sandbox::new().with("CLAUDE_PID", std::process::id().to_string());
    let start = |session: &str| {
        let input = json!({ "session_id": session, "source": "startup" });
        assert!(hook(&sandbox, "SessionStart", &input).stdout.is_empty());
        assert!(sandbox.broker().is_none());
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
    // The client process goes on, and its server gets an unknown session id.
    start("session-frontend");
    let mut again = server("thrown-away");
    assert_eq!(again.id(), id);
    let left = std::fs::read_dir(sandbox.socket().parent().unwrap()).unwrap();
    let names: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("unheard")), "{names:?}");
}

/// Leaves a session that has ended, and whose client process goes on: its hook ran while no broker
/// did. Returns the id of its peer.
fn spooled_event() -> (Sandbox, String) {
    let sandbox = Sandbox::new().with("CLAUDE_PID", std::process::id().to_string());
    let input = json!({ "session_id": "session-frontend", "source": "startup" });
    let mut frontend = SessionOptions::new("frontend").without_channel().start(&sandbox);
    let id = frontend.id();
    frontend.close_input();
    frontend.wait_end();
    sandbox.ok(["kill-broker"]);
    assert!(hook(&sandbox, "SessionStart", &input).stdout.is_empty());
    assert!(spool(&sandbox, "").exists() && sandbox.broker().is_none());
    (sandbox, id)
}

/// The hook spool; with a suffix, what a broker has set aside of it.
fn spool(sandbox: &Sandbox, suffix: &str) -> PathBuf {
    beside(&sandbox.socket(), &format!(".unheard{suffix}"))
}

/// Starts a server that got an unknown session id from its client, and waits until the spool is
/// empty.
fn server_of_the_client_process(sandbox: &Sandbox) -> Session {
    let server = SessionOptions::new("thrown-away").without_channel().start(sandbox);
    until("the spool is empty", || {
        !spool(sandbox, "").exists() && !spool(sandbox, "-taken").exists()
    });
    server
}

#[test]
fn a_registration_that_is_refused_loses_no_spooled_event() {
    let (sandbox, id) = spooled_event();
    sandbox.ok(["peers"]);
    let refused = json!({ "instance": "i", "secret": "short", "cwd": "/", "channel": "absent" });
    let answer = Request::post("/v1/register", &refused).unix(&sandbox);
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(
        answer.json().to_string().contains("too short"),
        "refused in its transaction: {answer:?}"
    );
    assert_eq!(server_of_the_client_process(&sandbox).id(), id);
}

#[test]
fn a_broker_that_dies_before_it_has_applied_the_spool_leaves_it_to_the_next() {
    let (sandbox, id) = spooled_event();
    // As a broker leaves it that dies before the commit; a hook runs afterwards.
    std::fs::rename(spool(&sandbox, ""), spool(&sandbox, "-taken")).unwrap();
    let left = std::fs::read(spool(&sandbox, "-taken")).unwrap();
    let input = json!({ "session_id": "session-frontend", "source": "resume" });
    assert!(hook(&sandbox, "SessionStart", &input).stdout.is_empty());
    assert!(spool(&sandbox, "").exists());
    let mut server = server_of_the_client_process(&sandbox);
    assert_eq!(server.id(), id);
    server.close_input();
    server.wait_end();
    // As a broker leaves it that dies between the commit and the removal of the file.
    sandbox.kill9_broker().unwrap();
    until("the broker is gone", || sandbox.broker().is_none());
    std::fs::write(spool(&sandbox, "-taken"), left).unwrap();
    assert_eq!(server_of_the_client_process(&sandbox).id(), id);
}
