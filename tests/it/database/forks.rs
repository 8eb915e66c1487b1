//! Promise 1: databases of forks of the TypeScript claude-peers, and ours with other tables.
//!
//! Their messages become history, and nothing of them is lost.

use std::path::{Path, PathBuf};

use claude_peers::sys::files::beside;
use rusqlite::Connection;
use serde_json::Value;

use super::{suffixes, with_history};
use crate::support::http::RawPeer;
use crate::support::{PROGRAM, Sandbox};

/// The tables of the TypeScript claude-peers, and two messages in them.
const LEGACY: &str = "
    CREATE TABLE peers (
        id TEXT PRIMARY KEY, pid INTEGER NOT NULL, cwd TEXT NOT NULL, git_root TEXT, tty TEXT,
        summary TEXT NOT NULL DEFAULT '', registered_at TEXT NOT NULL, last_seen TEXT NOT NULL);
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT, from_id TEXT NOT NULL, to_id TEXT NOT NULL,
        text TEXT NOT NULL, sent_at TEXT NOT NULL, delivered INTEGER NOT NULL DEFAULT 0,
        FOREIGN KEY (from_id) REFERENCES peers(id), FOREIGN KEY (to_id) REFERENCES peers(id));
    INSERT INTO peers VALUES
        ('ab12cd34', 1, '/srv/api', NULL, NULL, 'api', '2025-03-01T10:00:00Z', '2025-03-01T10:00:00Z'),
        ('zzzzzzz1', 2, '/srv/web', NULL, NULL, 'web', '2025-03-01T10:00:00Z', '2025-03-01T10:00:00Z');
    INSERT INTO messages (from_id, to_id, text, sent_at, delivered) VALUES
        ('ab12cd34', 'zzzzzzz1', 'first', '2025-03-01T10:00:01Z', 1),
        ('zzzzzzz1', 'ab12cd34', 'second', '2025-03-01T10:00:02Z', 0);";

/// A sandbox whose database was made by this SQL.
fn with(sql: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let connection = Connection::open(sandbox.database()).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.execute_batch(sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    connection.close().unwrap();
    sandbox
}

/// The messages as the history shows them: text and state.
fn history(sandbox: &Sandbox) -> Vec<(String, String)> {
    let log = sandbox.json(["log", "-n", "100"]);
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let messages = log["messages"].as_array().unwrap();
    messages.iter().map(|message| (word(&message["text"]), word(&message["state"]))).collect()
}

fn told(history: &[(String, String)]) -> Vec<(&str, &str)> {
    history.iter().map(|(text, state)| (text.as_str(), state.as_str())).collect()
}

/// The one copy of the former database.
#[track_caller]
fn copy(database: &Path) -> PathBuf {
    let copies: Vec<String> = suffixes(database)
        .into_iter()
        .filter(|suffix| !["-wal", "-shm"].contains(&suffix.as_str()))
        .collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    beside(database, &copies[0])
}

/// Checks that a new broker serves.
#[track_caller]
fn serves(sandbox: &Sandbox) {
    let (a, b) = (RawPeer::register(sandbox, "fresh-a"), RawPeer::register(sandbox, "fresh-b"));
    a.send(sandbox, &b.id, "after all");
    assert_eq!(b.take(sandbox), ["after all"]);
    let status = sandbox.ok(["status"]);
    assert!(!status.contains("damaged"), "{status}");
}

#[test]
fn a_fork_that_numbers_its_schema_becomes_history() {
    for version in [1, 2, 3, 5, 999, -1] {
        let sandbox = with(&format!("{LEGACY} PRAGMA user_version = {version};"));
        sandbox.ok(["peers"]);
        let history = history(&sandbox);
        assert_eq!(told(&history), [("first", "unconfirmed"), ("second", "expired")], "{version}");
        serves(&sandbox);
        let copy = Connection::open(copy(&sandbox.database())).unwrap();
        let kept: i64 = copy.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, version);
    }
}

