//! Promise 8: databases of another schema or program, or in use by another broker.

use std::path::PathBuf;

use claude_peers::sys::files::beside;
use rusqlite::Connection;
use serde_json::json;

use super::damage::serves_a_new_database_after_start;
use super::{suffixes, why_not, with_history};
use crate::support::databases::of_first_schema;
use crate::support::{Sandbox, SessionOptions, chmod, until};

#[test]
fn a_database_of_the_first_schema_is_carried_over_with_its_mail() {
    let sandbox = Sandbox::new();
    of_first_schema(&sandbox, "backend");
    let mut session = sandbox.session("backend");
    assert_eq!(session.push()["content"], "precious");
    assert_eq!(session.id(), "peer0001");
    let text = session.text("check_messages", json!({}));
    assert!(text.contains("| precious"), "{text}");
}

#[test]
fn a_newer_database_is_left_as_it_is() {
    let sandbox = Sandbox::new();
    with_history(&sandbox, 1, "precious");
    let database = sandbox.database();
    let set_version = |version: i64| {
        let connection = Connection::open(&database).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
        connection.close().unwrap();
    };
    let version: i64 = Connection::open(&database)
        .unwrap()
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    set_version(99);
    let before = std::fs::read(&database).unwrap();
    for _ in 0..2 {
        let error = why_not(&sandbox);
        assert!(error.contains("newer claude-peers (schema 99"), "{error}");
        assert!(error.contains("Upgrade claude-peers"), "{error}");
    }
    assert_eq!(std::fs::read(&database).unwrap(), before);
    assert_eq!(suffixes(&database), Vec::<String>::new());
    // A session reports it in its tool results, and does not end.
    let mut session = SessionOptions::new("backend").at_once().start(&sandbox);
    let result = session.try_call("list_peers", json!({}));
    assert_eq!(result["isError"], true);
    assert!(result["content"][0]["text"].as_str().unwrap().contains("newer"), "{result}");
    // With the version restored, everything is there and the session goes on.
    set_version(version);
    until("the session is live", || {
        session.try_call("list_peers", json!({}))["structuredContent"]["me"]["live"] == true
    });
    assert_eq!(sandbox.json(["log"])["messages"][0]["text"], "precious");
}

#[test]
fn a_newer_database_that_was_not_closed_in_order_is_left_as_it_is() {
    let sandbox = Sandbox::new();
    with_history(&sandbox, 1, "precious");
    let database = sandbox.database();
    // As a crash leaves it: the version is in the write-ahead log, not in the database file.
    let connection = Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    let copies: Vec<(PathBuf, Vec<u8>)> = ["", "-wal"]
        .map(|suffix| beside(&database, suffix))
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .into();
    assert!(!copies[1].1.is_empty());
    connection.close().unwrap();
    for (path, bytes) in &copies {
        std::fs::write(path, bytes).unwrap();
    }
    let error = why_not(&sandbox);
    assert!(error.contains("newer claude-peers (schema 99"), "{error}");
    for (path, bytes) in &copies {
        assert_eq!(&std::fs::read(path).unwrap_or_default(), bytes, "{}", path.display());
    }
}

#[test]
fn an_empty_file_is_a_new_database() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.database(), b"").unwrap();
    serves_a_new_database_after_start(&sandbox);
    assert!(!sandbox.ok(["status"]).contains("WARNING"));
}

#[test]
fn a_directory_in_its_place_is_refused_and_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    std::fs::create_dir(&database).unwrap();
    chmod(&database, 0o755);
    let error = why_not(&sandbox);
    assert!(error.contains(&database.display().to_string()), "{error}");
    assert_eq!(std::fs::metadata(&database).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(std::fs::read_dir(&database).unwrap().count(), 0);
}

#[test]
fn a_directory_that_does_not_exist_is_named() {
    let sandbox = Sandbox::new();
    let missing = sandbox.path().join("no/such/place");
    let database = missing.join("peers.db").display().to_string();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", database);
    let error = why_not(&sandbox);
    assert!(error.contains(&format!("the directory {} of", missing.display())), "{error}");
    assert!(error.contains("CLAUDE_PEERS_DB"), "{error}");
    assert!(!missing.exists());
}

#[test]
fn a_database_of_another_program_is_left_as_it_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    let connection = Connection::open(&database).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE peers (id TEXT, host TEXT); CREATE TABLE songs (title TEXT);
             INSERT INTO songs VALUES ('x');",
        )
        .unwrap();
    connection.close().unwrap();
    chmod(&database, 0o644);
    let before = std::fs::read(&database).unwrap();
    let error = why_not(&sandbox);
    assert!(error.contains("database of another program"), "{error}");
    assert!(error.contains("CLAUDE_PEERS_DB"), "{error}");
    assert_eq!(std::fs::read(&database).unwrap(), before);
    assert_eq!(suffixes(&database), Vec::<String>::new());
    let mode = std::fs::metadata(&database).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o644, "nothing was changed, its mode included");
}

#[test]
fn a_database_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give files away");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    sandbox.ok(["kill-broker"]);
    let before = std::fs::read(sandbox.database()).unwrap();
    std::os::unix::fs::chown(sandbox.database(), Some(65534), None).unwrap();
    let error = why_not(&sandbox);
    assert!(error.contains("belongs to user id 65534"), "{error}");
    assert_eq!(std::fs::read(sandbox.database()).unwrap(), before);
}

/// Two brokers never share a database, whatever their ports.
#[test]
fn a_database_in_use_by_another_broker_is_refused() {
    let first = Sandbox::new();
    let database = first.path().join("shared.db").display().to_string();
    let first = first.with("CLAUDE_PEERS_DB", database.clone());
    first.ok(["peers"]);
    let second = Sandbox::new().with("CLAUDE_PEERS_DB", database);
    let error = why_not(&second);
    let pid = first.broker().unwrap().pid;
    assert!(error.contains(&format!("in use by another broker (process {pid})")), "{error}");
    first.ok(["peers"]);
    // A client whose settings name another database is told both, and sends nothing.
    let other = first.path().join("other.db").display().to_string();
    let output = first.command(["send", "x", "y"]).env("CLAUDE_PEERS_DB", &other).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&other) && error.contains("shared.db"), "{error}");
}
