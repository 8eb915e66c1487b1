//! Opening the database: permissions, the one-broker lock, pragmas, migrations.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::broker::store::import::{History, Taken};
use crate::broker::store::tables;
use crate::broker::store::tables::{Shape, columns};
use crate::broker::store::{Doing, OpenError, Opened, Step, damage, legacy};
use crate::protocol::{PeerId, Timestamp};
use crate::sys::files::{beside, effective_uid};
use crate::sys::sqlite_error::is_without_shared_memory;

/// `PRAGMA user_version` of a database that this build reads and writes.
#[allow(clippy::cast_possible_wrap)] // a handful
pub(super) const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// One step per version; a released step is never changed.
const MIGRATIONS: [&str; 4] = [
    include_str!("migration-1.sql"),
    include_str!("migration-2.sql"),
    include_str!("migration-3.sql"),
    include_str!("migration-4.sql"),
];

/// Opens, checks and migrates, under the lock. Order matters: nothing is touched before the
/// database is known to be ours to touch.
pub fn open(
    path: &Path,
    legacy_port: u16,
    doing: &Doing,
) -> Result<(Connection, Opened), OpenError> {
    match open_for(path, legacy_port, Users::Many, doing) {
        Err(OpenError::Sqlite { error, .. }) if is_without_shared_memory(&error) => {
            tracing::warn!(
                event = "storage",
                "the file system of {} has no memory that processes share: only the broker can use the database while it runs",
                path.display()
            );
            open_for(path, legacy_port, Users::Us, doing)
        }
        opened => opened,
    }
}

/// Who may use the database while we have it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Users {
    /// Whoever wants to, `doctor` or a backup, say. SQLite then keeps its index of the log in memory
    /// that all of them share, by a file.
    Many,
    /// Nobody else. The index is in our own memory, which any file system allows.
    Us,
}

fn open_for(
    path: &Path,
    legacy_port: u16,
    users: Users,
    doing: &Doing,
) -> Result<(Connection, Opened), OpenError> {
    check_owner(path)?;
    doing.now(Step::Checking);
    let mut opened = Opened::default();
    let sqlite = |error| OpenError::Sqlite { path: path.into(), error };
    let connection = match try_open(path, users) {
        Ok(connection) => connection,
        Err(error) if damage::is_damage(&error) => {
            opened.moved_to = Some(move_aside(path)?);
            try_open(path, users).map_err(sqlite)?
        }
        Err(error) => return Err(sqlite(error)),
    };
    match Shape::of(&connection).map_err(sqlite)? {
        Shape::New => {
            make_private(path)?;
            migrate(&connection, 0).map_err(sqlite)?;
            Ok((connection, opened))
        }
        Shape::Ours(version) if version > SCHEMA_VERSION => {
            Err(OpenError::Newer { path: path.into(), found: version, known: SCHEMA_VERSION })
        }
        Shape::Ours(version) => {
            if version < SCHEMA_VERSION {
                doing.now(Step::Migrating);
            }
            make_private(path)?;
            match migrate(&connection, version) {
                Ok(()) => Ok((connection, opened)),
                Err(error) if tables::is_wrong_shape(&error) => {
                    tracing::warn!(event = "storage", "the tables of the database: {error}");
                    doing.now(Step::TakingOver);
                    take_over(connection, path, opened, users)
                }
                Err(error) => Err(sqlite(error)),
            }
        }
        Shape::Legacy => {
            legacy::refuse_if_running(path, legacy_port)?;
            doing.now(Step::TakingOver);
            take_over(connection, path, opened, users)
        }
        Shape::Foreign => Err(OpenError::Foreign { path: path.into() }),
    }
}

/// Goes on with a new database in the place of one whose tables cannot serve.
fn take_over(
    connection: Connection,
    path: &Path,
    mut opened: Opened,
    users: Users,
) -> Result<(Connection, Opened), OpenError> {
    let sqlite = |error| OpenError::Sqlite { path: path.into(), error };
    let history = History::find(&connection).map_err(sqlite)?;
    let (copy, taken) = legacy::take_over(connection, path, &history)?;
    opened.legacy_copy = Some(copy);
    opened.taken_in_part = taken == Taken::Part;
    let connection = try_open(path, users).map_err(sqlite)?;
    migrate(&connection, SCHEMA_VERSION).map_err(sqlite)?;
    Ok((connection, opened))
}

