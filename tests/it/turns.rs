//! Promise 3: a turn that fails or is interrupted has read nothing, and its mail wakes again.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::hooks::{Inbox, context, end, still_waits, waiter};
use crate::support::{Sandbox, Session, SessionOptions};

/// A session with an inbox socket and hooks, whose client is this test process, and a peer that
/// writes to it.
struct Fixture {
    sandbox: Sandbox,
    inbox: Inbox,
    backend: Session,
    _frontend: Session,
}

impl Fixture {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let inbox = Inbox::open(&sandbox);
        let sandbox = sandbox.with("CLAUDE_PID", std::process::id().to_string());
        let backend = SessionOptions::new("backend").start(&sandbox);
        let frontend = inbox.session("frontend").start(&sandbox);
        Self { sandbox, inbox, backend, _frontend: frontend }
    }

    fn says(&self, event: &str, turn: &str, more: Value) -> String {
        context(&self.sandbox, event, "frontend", turn, more)
    }

    fn send(&mut self, text: &str) -> String {
        self.backend.send("frontend", text)
    }

    /// Moves the last wake so many seconds into the past.
    fn ago(&self, seconds: i64) {
        let database = rusqlite::Connection::open(self.sandbox.database()).unwrap();
        let changed = database.execute(
            "UPDATE peers SET last_woken_at = last_woken_at - ?1, woken_at = woken_at - ?1
             WHERE last_woken_at IS NOT NULL",
            [seconds * 1000],
        );
        assert_eq!(changed.unwrap(), 1);
    }

    fn waits_for_its_person(&self) {
        let more = json!({ "notification_type": "idle_prompt" });
        assert_eq!(self.says("Notification", "", more), "");
    }

    /// Writes the client's own status file.
    fn status(&self, said: &Value) {
        let path = self.status_file();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, said.to_string()).unwrap();
    }

    fn status_file(&self) -> PathBuf {
        let name = format!("{}.json", std::process::id());
        self.sandbox.home().join(".claude/sessions").join(name)
    }
}

fn own(status: &str) -> Value {
    json!({ "pid": std::process::id(), "sessionId": "session-frontend", "status": status })
}

/// The model cannot be reached: an API error, a usage limit.
#[test]
fn after_a_failed_turn_the_same_mail_wakes_again_with_backoff() {
    let mut fixture = Fixture::new();
    let id = fixture.send("one");
    fixture.inbox.woken();
    for (turn, pause) in [60, 120, 240].into_iter().enumerate() {
        let turn = format!("t{turn}");
        assert!(fixture.says("UserPromptSubmit", &turn, json!({})).contains("| one"));
        assert_eq!(fixture.says("StopFailure", &turn, json!({ "error": "rate_limit" })), "");
        // The model has not had it, so the next turn may show it at once.
        fixture.sandbox.assert_state(&id, "offered", "hook");
        fixture.ago(pause - 10);
        fixture.waits_for_its_person();
        fixture.inbox.is_quiet();
        fixture.ago(10);
        fixture.waits_for_its_person();
        fixture.inbox.woken();
    }
    // The turn ends well, and nothing more happens.
    assert!(fixture.says("UserPromptSubmit", "t9", json!({})).contains("| one"));
    assert_eq!(fixture.says("Stop", "t9", json!({ "stop_hook_active": true })), "");
    fixture.sandbox.assert_state(&id, "read", "hook");
    fixture.ago(100_000);
    fixture.waits_for_its_person();
    fixture.inbox.is_quiet();
}

#[test]
fn after_a_failed_turn_new_mail_wakes_within_a_minute() {
    let mut fixture = Fixture::new();
    fixture.send("one");
    fixture.inbox.woken();
    assert!(fixture.says("UserPromptSubmit", "t1", json!({})).contains("| one"));
    assert_eq!(fixture.says("StopFailure", "t1", json!({})), "");
    fixture.ago(50);
    fixture.send("two");
    fixture.inbox.is_quiet();
    fixture.ago(10);
    fixture.send("three");
    assert!(fixture.inbox.woken().contains("3 messages"));
}

/// A client without a hook for failed turns reports after a minute that it waits for its person.
#[test]
fn a_client_that_waits_for_its_person_is_idle() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.says("UserPromptSubmit", "t1", json!({})), "");
    fixture.send("one");
    fixture.inbox.is_quiet();
    // It also waits for its person in a dialog, in the middle of a turn.
    fixture.says("Notification", "t1", json!({ "notification_type": "permission_prompt" }));
    fixture.says("Notification", "t1", json!({}));
    fixture.inbox.is_quiet();
    fixture.waits_for_its_person();
    fixture.inbox.woken();
}

/// The former waiting hook ended with the wake that began the turn.
#[test]
fn after_a_failed_turn_another_hook_waits() {
    let mut fixture = Fixture::new();
    let mut hook = waiter(&fixture.sandbox, "StopFailure", "frontend");
    still_waits(&mut hook);
    fixture.send("one");
    let (code, notice) = end(hook);
    assert_eq!((code, notice.contains("1 message")), (2, true), "{notice}");
    fixture.inbox.is_quiet();
}

/// Esc: no hook reports it, but the client's own file does.
#[test]
fn a_turn_that_was_interrupted_is_over_once_the_client_says_that_it_is_idle() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.says("UserPromptSubmit", "t1", json!({})), "");
    fixture.status(&own("busy"));
    fixture.send("one");
    fixture.inbox.is_quiet();
    fixture.status(&own("waiting"));
    fixture.inbox.is_quiet();
    fixture.status(&own("idle"));
    fixture.inbox.woken();
}

#[test]
fn the_waiting_hook_makes_the_idle_check_as_well() {
    let mut fixture = Fixture::new();
    let mut hook = waiter(&fixture.sandbox, "Stop", "frontend");
    assert_eq!(fixture.says("UserPromptSubmit", "t1", json!({})), "");
    fixture.status(&own("busy"));
    fixture.send("one");
    still_waits(&mut hook);
    fixture.status(&own("idle"));
    assert_eq!(end(hook).0, 2);
    fixture.inbox.is_quiet();
}

/// A full context is compacted, also in the middle of a turn.
#[test]
fn a_turn_whose_context_is_compacted_goes_on() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.says("UserPromptSubmit", "t1", json!({})), "");
    fixture.send("one");
    assert_eq!(fixture.says("SessionStart", "t1", json!({ "source": "compact" })), "");
    fixture.inbox.is_quiet();
    assert!(fixture.says("Stop", "t1", json!({})).contains("| one"));
    assert_eq!(fixture.says("Stop", "t1", json!({ "stop_hook_active": true })), "");
    // Between two turns it begins none.
    assert_eq!(fixture.says("SessionStart", "t1", json!({ "source": "compact" })), "");
    fixture.send("two");
    fixture.inbox.woken();
    // Any other start ends the session's former turn.
    assert!(fixture.says("UserPromptSubmit", "t2", json!({})).contains("| two"));
    assert_eq!(fixture.says("PostToolUse", "t2", json!({})), "");
    fixture.send("three");
    fixture.inbox.is_quiet();
    assert_eq!(fixture.says("SessionStart", "", json!({ "source": "clear" })), "");
    fixture.inbox.woken();
}
