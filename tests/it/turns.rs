//! Turns that end otherwise than by their own end: they fail, or are interrupted.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::hooks::{Inbox, context, end, still_waits, waiter};
use crate::support::{Sandbox, Session, SessionOptions};

/// A session whose client is this very process, with an inbox and hooks, and somebody who writes
/// to it.
struct Scene {
    sandbox: Sandbox,
    inbox: Inbox,
    backend: Session,
    _frontend: Session,
}

impl Scene {
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

    /// As if so many seconds had passed since it was last woken.
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

    /// What the client says of itself, in its own file.
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
fn after_a_turn_that_failed_the_same_mail_wakes_again_with_growing_pauses() {
    let mut scene = Scene::new();
    let id = scene.send("one");
    scene.inbox.woken();
    for (turn, pause) in [60, 120, 240].into_iter().enumerate() {
        let turn = format!("t{turn}");
        assert!(scene.says("UserPromptSubmit", &turn, json!({})).contains("| one"));
        assert_eq!(scene.says("StopFailure", &turn, json!({ "error": "rate_limit" })), "");
        // The model has not had it: what the turn was shown is another turn's at once.
        scene.sandbox.assert_state(&id, "offered", "hook");
        scene.ago(pause - 10);
        scene.waits_for_its_person();
        scene.inbox.is_quiet();
        scene.ago(10);
        scene.waits_for_its_person();
        scene.inbox.woken();
    }
    // The turn goes well in the end, and that is all.
    assert!(scene.says("UserPromptSubmit", "t9", json!({})).contains("| one"));
    assert_eq!(scene.says("Stop", "t9", json!({ "stop_hook_active": true })), "");
    scene.sandbox.assert_state(&id, "read", "hook");
    scene.ago(100_000);
    scene.waits_for_its_person();
    scene.inbox.is_quiet();
}

#[test]
fn after_a_turn_that_failed_new_mail_wakes_within_a_minute() {
    let mut scene = Scene::new();
    scene.send("one");
    scene.inbox.woken();
    assert!(scene.says("UserPromptSubmit", "t1", json!({})).contains("| one"));
    assert_eq!(scene.says("StopFailure", "t1", json!({})), "");
    scene.ago(50);
    scene.send("two");
    scene.inbox.is_quiet();
    scene.ago(10);
    scene.send("three");
    assert!(scene.inbox.woken().contains("3 messages"));
}

/// A client that has no hook for it says after a minute that it waits for its person.
#[test]
fn a_client_that_waits_for_its_person_is_not_at_work() {
    let mut scene = Scene::new();
    assert_eq!(scene.says("UserPromptSubmit", "t1", json!({})), "");
    scene.send("one");
    scene.inbox.is_quiet();
    // It also waits for its person in a dialog, in the middle of a turn.
    scene.says("Notification", "t1", json!({ "notification_type": "permission_prompt" }));
    scene.says("Notification", "t1", json!({}));
    scene.inbox.is_quiet();
    scene.waits_for_its_person();
    scene.inbox.woken();
}

/// The hook that waited is gone with the wake that began the turn.
#[test]
fn after_a_turn_that_failed_another_hook_waits() {
    let mut scene = Scene::new();
    let mut hook = waiter(&scene.sandbox, "StopFailure", "frontend");
    still_waits(&mut hook);
    scene.send("one");
    let (code, notice) = end(hook);
    assert_eq!((code, notice.contains("1 message")), (2, true), "{notice}");
    scene.inbox.is_quiet();
}

/// Esc: no hook says so, but the client's own file does.
#[test]
fn a_turn_that_was_interrupted_is_over_once_the_client_says_that_it_is_idle() {
    let mut scene = Scene::new();
    assert_eq!(scene.says("UserPromptSubmit", "t1", json!({})), "");
    scene.status(&own("busy"));
    scene.send("one");
    scene.inbox.is_quiet();
    scene.status(&own("waiting"));
    scene.inbox.is_quiet();
    scene.status(&own("idle"));
    scene.inbox.woken();
}

#[test]
fn the_hook_that_waits_looks_as_well() {
    let mut scene = Scene::new();
    let mut hook = waiter(&scene.sandbox, "Stop", "frontend");
    assert_eq!(scene.says("UserPromptSubmit", "t1", json!({})), "");
    scene.status(&own("busy"));
    scene.send("one");
    still_waits(&mut hook);
    scene.status(&own("idle"));
    assert_eq!(end(hook).0, 2);
    scene.inbox.is_quiet();
}

/// The file is documented nowhere.
#[test]
fn what_the_client_says_in_another_form_or_of_another_process_ends_no_turn() {
    let mut scene = Scene::new();
    assert_eq!(scene.says("UserPromptSubmit", "t1", json!({})), "");
    scene.send("one");
    for odd in [
        json!({ "pid": 1, "status": "idle" }),
        json!({ "pid": std::process::id(), "procStart": "1", "status": "idle" }),
        json!({ "pid": std::process::id(), "status": "resting" }),
        json!(["idle"]),
    ] {
        scene.status(&odd);
        scene.inbox.is_quiet();
    }
    std::fs::remove_file(scene.status_file()).unwrap();
    std::fs::create_dir(scene.status_file()).unwrap();
    scene.inbox.is_quiet();
}

/// A context that is full is made shorter, in the middle of a turn as well.
#[test]
fn a_turn_that_is_made_shorter_goes_on() {
    let mut scene = Scene::new();
    assert_eq!(scene.says("UserPromptSubmit", "t1", json!({})), "");
    scene.send("one");
    assert_eq!(scene.says("SessionStart", "t1", json!({ "source": "compact" })), "");
    scene.inbox.is_quiet();
    assert!(scene.says("Stop", "t1", json!({})).contains("| one"));
    assert_eq!(scene.says("Stop", "t1", json!({ "stop_hook_active": true })), "");
    // Between two turns it begins none.
    assert_eq!(scene.says("SessionStart", "t1", json!({ "source": "compact" })), "");
    scene.send("two");
    scene.inbox.woken();
    // Any other start is the end of what was before.
    assert!(scene.says("UserPromptSubmit", "t2", json!({})).contains("| two"));
    assert_eq!(scene.says("PostToolUse", "t2", json!({})), "");
    scene.send("three");
    scene.inbox.is_quiet();
    assert_eq!(scene.says("SessionStart", "", json!({ "source": "clear" })), "");
    scene.inbox.woken();
}
