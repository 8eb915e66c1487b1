//! The tables of our database: migrations, connection settings, and whether the tables are complete.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{
    Connection, Error, ErrorCode as Sqlite, OpenFlags, Transaction, TransactionBehavior,
};

use crate::broker::store::meta;
use crate::sys::clock;
use crate::sys::random;

/// `PRAGMA user_version` of a database that this build reads and writes.
#[allow(clippy::cast_possible_wrap)] // a handful
pub(super) const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// One migration per version. A released migration is never edited.
pub(super) const MIGRATIONS: [&str; 6] = [
    include_str!("migration-1.sql"),
    include_str!("migration-2.sql"),
    include_str!("migration-3.sql"),
    include_str!("migration-4.sql"),
    include_str!("migration-5.sql"),
    include_str!("migration-6.sql"),
];

/// Prepares the connection, and brings a database of the schema `version` to ours.
///
/// # Errors
///
/// An error for which [`is_schema_mismatch`] holds if the tables are not ours after all.
pub(super) fn migrate(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    configure(connection)?;
    let transaction = immediate(connection)?;
    failpoint!("broker.migration.begun");
    run_migrations(&transaction, version)?;
    check_complete(&transaction, &reference_schema()?)?;
    finish_migration(&transaction)?;
    failpoint!("broker.migration.run");
    transaction.commit()?;
    failpoint!("broker.migration.committed");
    Ok(())
}

/// Builds a new database with what `fill` writes to it, in the empty file `path` and nothing beside
/// it.
pub fn build<T>(
    path: &Path,
    fill: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let transaction = immediate(&connection)?;
    run_migrations(&transaction, 0)?;
    finish_migration(&transaction)?;
    let filled = fill(&transaction)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(filled)
}

/// Returns an empty database in memory with the tables of this version.
pub fn reference_schema() -> rusqlite::Result<Connection> {
    let reference = Connection::open_in_memory()?;
    MIGRATIONS.iter().try_for_each(|migration| reference.execute_batch(migration))?;
    Ok(reference)
}

fn immediate(connection: &Connection) -> rusqlite::Result<Transaction<'_>> {
    Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
}

/// Sets whether closing the connection leaves the write-ahead log as it is.
pub(super) fn set_persist_wal(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}

pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    set_persist_wal(connection, false)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // An acknowledged message survives power loss.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Without it a macOS disk may still have the write in its cache.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Each request has a savepoint, whose journal would be a file of its own.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // The writer makes checkpoints when no request is waiting.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // Query plans stay the same whatever the values of the parameters are.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn run_migrations(transaction: &Transaction<'_>, version: i64) -> rusqlite::Result<()> {
    for migration in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        transaction.execute_batch(migration)?;
    }
    Ok(())
}

/// Writes the rows that every database of ours has.
fn finish_migration(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO peers (id, kind, name, name_source, created_at, seen_at)
         SELECT ?1, 'cli', 'cli', 'reserved', ?2, ?2
         WHERE NOT EXISTS (SELECT 1 FROM peers WHERE kind = 'cli')",
        (random::peer_id().as_str(), clock::now().millis()),
    )?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    meta::set(transaction, meta::CLEAN, "no")
}

/// Marks the database as closed in order, and checkpoints the whole log.
pub fn mark_clean(connection: &Connection) -> rusqlite::Result<()> {
    meta::set(connection, meta::CLEAN, "yes")?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// Returns the names of a table's columns; none if there is no such table.
pub fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(
        "SELECT p.name FROM sqlite_schema s JOIN pragma_table_info(s.name) p
         WHERE s.type = 'table' AND s.name = ?1 COLLATE NOCASE
             AND s.sql NOT LIKE 'CREATE VIRTUAL%'",
    )?;
    statement.query_map([table], |row| row.get(0))?.collect()
}

/// Creates the parts that a database lacks in comparison with `reference`.
///
/// # Errors
///
/// An error for which [`is_schema_mismatch`] holds if the table of peers or that of messages is
/// missing, or a table is not ours.
fn check_complete(connection: &Connection, reference: &Connection) -> rusqlite::Result<()> {
    let mut statement = reference.prepare(
        "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type <> 'table'",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (kind, name, sql): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let exists: bool = connection.query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2)",
            [&kind, &name],
            |row| row.get(0),
        )?;
        if !exists {
            if matches!(name.as_str(), "peers" | "messages") {
                return Err(schema_mismatch(&name));
            }
            tracing::warn!(
                event = "storage",
                "the {kind} {name} was missing; it was created again"
            );
            connection.execute_batch(&sql)?;
        }
        if kind == "table" {
            let found = columns(connection, &name)?;
            let expected = columns(reference, &name)?;
            if !expected.iter().all(|column| found.contains(column)) {
                return Err(schema_mismatch(&name));
            }
        }
    }
    // The sender of notices.
    connection.execute(
        "INSERT INTO peers (id, kind, created_at, seen_at)
         SELECT 'broker', 'system', 0, 0
         WHERE NOT EXISTS (SELECT 1 FROM peers WHERE id = 'broker')",
        [],
    )?;
    Ok(())
}

fn schema_mismatch(table: &str) -> Error {
    let failure = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_SCHEMA);
    Error::SqliteFailure(failure, Some(format!("the table {table} is not ours")))
}

/// Whether a statement failed because the tables are not those that it expects.
#[must_use]
pub fn is_schema_mismatch(error: &Error) -> bool {
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
