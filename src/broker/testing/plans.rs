//! Checks how SQLite finds the rows of each statement that a test has run: none may read all messages.
//!
//! A world checks the statements that its connection has prepared when the test is over. So each
//! statement is checked that any test runs.

use std::collections::HashSet;
use std::ffi::CStr;
use std::ptr;
use std::sync::{LazyLock, Mutex, PoisonError};

use rusqlite::{Connection, ffi};

use super::World;

/// What may be read whole, and by which statement: an index of the unread messages, of which there
/// are never many, or of those under a lease.
const ALLOWED: [(&str, &str); 8] = [
    // The history of what is unread.
    (
        "SELECT seq FROM messages INDEXED BY messages_unread\n                 WHERE state",
        "messages_unread",
    ),
    // The unread messages of all senders, once after a start.
    ("SELECT sender, seq FROM messages INDEXED BY messages_unread", "messages_unread"),
    // Whether a peer has sent anything.
    ("SELECT created_at > ?2", "messages_unread"),
    // The sweep, when something is due, or after a start.
    ("UPDATE messages INDEXED BY messages_unread", "messages_unread"),
    ("SELECT min(expires_at)", "messages_unread"),
    // The clock has jumped.
    ("UPDATE messages SET expires_at", "messages_unread"),
    // Leases of all mailboxes.
    ("SELECT recipient, count(*)", "messages_leased"),
    ("SELECT recipient, count(*)", "messages_unread"),
];

/// The names of the tables that grow with each message, as statements have them.
const TABLES: [&str; 4] = ["messages", "m", "offers", "o"];

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            check(self.store.database());
        }
    }
}

/// Checks the statements that are prepared, unless another world has done so.
fn check(database: &Connection) {
    static CHECKED: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    let mut checked = CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
    for statement in prepared(database) {
        let is_plain =
            ["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|s| statement.starts_with(s));
        if is_plain && checked.insert(statement.clone()) {
            for step in steps(database, &statement) {
                assert!(is_allowed(&statement, &step), "{step}:\n{statement}");
            }
        }
    }
}

fn is_allowed(statement: &str, step: &str) -> bool {
    let Some(scanned) = step.strip_prefix("SCAN ") else { return true };
    let table = scanned.split(' ').next().unwrap_or_default();
    let is_listed = || {
        ALLOWED
            .iter()
            .any(|(start, index)| statement.starts_with(start) && scanned.ends_with(index))
    };
    !TABLES.contains(&table) || is_listed()
}

/// Returns the steps of a statement's plan.
fn steps(database: &Connection, statement: &str) -> Vec<String> {
    let mut explained = database.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
    let mut rows = explained.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        steps.push(row.get(3).unwrap());
    }
    steps
}

/// Returns the text of all statements that are prepared on a connection.
fn prepared(database: &Connection) -> Vec<String> {
    let mut found = Vec::new();
    let mut statement = ptr::null_mut();
    loop {
        // SAFETY: the connection is open, and no statement ends meanwhile.
        statement = unsafe { ffi::sqlite3_next_stmt(database.handle(), statement) };
        if statement.is_null() {
            return found;
        }
        // SAFETY: the statement is prepared, and keeps its text.
        let text = unsafe { CStr::from_ptr(ffi::sqlite3_sql(statement)) };
        found.push(text.to_string_lossy().into_owned());
    }
}

#[test]
fn a_statement_that_reads_all_messages_is_found() {
    let world = World::new();
    let database = world.store.database();
    for (statement, is_fine) in [
        ("SELECT text FROM messages WHERE id = ?1", false),
        ("SELECT text FROM messages m WHERE m.recipient = ?1", false),
        (
            "SELECT count(*) FROM messages WHERE sender = ?1 AND state IN ('queued', 'offered')",
            false,
        ),
        ("SELECT text FROM messages WHERE seq = ?1", true),
    ] {
        let steps = steps(database, statement);
        assert_eq!(steps.iter().all(|step| is_allowed(statement, step)), is_fine, "{steps:?}");
    }
}
