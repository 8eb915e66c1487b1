//! Promise 8: databases of an earlier schema keep every row, and get what is new.

use std::collections::BTreeMap;
use std::path::Path;

use claude_peers::sys::files::beside;
use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde_json::json;

use crate::support::Sandbox;

/// All migrations from schema 4 on.
const MIGRATIONS: [&str; 2] = [
    include_str!("../../../src/broker/store/migration-5.sql"),
    include_str!("../../../src/broker/store/migration-6.sql"),
];

/// Writes a database of schema 4 with rows of every sort.
fn schema_4(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    for sql in [
        include_str!("../../../src/broker/store/migration-1.sql"),
        include_str!("../../../src/broker/store/migration-2.sql"),
        include_str!("../../../src/broker/store/migration-3.sql"),
        include_str!("../../../src/broker/store/migration-4.sql"),
        include_str!("schema-4.sql"),
        "PRAGMA user_version = 4",
    ] {
        connection.execute_batch(sql).unwrap();
    }
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    connection
}

/// The columns that were added since schema 4, and that which has other values.
const NEW: [&str; 9] = [
    "kind",
    "numbered",
    "pushed_to",
    "pushed_at",
    "push_written",
    "key_caller",
    "fingerprint",
    "counted_to",
    "key",
];

/// Returns all rows of all tables but `meta`, with the columns of schema 4 and without the kinds of
/// peers.
fn rows(connection: &Connection) -> BTreeMap<String, Vec<Vec<Cell>>> {
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'meta'";
    let mut statement = connection.prepare(tables).unwrap();
    let tables = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let all = tables.map(|table| {
        let table = table.unwrap();
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let kept: Vec<usize> = (0..statement.column_count())
            .filter(|&at| {
                let column = statement.column_name(at).unwrap();
                // The tables `keys` and `answers` have always had these.
                let is_new = NEW.contains(&column);
                !is_new || (table != "messages" && matches!(column, "key" | "fingerprint"))
            })
            .collect();
        let rows = statement
            .query_map([], |row| kept.iter().map(|&at| row.get(at)).collect())
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        (table, rows)
    });
    all.collect()
}

/// Returns the kinds of the peers, by their ids.
fn kinds(connection: &Connection) -> BTreeMap<String, String> {
    let mut statement = connection.prepare("SELECT id, kind FROM peers").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

/// Returns the type, name, table and text of all tables, indexes and triggers.
fn schema(connection: &Connection) -> Vec<[Option<String>; 4]> {
    let sql = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement
        .query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))
        .unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

fn is_migrated(database: &Path) {
    let connection = Connection::open(database).unwrap();
    let kinds = kinds(&connection);
    let expected = [
        ("ab12cd34", "legacy"),
        ("apiapi01", "client"),
        ("backend1", "session"),
        ("broker", "system"),
        ("cleared1", "session"),
        ("clicli01", "cli"),
        ("fronten1", "session"),
        ("mistake1", "absorbed"),
        ("probe001", "probe"),
        ("zzzzzzz2", "legacy"),
    ];
    let kinds: Vec<_> = kinds.iter().map(|(id, kind)| (id.as_str(), kind.as_str())).collect();
    assert_eq!(kinds, expected);
    let sound: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let mut references = connection.prepare("PRAGMA foreign_key_check").unwrap();
    assert!(!references.exists([]).unwrap());

    let fresh = Sandbox::new();
    fresh.ok(["peers"]);
    fresh.ok(["kill-broker"]);
    assert_eq!(schema(&connection), schema(&Connection::open(fresh.database()).unwrap()));
}

#[test]
fn a_database_of_schema_4_keeps_every_row_and_gets_the_kinds() {
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    let former = schema_4(&database);
    let before = rows(&former);
    former.close().unwrap();

    let log = sandbox.json(["log", "-n", "100"]);
    let states: Vec<(&str, &str)> = log["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| {
            (m["text"].as_str().unwrap().lines().next().unwrap(), m["state"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        states,
        [
            ("imported, delivered", "unconfirmed"),
            ("imported, not delivered", "expired"),
            ("read by a tool", "read"),
            ("pushed by a channel", "offered"),
            ("from another client", "queued"),
            ("from the command line", "queued"),
            ("to the command line", "read"),
            ("for a session that is away", "queued"),
            ("will expire", "expired"),
            ("The time of a message that you sent to frontend (fronten1) ran out.", "queued"),
        ]
    );
    let listed = sandbox.json(["peers", "--all"]);
    let listed: Vec<_> = listed["peers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|peer| (peer["id"].as_str().unwrap(), peer["unread"].as_u64().unwrap()))
        .collect();
    assert_eq!(listed, [("backend1", 1), ("fronten1", 2), ("cleared1", 1)]);
    assert_eq!(sandbox.json(["status"])["health"]["backlog"], 4);
    sandbox.ok(["kill-broker"]);
    let now = Connection::open(&database).unwrap();
    assert_eq!(rows(&now), before);
    drop(now);
    is_migrated(&database);

    for (id, reason) in [
        ("ab12cd34", "only in the history of an older database"),
        ("mistake1", "has become part of another peer"),
        ("probe001", "is a probe of `claude-peers doctor`"),
        ("broker", "notices from claude-peers cannot be answered"),
    ] {
        let (code, error) = sandbox.fails(["send", id, "are you there?"]);
        assert!(code == 1 && error.contains(reason), "{id}: {error}");
    }
    // An id of before is found, and what was counted goes on from there.
    let one = sandbox.json(["log", "m00000000005"]);
    assert_eq!(one["messages"][0]["text"], "pushed by a channel");
    sandbox.ok(["send", "backend1", "a new one"]);
    let peers = sandbox.json(["peers", "--all"]);
    assert_eq!(peers["peers"][0]["unread"], 2, "{peers}");
    let mut backend = sandbox.session("backend");
    assert_eq!(backend.id(), "backend1");
    let waiting = backend.text("check_messages", json!({}));
    assert!(waiting.contains("| pushed by a channel"), "{waiting}");
    assert!(waiting.contains("will expire") || waiting.contains("ran out"), "{waiting}");
    // The next probe removes the one that was left.
    sandbox.run(["doctor", "--no-claude"]);
    drop(backend);
    sandbox.ok(["kill-broker"]);
    assert!(!kinds(&Connection::open(&database).unwrap()).values().any(|kind| kind == "probe"));
}

/// The files as a crash leaves them, with a part of the migration already in the log.
#[test]
fn a_migration_that_a_crash_cut_short_is_made_again() {
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    let original = sandbox.path().join("original.db");
    let connection = schema_4(&original);
    let before = rows(&connection);
    connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    // Changed pages go to the log before the commit.
    connection.pragma_update(None, "cache_spill", 1).unwrap();
    connection.pragma_update(None, "cache_size", 1).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    for migration in MIGRATIONS {
        connection.execute_batch(migration).unwrap();
    }
    assert_eq!(kinds(&connection)["broker"], "system");
    assert!(std::fs::metadata(beside(&original, "-wal")).unwrap().len() > 0);
    for suffix in ["", "-wal"] {
        std::fs::copy(beside(&original, suffix), beside(&database, suffix)).unwrap();
    }
    connection.execute_batch("ROLLBACK").unwrap();
    assert_eq!(kinds(&connection)["broker"], "history");

    sandbox.ok(["peers"]);
    sandbox.ok(["kill-broker"]);
    assert_eq!(rows(&Connection::open(&database).unwrap()), before);
    is_migrated(&database);
}