/// A fresh database in the place of one that was moved away.
pub fn create(path: &Path) -> Result<Connection, OpenError> {
    // Nothing lies there, so nobody is asked whether it is his.
    open(path, 0, &Doing::default()).map(|(connection, _)| connection)
}

/// A new database with what `fill` writes to it, in the empty file `path` and nothing beside it.
pub fn build<T>(
    path: &Path,
    fill: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let transaction = immediate(&connection)?;
    step_up(&transaction, 0)?;
    settle(&transaction)?;
    let filled = fill(&transaction)?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(filled)
}

/// All of our tables, as this version has them, and nothing in them.
pub(super) fn model() -> rusqlite::Result<Connection> {
    let model = Connection::open_in_memory()?;
    MIGRATIONS.iter().try_for_each(|step| model.execute_batch(step))?;
    Ok(model)
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
fn make_private(path: &Path) -> Result<(), OpenError> {
    let io = |error| OpenError::Io { path: path.into(), error };
    for suffix in ["", "-wal", "-shm"] {
        let file = beside(path, suffix);
        match std::fs::metadata(&file) {
            Ok(metadata) if metadata.mode() & 0o077 != 0 => {
                let private = std::fs::Permissions::from_mode(0o600);
                std::fs::set_permissions(&file, private).map_err(io)?;
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    Ok(())
}

/// Opens and checks; an error that [`damage::is_damage`] means that the file must give way.
fn try_open(path: &Path, users: Users) -> rusqlite::Result<Connection> {
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
    if users == Users::Us {
        // Before anything is read: it decides where the index of the log is to be.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    // Of a database of others this would ask more than that it can be read.
    if matches!(Shape::of(&connection)?, Shape::Ours(_))
        && !damage::is_sound(&connection, path, was_clean(&connection)?)?
    {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            Some("quick_check found damage".to_owned()),
        ));
    }
    Ok(connection)
}

fn was_clean(connection: &Connection) -> rusqlite::Result<bool> {
    if columns(connection, "meta")?.is_empty() {
        return Ok(false);
    }
    let clean: rusqlite::Result<String> =
        connection.query_row("SELECT value FROM meta WHERE key = 'clean'", [], |row| row.get(0));
    match clean {
        Err(error) if damage::is_damage(&error) => Err(error),
        clean => Ok(clean.is_ok_and(|word| word == "yes")),
    }
}

/// Brings a database of the schema `version` to ours.
fn migrate(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    configure(connection)?;
    let transaction = immediate(connection)?;
    step_up(&transaction, version)?;
    tables::complete(&transaction, &model()?)?;
    settle(&transaction)?;
    transaction.commit()
}

fn immediate(connection: &Connection) -> rusqlite::Result<Transaction<'_>> {
    Transaction::new_unchecked(connection, TransactionBehavior::Immediate)
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

fn step_up(transaction: &Transaction<'_>, version: i64) -> rusqlite::Result<()> {
    for step in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        transaction.execute_batch(step)?;
    }
    Ok(())
}

/// What every database of ours says.
fn settle(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO peers (id, kind, name, name_source, created_at, seen_at)
         SELECT ?1, 'cli', 'cli', 'reserved', ?2, ?2
         WHERE NOT EXISTS (SELECT 1 FROM peers WHERE kind = 'cli')",
        (PeerId::generate().as_str(), Timestamp::now().millis()),
    )?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.execute(
        "INSERT INTO meta (key, value) VALUES ('clean', 'no')
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [],
    )?;
    Ok(())
}

/// Says in the database that its last user closed it in order.
pub fn mark_clean(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("UPDATE meta SET value = 'yes' WHERE key = 'clean'", [])?;
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