#[test]
fn what_a_fork_has_besides_is_no_obstacle() {
    for besides in [
        "CREATE TABLE tasks (id INTEGER PRIMARY KEY, peer TEXT REFERENCES peers (id));
         INSERT INTO tasks (peer) VALUES ('ab12cd34');",
        "CREATE VIEW unread AS SELECT p.id, m.text FROM peers p JOIN messages m ON m.to_id = p.id;",
        "CREATE VIEW broken AS SELECT * FROM peers; CREATE VIEW worse AS SELECT * FROM broken;",
        "CREATE TRIGGER guard BEFORE DELETE ON messages BEGIN SELECT RAISE(ABORT, 'never'); END;
         CREATE TRIGGER gone AFTER DELETE ON peers BEGIN DELETE FROM messages; END;",
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT); INSERT INTO meta VALUES ('schema', '4');",
        "CREATE TABLE meta (version INTEGER); PRAGMA user_version = 2;",
        "CREATE TABLE meta (key TEXT, value TEXT); PRAGMA user_version = 5;",
        "CREATE TABLE keys (x); CREATE TABLE receivers (y); CREATE TABLE answers (z);
         CREATE TABLE offers (o); CREATE TABLE clients (c); PRAGMA user_version = 1;",
        "ALTER TABLE peers ADD COLUMN token TEXT; ALTER TABLE messages ADD COLUMN token TEXT;",
        "ALTER TABLE peers ADD COLUMN name TEXT; ALTER TABLE peers ADD COLUMN kind TEXT;",
        "CREATE VIRTUAL TABLE search USING fts5 (text);",
        "CREATE INDEX messages_unread ON messages (to_id); CREATE UNIQUE INDEX peers_by_process ON peers (pid);",
    ] {
        let sandbox = with(&format!("{LEGACY} {besides}"));
        sandbox.ok(["peers"]);
        let history = history(&sandbox);
        assert_eq!(told(&history), [("first", "unconfirmed"), ("second", "expired")], "{besides}");
        serves(&sandbox);
        assert!(!sandbox.ok(["status"]).contains("WARNING"), "{besides}");
        copy(&sandbox.database());
    }
}

/// Other names and types, no keys, no order, and values of all kinds.
#[test]
fn columns_are_known_by_their_names_and_their_values_as_they_come() {
    let huge = "x".repeat(3_000_000);
    let sandbox = with(&format!(
        "CREATE TABLE Peers (ID INTEGER, pid TEXT, cwd BLOB, summary, last_seen REAL);
         INSERT INTO Peers VALUES
             (1, 'no number', x'2f73ff', NULL, 1740823200.5), (1, 'again', 7, 'twice', NULL),
             (NULL, NULL, NULL, NULL, NULL), ('broker', 1, '/x', 'not ours', 0);
         CREATE TABLE messages (
             id TEXT, from_id INTEGER, to_id, text, sent_at, delivery_state TEXT, token TEXT,
             PRIMARY KEY (id)) WITHOUT ROWID;
         INSERT INTO messages VALUES
             ('b', 1, 2, 'epoch seconds', 1740823201, 'delivered', 't'),
             ('a', 1, 2, 'epoch seconds again', 1740823202, 'pending', 't'),
             ('c', '1', 'broker', 'to a peer of that name', 1740823203, 'acknowledged', NULL),
             ('d', NULL, NULL, x'6279746573', 1740823204, NULL, NULL),
             ('e', 1, 2, '{huge}', 1740823205, 'queued', NULL),
             ('f', 1.5, '', NULL, 1740823206, 'read', NULL),
             ('g', 1, 2, 'of no time', 'yesterday', 'delivered', NULL);"
    ));
    sandbox.ok(["peers"]);
    let history = history(&sandbox);
    assert_eq!(history[4].0.len(), 1024 * 1024);
    let rest: Vec<(&str, &str)> =
        told(&history).into_iter().filter(|(text, _)| text.len() < 1_000).collect();
    assert_eq!(
        rest,
        [
            ("epoch seconds", "unconfirmed"),
            ("epoch seconds again", "expired"),
            ("to a peer of that name", "unconfirmed"),
            ("bytes", "unconfirmed"),
            ("", "unconfirmed"),
            ("of no time", "unconfirmed"),
        ]
    );
    let log = sandbox.json(["log", "-n", "100"]);
    assert_eq!(log["messages"][0]["sent_at"], "2025-03-01T10:00:01.000Z");
    assert_ne!(log["messages"][2]["to"]["id"], "broker", "notices are from it");
    serves(&sandbox);
}

