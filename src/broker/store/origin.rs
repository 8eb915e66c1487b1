//! Which program wrote a database.
//!
//! The version alone does not tell: forks number their schemas as well, and some of them have a table
//! `meta`. The columns that only our tables have decide it.

use rusqlite::Connection;

use crate::broker::store::import::Import;
use crate::broker::store::schema::{SCHEMA_VERSION, columns, reference_schema};

/// The origin of a database.
#[derive(Debug)]
pub enum SchemaOrigin {
    /// It is empty.
    New,
    /// This program, with this schema version.
    Ours(i64),
    /// The TypeScript claude-peers, a fork, or this program if only a part of its tables is left.
    Legacy,
    /// Another program.
    Foreign,
}

/// Tables with columns that no related program has together. A later version of ours has most of
/// them, whatever it has changed.
const MARKER_COLUMNS: [(&str, &[&str]); 5] = [
    ("meta", &["key", "value"]),
    ("peers", &["id", "kind", "name_source"]),
    ("messages", &["seq", "sender", "recipient", "state"]),
    ("keys", &["key", "peer"]),
    ("receivers", &["instance", "peer", "secret"]),
];

/// A database with at least so many of [`MARKER_COLUMNS`] is ours.
const MIN_MARKERS: usize = 2;

impl SchemaOrigin {
    /// Determines the origin of an open database.
    ///
    /// # Errors
    ///
    /// If the list of its tables cannot be read.
    pub fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let objects: i64 = connection.query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'",
            [],
            |row| row.get(0),
        )?;
        if objects == 0 {
            return Ok(Self::New);
        }
        let mut markers = 0;
        for (table, expected) in MARKER_COLUMNS {
            let found = columns(connection, table)?;
            markers += usize::from(expected.iter().all(|name| found.iter().any(|f| f == name)));
        }
        if markers >= MIN_MARKERS {
            // A database that has lost its version may still hold all of its rows.
            return Ok(if version > 0 { Self::Ours(version) } else { Self::Legacy });
        }
        let is_related = Import::find(connection)?.is_ours() || are_remains(connection, version)?;
        Ok(if is_related { Self::Legacy } else { Self::Foreign })
    }
}

/// Whether this is what is left of a database of ours: it has a version of ours, and only tables of
/// ours.
fn are_remains(connection: &Connection, version: i64) -> rusqlite::Result<bool> {
    if !(1..=SCHEMA_VERSION).contains(&version) {
        return Ok(false);
    }
    let ours = tables(&reference_schema()?)?;
    let found = tables(connection)?;
    Ok(!found.is_empty() && found.iter().all(|table| ours.contains(table)))
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    )?;
    statement.query_map([], |row| row.get(0))?.collect()
}
