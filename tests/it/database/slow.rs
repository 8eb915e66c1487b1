//! Promise 6: opening a database takes long, and callers are told so, or wait.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

use super::legacy::legacy;
use crate::support::{
    Frozen, Manager, Notifications, PATIENCE, Sandbox, SessionOptions, ends, until,
};

/// So many that the import takes noticeable time. Each test checks that it did.
const MANY: i64 = 80_000;

fn fill(connection: &Connection) {
    let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO messages (from_id, to_id, text, sent_at, delivered)
         SELECT 'ab12cd34', 'zzzzzzzz', 'bulk ' || i, '2025-03-01T10:00:00.000Z', 1 FROM n";
    connection.execute(insert, [MANY]).unwrap();
}

/// A sandbox with a large database of the TypeScript claude-peers.
fn world() -> Sandbox {
    let sandbox = Sandbox::new();
    let connection = legacy(&sandbox.database());
    fill(&connection);
    connection.close().unwrap();
    sandbox
}

/// Waits until a broker reports that it imports the database, and freezes it there.
fn at_work(sandbox: &Sandbox) -> (u32, Frozen) {
    let mut found = None;
    until("a broker takes the database over", || {
        found = sandbox.broker().filter(|broker| broker.busy.is_some());
        found.is_some()
    });
    let owner = found.unwrap();
    let frozen = Frozen::new(owner.pid);
    let words = owner.busy.unwrap();
    let expected = format!("taking over the database {}", sandbox.database().display());
    assert!(words.starts_with(&expected), "{words}");
    (owner.pid, frozen)
}

fn start(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let mut command = sandbox.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the end of a command. Returns its code, standard output and standard error.
fn said(mut child: Child) -> (Option<i32>, String, String) {
    ends(&mut child);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn an_import_that_takes_longer_than_a_call_is_reported_to_all_and_commands_wait_for_it() {
    let sandbox = world();
    let mut session = SessionOptions::new("worker").at_once().start(&sandbox);
    let first = start(&sandbox, &["peers", "--json"]);
    let (pid, frozen) = at_work(&sandbox);
    let second = start(&sandbox, &["send", "nobody", "hello"]);

    // A tool call ends within its time limit, with the truth.
    let since = Instant::now();
    let result = session.try_call("send_message", json!({ "to_id": "x", "message": "y" }));
    assert!(since.elapsed() < PATIENCE, "{:?}", since.elapsed());
    assert_eq!(result["isError"], true, "{result}");
    let words = result["content"][0]["text"].as_str().unwrap();
    for part in ["is not ready yet", "taking over the database", "Nothing was done"] {
        assert!(words.contains(part), "{words}");
    }
    // Status and doctor say the same, and do not advise to end the broker.
    let status = sandbox.run(["status"]);
    assert_eq!(status.status.code(), Some(1));
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains(&format!("process {pid} is taking over")), "{status}");
    let doctor = String::from_utf8(sandbox.run(["doctor", "--no-claude"]).stdout).unwrap();
    assert!(doctor.contains("does not serve yet: it is taking over"), "{doctor}");
    for told in [words, &status, &doctor] {
        assert!(!told.contains("kill-broker"), "{told}");
    }
    assert_eq!(sandbox.broker().unwrap().pid, pid, "no other broker started");

    drop(frozen);
    let (code, listed, told) = said(first);
    assert_eq!(code, Some(0), "{told}");
    assert!(listed.contains("\"peers\""), "{listed}");
    assert_eq!(told.matches("taking over the database").count(), 1, "{told}");
    let (code, _, told) = said(second);
    assert!(code == Some(1) && told.contains("taking over") && told.contains("nobody"), "{told}");
    until("the session is live", || session.me()["live"] == true);
    let running = sandbox.broker().unwrap();
    assert_eq!((running.pid, running.busy), (pid, None));
    assert_eq!(sandbox.json(["log", "-n", "5"])["messages"].as_array().unwrap().len(), 5);
}

/// A manager gives a service a time limit for its start, and extends it on request.
#[test]
fn a_service_that_takes_a_database_over_asks_its_manager_for_time_and_is_not_replaced() {
    let sandbox = world();
    let notifications = Notifications::listen(&sandbox);
    let mut manager = Manager::listen(&sandbox, true, false);
    manager.set("NOTIFY_SOCKET", notifications.address());
    let mut caller = start(&sandbox, &["peers"]);
    let mut broker = manager.start_on_connection(&sandbox);
    let told = notifications.wait_for_status("taking over the database");
    assert!(
        told.last().unwrap().iter().any(|line| line.starts_with("EXTEND_TIMEOUT_USEC=")),
        "{told:?}"
    );
    // While it asks for more time it is at work, however slow the machine is.
    while !notifications.next_within(PATIENCE).expect("a word").contains(&"READY=1".to_owned()) {}
    assert!(ends(&mut caller).success());
    sandbox.ok(["kill-broker"]);
    assert!(ends(&mut broker).success());
}

/// A second broker would start over, and would end the first in the middle of its work.
#[test]
fn a_second_broker_leaves_one_that_takes_a_database_over_alone() {
    let sandbox = world();
    let first = start(&sandbox, &["peers"]);
    let (pid, frozen) = at_work(&sandbox);
    let (code, error) = sandbox.fails(["broker"]);
    assert_eq!(code, 1);
    assert!(error.contains(&format!("process {pid}")) && error.contains("taking over"), "{error}");
    std::thread::sleep(Duration::from_millis(100));
    drop(frozen);
    let (code, _, told) = said(first);
    assert_eq!((code, sandbox.broker().unwrap().pid), (Some(0), pid), "{told}");
}
