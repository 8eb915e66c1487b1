//! Doctor: a database that is too large to be read whole each time.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;

use super::is_clean;
use crate::support::{Sandbox, findings_of};

/// Returns the finding about the database.
fn told(sandbox: &Sandbox, arguments: &[&str]) -> Value {
    let output = sandbox.run([&["doctor", "--json", "--no-claude"], arguments].concat());
    let findings = findings_of(&output);
    let mut of_database = findings.into_iter().filter(|finding| finding["check"] == "database");
    of_database.next().expect("a finding about the database")
}

/// Fills the database until it is larger than what is read whole, and empties the page of an index.
fn fill_and_spoil(path: &Path) {
    let database = Connection::open(path).unwrap();
    database
        .execute_batch(
            "INSERT INTO peers (id, kind, client_process, created_at, seen_at)
             VALUES ('spoiled1', 'legacy', 'p', 0, 0);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
             INSERT INTO messages (id, sender, recipient, text, sent_at, expires_at, state)
             SELECT 'm' || i, 'spoiled1', 'spoiled1', hex(zeroblob(8000)), 0, 0, 'expired' FROM n;",
        )
        .unwrap();
    let number = |query: &str| -> u64 {
        let number: i64 = database.query_row(query, [], |row| row.get(0)).unwrap();
        number.try_into().unwrap()
    };
    let size = number("PRAGMA page_size");
    let page = number("SELECT rootpage FROM sqlite_schema WHERE name = 'peers_by_process'");
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(database);
    // A leaf of an index without entries, whose contents would begin at its end.
    let [high, low] = u16::try_from(size).unwrap_or(0).to_be_bytes();
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[10, 0, 0, 0, 0, high, low, 0], (page - 1) * size).unwrap();
}

#[test]
fn a_large_database_is_read_whole_on_request_only_and_that_is_said() {
    let sandbox = Sandbox::new();
    is_clean(&sandbox);
    let small = told(&sandbox, &[]);
    assert!(small["finding"].as_str().unwrap().contains("is intact"), "{small}");
    assert!(small["detail"].is_null(), "{small}");
    assert!(told(&sandbox, &["--deep"])["finding"].as_str().unwrap().contains("is intact"));

    sandbox.ok(["kill-broker"]);
    fill_and_spoil(&sandbox.database());
    let large = told(&sandbox, &[]);
    assert_eq!(large["level"], "ok", "{large}");
    assert!(large["finding"].as_str().unwrap().contains(" can be read: "), "{large}");
    assert!(large["detail"].as_str().unwrap().contains("doctor --deep"), "{large}");
    let deep = told(&sandbox, &["--deep"]);
    assert_eq!(deep["level"], "failure", "{deep}");
    let words = deep["finding"].as_str().unwrap();
    assert!(words.contains("is damaged") && words.contains("peers_by_process"), "{words}");
}
