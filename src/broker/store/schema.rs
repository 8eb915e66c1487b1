//! Opening the database: permissions, the one-broker lock, pragmas, migrations.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{OpenError, Opened, damage, legacy};
use crate::files::{beside, effective_uid};
use crate::protocol::PeerId;

/// `PRAGMA user_version` of a database that this build reads and writes.
#[allow(clippy::cast_possible_wrap)] // a handful
const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// One step per version; a released step is never changed.
const MIGRATIONS: [&str; 3] = [
    include_str!("migration-1.sql"),
    include_str!("migration-2.sql"),
    include_str!("migration-3.sql"),
];

enum Found {
    New,
    Ours,
    Legacy,
    Foreign,
}

/// Opens, checks and migrates, under the lock. Order matters: nothing is touched before the
/// database is known to be ours to touch.
pub fn open(path: &Path, legacy_port: u16) -> Result<(Connection, Opened), OpenError> {
    check_owner(path)?;
    let mut opened = Opened::default();
    let sqlite = |error| OpenError::Sqlite { path: path.into(), error };
    let mut connection = match try_open(path) {
        Ok(connection) => connection,
        Err(error) if damage::is_damage(&error) => {
            opened.moved_to = Some(move_aside(path)?);
            try_open(path).map_err(sqlite)?
        }
        Err(error) => return Err(sqlite(error)),
    };
    match inspect(&connection).map_err(sqlite)? {
        Found::New => {}
        Found::Ours => refuse_newer(&connection, path)?,
        Found::Foreign => return Err(OpenError::Foreign { path: path.into() }),
        Found::Legacy => {
            legacy::refuse_if_running(path, legacy_port)?;
            opened.legacy_copy = Some(legacy::copy_aside(&connection, path).map_err(sqlite)?);
        }
    }
    let migrated = make_private(path)
        .map_err(|error| OpenError::Io { path: path.into(), error })
        .and_then(|()| migrate(&mut connection, path));
    if let (Err(_), Some(copy)) = (&migrated, &opened.legacy_copy) {
        // Nothing was taken over; the next attempt makes its own.
        let _ = std::fs::remove_file(copy);
    }
    migrated.map(|()| (connection, opened))
}

/// A fresh database in the place of one that was moved away.
pub fn create(path: &Path) -> Result<Connection, OpenError> {
    let mut connection =
        try_open(path).map_err(|error| OpenError::Sqlite { path: path.into(), error })?;
    migrate(&mut connection, path)?;
    Ok(connection)
}

fn move_aside(path: &Path) -> Result<std::path::PathBuf, OpenError> {
    damage::move_aside(path).map_err(|error| OpenError::Io { path: path.into(), error })
}

/// A file, and ours.
fn check_owner(path: &Path) -> Result<(), OpenError> {
    let io = |error| OpenError::Io { path: path.into(), error };
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.uid() != effective_uid() => {
            Err(OpenError::Owner { path: path.into(), owner: metadata.uid() })
        }
        Ok(metadata) if !metadata.is_file() => Err(io(io::Error::other("it is not a file"))),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io(error)),
    }
}

/// For us alone, with its side files, which SQLite makes with the mode of the database. Not before
/// the database is known to be ours to touch.
fn make_private(path: &Path) -> io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let file = beside(path, suffix);
        match std::fs::metadata(&file) {
            Ok(metadata) if metadata.mode() & 0o077 != 0 => {
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600))?;
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Opens and checks; an error that [`is_damage`] means that the file must give way.
fn try_open(path: &Path) -> rusqlite::Result<Connection> {
    // Created by us, because SQLite would create it by the umask.
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop);
    if let Err(error) = created
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        tracing::debug!("the database cannot be created: {error}");
    }
    let has_log = std::fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // What a crash left in the log stays there until the database is known to be ours and sound:
    // closing it would fold the log in and remove it.
    keep_log(&connection, has_log)?;
    connection.busy_timeout(std::time::Duration::from_secs(2))?;
    let was_clean = was_clean(&connection)?;
    if !damage::is_sound(&connection, path, was_clean)? {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            Some("quick_check found damage".to_owned()),
        ));
    }
    Ok(connection)
}

fn was_clean(connection: &Connection) -> rusqlite::Result<bool> {
    if !has_table(connection, "meta")? {
        return Ok(false);
    }
    let clean: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE key = 'clean'", [], |row| row.get(0))
        .map(Some)
        .or_else(none_if_missing)?;
    Ok(clean.as_deref() == Some("yes"))
}

fn none_if_missing<T>(error: rusqlite::Error) -> rusqlite::Result<Option<T>> {
    match error {
        rusqlite::Error::QueryReturnedNoRows => Ok(None),
        error => Err(error),
    }
}

pub(super) fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)",
        [name],
        |row| row.get(0),
    )
}

fn inspect(connection: &Connection) -> rusqlite::Result<Found> {
    let version = user_version(connection)?;
    let tables: i64 = connection.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        [],
        |row| row.get(0),
    )?;
    Ok(if version > 0 && has_table(connection, "meta")? {
        Found::Ours
    } else if tables == 0 {
        Found::New
    } else if legacy::is_legacy(connection)? {
        Found::Legacy
    } else {
        Found::Foreign
    })
}

fn user_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn refuse_newer(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let found =
        user_version(connection).map_err(|error| OpenError::Sqlite { path: path.into(), error })?;
    if found > SCHEMA_VERSION {
        return Err(OpenError::Newer { path: path.into(), found, known: SCHEMA_VERSION });
    }
    Ok(())
}

fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |error| OpenError::Sqlite { path: path.into(), error };
    refuse_newer(connection, path)?;
    configure(connection).map_err(sqlite)?;
    apply(connection).map_err(sqlite)
}

/// Whether closing the connection leaves the log as it is.
pub(super) fn keep_log(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    keep_log(connection, false)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A message that was acknowledged survives power loss.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Without it a macOS disk may still hold the write in its cache.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // Each request has a savepoint, and what it may have to undo would be a file of its own.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // The writer folds the log in when nobody waits for it.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    // Otherwise a new value of a parameter may throw a statement's plan away.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn apply(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = user_version(&transaction)?;
    let legacy = version == 0 && legacy::is_legacy(&transaction)?;
    if legacy {
        legacy::rename_tables(&transaction)?;
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    if version == 0 {
        transaction.execute(
            "INSERT INTO peers (id, kind, name, name_source, created_at, seen_at)
             VALUES (?1, 'cli', 'cli', 'reserved', ?2, ?2)",
            (PeerId::generate().as_str(), crate::protocol::Timestamp::now().millis()),
        )?;
    }
    if legacy {
        legacy::import(&transaction)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.execute(
        "INSERT INTO meta (key, value) VALUES ('clean', 'no')
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [],
    )?;
    transaction.commit()
}

/// Says in the database that its last user closed it in order.
pub fn mark_clean(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE meta SET value = 'yes' WHERE key = 'clean'", [])?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
