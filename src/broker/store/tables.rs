//! Whose tables these are, and whether ours are all there.
//!
//! The version alone tells nothing: forks number their schemas as well, and some have a table
//! `meta`. What only we have tells it.

use rusqlite::{Connection, Error, ErrorCode as Sqlite};

use crate::broker::store::import::History;
use crate::broker::store::schema::{SCHEMA_VERSION, model};

/// What a database is.
#[derive(Debug)]
pub enum Shape {
    /// Nothing is in it.
    New,
    /// One of ours, of this version.
    Ours(i64),
    /// Of our family: of the TypeScript claude-peers, of a fork, or what is left of ours.
    Legacy,
    /// Another program's.
    Foreign,
}

/// Tables with columns that no other program of our family has beside each other. A later version
/// of ours has most of them, whatever it has changed.
const MARKS: [(&str, &[&str]); 5] = [
    ("meta", &["key", "value"]),
    ("peers", &["id", "kind", "name_source"]),
    ("messages", &["seq", "sender", "recipient", "state"]),
    ("keys", &["key", "peer"]),
    ("receivers", &["instance", "peer", "secret"]),
];

/// So many make it ours.
const ENOUGH: usize = 2;

impl Shape {
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
        let mut marks = 0;
        for (table, wanted) in MARKS {
            let found = columns(connection, table)?;
            marks += usize::from(wanted.iter().all(|name| found.iter().any(|f| f == name)));
        }
        if marks >= ENOUGH {
            // Its number may have been lost; what it holds need not be.
            return Ok(if version > 0 { Self::Ours(version) } else { Self::Legacy });
        }
        let is_family = History::find(connection)?.is_ours() || are_remains(connection, version)?;
        Ok(if is_family { Self::Legacy } else { Self::Foreign })
    }
}

/// Whether this is what is left of ours: it has a version that we had, and no table that we have not.
fn are_remains(connection: &Connection, version: i64) -> rusqlite::Result<bool> {
    if !(1..=SCHEMA_VERSION).contains(&version) {
        return Ok(false);
    }
    let ours = tables(&model()?)?;
    let found = tables(connection)?;
    Ok(!found.is_empty() && found.iter().all(|table| ours.contains(table)))
}

fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    )?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// The names of a table's columns; none if it is no table, or not there.
pub fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT p.name FROM sqlite_schema s JOIN pragma_table_info(s.name) p
         WHERE s.type = 'table' AND s.name = ?1 COLLATE NOCASE
             AND s.sql NOT LIKE 'CREATE VIRTUAL%'",
    )?;
    statement.query_map([table], |row| row.get(0))?.collect()
}

/// Makes what is missing of our schema, as `model` has it.
///
/// # Errors
///
/// One of [`is_wrong_shape`] if a table is missing that holds peers or mail, or a table is not ours.
pub fn complete(connection: &Connection, model: &Connection) -> rusqlite::Result<()> {
    let mut statement = model.prepare(
        "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type <> 'table'",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, name, sql): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let is_there: bool = connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2)",
            [&kind, &name],
            |row| row.get(0),
        )?;
        if !is_there {
            if matches!(name.as_str(), "peers" | "messages") {
                return Err(wrong_shape(&name));
            }
            tracing::warn!(event = "storage", "the {kind} {name} was missing; it is made anew");
            connection.execute_batch(&sql)?;
        }
        if kind == "table" {
            let found = columns(connection, &name)?;
            let wanted = columns(model, &name)?;
            if !wanted.iter().all(|column| found.contains(column)) {
                return Err(wrong_shape(&name));
            }
        }
    }
    // A notice is from it.
    connection.execute(
        "INSERT INTO peers (id, kind, created_at, seen_at)
         SELECT 'broker', 'history', 0, 0
         WHERE NOT EXISTS (SELECT 1 FROM peers WHERE id = 'broker')",
        [],
    )?;
    Ok(())
}

fn wrong_shape(table: &str) -> Error {
    let failure = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_SCHEMA);
    Error::SqliteFailure(failure, Some(format!("the table {table} is not ours")))
}

/// Whether a statement found the tables other than they must be.
#[must_use]
pub fn is_wrong_shape(error: &Error) -> bool {
    match error {
        Error::SqlInputError { .. }
        | Error::QueryReturnedNoRows
        | Error::InvalidColumnType(..)
        | Error::InvalidColumnName(..) => true,
        Error::SqliteFailure(failure, _) => matches!(
            failure.code,
            Sqlite::SchemaChanged
                | Sqlite::ConstraintViolation
                | Sqlite::TypeMismatch
                | Sqlite::Unknown
        ),
        _ => false,
    }
}