#[test]
fn what_cannot_be_read_lies_aside_whole_and_that_is_said() {
    for sql in [
        // The messages are in a table of another kind.
        "CREATE TABLE peers (id TEXT, pid INTEGER, cwd TEXT, summary TEXT, last_seen TEXT);
         INSERT INTO peers VALUES ('ab12cd34', 1, '/srv/api', 'api', 'now');
         CREATE VIRTUAL TABLE messages USING fts5 (from_id, to_id, text);
         INSERT INTO messages VALUES ('ab12cd34', 'cli', 'in a table of another kind');",
        // The tables are ours, and the messages are missing.
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT); PRAGMA user_version = 2;",
    ] {
        let sandbox = with(sql);
        let before: i64 = count(&sandbox.database());
        sandbox.ok(["peers"]);
        assert_eq!(history(&sandbox).len(), 0);
        let copy = copy(&sandbox.database());
        assert_eq!(count(&copy), before);
        let status = sandbox.ok(["status"]);
        assert!(status.contains("WARNING: the database"), "{status}");
        assert!(status.contains("not all of it can be read"), "{status}");
        assert!(status.contains(&copy.display().to_string()), "{status}");
        serves(&sandbox);
    }
}

fn count(database: &Path) -> i64 {
    let connection = Connection::open(database).unwrap();
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap()
}

/// A missing table of ours is created again where nothing is lost by that; otherwise the rest
/// becomes history.
#[test]
fn tables_of_ours_that_were_dropped_keep_no_broker_from_starting() {
    for (drop, is_kept) in [
        ("DROP TABLE answers", true),
        ("DROP TABLE clients", true),
        ("DROP TABLE offers", true),
        ("DROP TABLE receivers; DROP TABLE keys", true),
        ("DROP TABLE meta", true),
        ("DROP INDEX messages_unread; DROP TRIGGER messages_left", true),
        ("PRAGMA foreign_keys = OFF; DELETE FROM peers WHERE kind = 'cli' OR id = 'broker'", true),
        ("PRAGMA foreign_keys = OFF; DROP TABLE peers", false),
        ("ALTER TABLE peers DROP COLUMN cwd", false),
        ("ALTER TABLE messages DROP COLUMN reply_to", false),
        ("PRAGMA user_version = 0", false),
        ("PRAGMA user_version = 1", false),
    ] {
        let sandbox = Sandbox::new();
        with_history(&sandbox, 2, "precious");
        let connection = Connection::open(sandbox.database()).unwrap();
        connection.execute_batch(drop).unwrap_or_else(|error| panic!("{error}: {drop}"));
        connection.close().unwrap();
        sandbox.ok(["peers"]);
        let state = if is_kept { "queued" } else { "expired" };
        assert_eq!(told(&history(&sandbox)), [("precious", state); 2], "{drop}");
        assert_eq!(suffixes(&sandbox.database()).len(), if is_kept { 2 } else { 3 }, "{drop}");
        serves(&sandbox);
        sandbox.ok(["send", "fresh-a", "by the command line"]);
    }
}

/// No copy can be made where a file may not grow.
#[test]
fn what_cannot_be_taken_over_stays_and_no_copy_is_left_of_each_attempt() {
    let many = "INSERT INTO messages (from_id, to_id, text, sent_at)
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000)
        SELECT 'ab12cd34', 'zzzzzzz1', 'bulk ' || i, 'no time' FROM n;";
    let sandbox = with(&format!("{LEGACY} {many}"));
    let database = sandbox.database();
    let before = std::fs::read(&database).unwrap();
    for _ in 0..2 {
        let script = "ulimit -f 500; exec \"$0\" broker";
        let output = sandbox.command_of("sh", ["-c", script, PROGRAM]).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{:?}", output.status);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(&database.display().to_string()), "{error}");
        assert!(error.contains("ulimit -f"), "{error}");
    }
    assert_eq!(std::fs::read(&database).unwrap(), before);
    assert_eq!(suffixes(&database), Vec::<String>::new());
    let left = std::fs::read_dir(database.parent().unwrap()).unwrap();
    assert_eq!(left.count(), 2, "the database and its lock");
    sandbox.ok(["peers"]);
    assert_eq!(sandbox.json(["log", "-n", "1"])["messages"].as_array().unwrap().len(), 1);
}
