//! Databases of every schema that there was, for the fuzzers.

// Like a test, it fails loudly.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rusqlite::Connection;

use crate::broker::store::schema;
use crate::fuzzing::directory;

const ROWS: &str = "
    INSERT INTO peers (id, kind, name, name_source, created_at, seen_at) VALUES
        ('ann00001', 'session', 'ann', 'environment', 1, 1),
        ('bob00002', 'session', 'bob', 'environment', 1, 1);
    INSERT INTO keys (key, peer, bound_at) VALUES
        ('session:a', 'ann00001', 1), ('session:b', 'bob00002', 1);
    INSERT INTO messages (id, sender, recipient, text, sent_at, expires_at, state) VALUES
        ('m0gwab1aaaaa', 'ann00001', 'bob00002', 'one', 1, 9999999999999, 'queued'),
        ('m0gwab2bbbbb', 'bob00002', 'ann00001', 'two', 1, 9999999999999, 'queued'),
        ('m0gwab3ccccc', 'ann00001', 'bob00002', 'three', 1, 1, 'queued');";

/// Returns the files of databases with a few rows, one of each schema.
///
/// # Panics
///
/// If one cannot be made.
pub fn databases() -> Vec<Vec<u8>> {
    (1..=schema::MIGRATIONS.len()).map(database).collect()
}

fn database(version: usize) -> Vec<u8> {
    let directory = directory();
    let path = directory.path().join("seed");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("PRAGMA page_size = 512;").unwrap();
    for step in schema::MIGRATIONS.iter().take(version) {
        connection.execute_batch(step).unwrap();
    }
    connection.execute_batch(ROWS).unwrap();
    connection.close().unwrap();
    std::fs::read(&path).unwrap()
}
