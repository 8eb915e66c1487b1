//! Opening the database: permissions, checks, migrations, and the import of a legacy database.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};

use crate::broker::store::error::{OpenError, is_damage};
use crate::broker::store::import::{Import, Imported};
use crate::broker::store::legacy;
use crate::broker::store::location::move_damaged_aside;
use crate::broker::store::meta;
use crate::broker::store::origin::SchemaOrigin;
use crate::broker::store::schema;
use crate::broker::store::schema::{SCHEMA_VERSION, columns};
use crate::broker::store::status::DatabaseStatus;
use crate::sys::files::{beside, check_own};
use crate::sys::sqlite_error::is_without_shared_memory;

/// Above this size, in bytes, a full check is made only after an unclean stop: it takes about 1.3 ms
/// per megabyte.
const ALWAYS_CHECKED: u64 = 64 * 1024 * 1024;

/// Which database is to be opened, and for which broker.
pub struct StoreOptions<'a> {
    /// The path in the settings.
    pub path: &'a Path,
    /// The port on which a broker of the TypeScript claude-peers would listen.
    pub legacy_port: u16,
    /// The description of this broker in the lock file before it listens.
    pub starting_owner: &'a str,
    /// The description of this broker from then on.
    pub owner: &'a str,
    /// A path beside which is saved what would be lost otherwise.
    pub rescue_file: &'a Path,
    /// Receives what becomes of the database.
    pub status: DatabaseStatus,
}

/// What opening the database has changed.
#[derive(Debug, Default)]
pub struct OpenedStore {
    /// Where a damaged database was moved, whole.
    pub moved_to: Option<PathBuf>,
    /// The copy of a legacy database, whose messages are in the history now.
    pub legacy_copy: Option<PathBuf>,
    /// The legacy database could not be read whole: the rest is in the copy alone.
    pub imported_in_part: bool,
}

/// A step of opening the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OpeningStep {
    #[default]
    Opening,
    Checking,
    /// A legacy database is imported.
    Importing,
    /// A database of an earlier version is migrated.
    Migrating,
}

/// The step that is under way, for other threads to read. Each clone is the same.
#[derive(Debug, Clone, Default)]
pub struct OpeningProgress(Arc<Mutex<OpeningStep>>);

impl OpeningProgress {
    fn set(&self, step: OpeningStep) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }

    /// Describes the step: "taking over …".
    #[must_use]
    pub fn describe(&self, path: &Path) -> String {
        let database = path.display();
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            OpeningStep::Opening => format!("opening the database {database}"),
            OpeningStep::Checking => format!("checking the database {database}"),
            OpeningStep::Importing => {
                format!("taking over the database {database} of the TypeScript claude-peers")
            }
            OpeningStep::Migrating => {
                format!("taking over the database {database} of an earlier version")
            }
        }
    }
}

/// Opens, checks and migrates the database at `path`. The caller holds its lock.
///
/// # Errors
///
/// If the database cannot be used. Nothing is touched before it is known to be ours.
pub fn open(
    path: &Path,
    legacy_port: u16,
    progress: &OpeningProgress,
) -> Result<(Connection, OpenedStore), OpenError> {
    match open_for(path, legacy_port, DatabaseSharing::Shared, progress) {
        Err(OpenError::Sqlite { error, .. }) if is_without_shared_memory(&error) => {
            tracing::warn!(
                event = "storage",
                "the file system of {} does not support shared memory, so only the broker can open the database while it runs",
                path.display()
            );
            open_for(path, legacy_port, DatabaseSharing::Exclusive, progress)
        }
        opened => opened,
    }
}

/// Creates a new database at `path`, where there is no file.
pub fn create(path: &Path) -> Result<Connection, OpenError> {
    // The port matters only for a legacy database.
    open(path, 0, &OpeningProgress::default()).map(|(connection, _)| connection)
}

/// Which processes may use the database while the broker has it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DatabaseSharing {
    /// Any process: `doctor` or a backup, say. SQLite keeps the index of the log in memory that
    /// processes share through a file.
    Shared,
    /// Only the broker. The index is in its own memory, which works on any file system.
    Exclusive,
}

fn open_for(
    path: &Path,
    legacy_port: u16,
    sharing: DatabaseSharing,
    progress: &OpeningProgress,
) -> Result<(Connection, OpenedStore), OpenError> {
    check_files(path)?;
    progress.set(OpeningStep::Checking);
    let mut opened = OpenedStore::default();
    let sqlite = |error| OpenError::Sqlite { path: path.into(), error };
    let connection = match try_open(path, sharing) {
        Ok(connection) => connection,
        Err(error) if is_damage(&error) => {
            opened.moved_to = Some(
                move_damaged_aside(path)
                    .map_err(|error| OpenError::Io { path: path.into(), error })?,
            );
            try_open(path, sharing).map_err(sqlite)?
        }
        Err(error) => return Err(sqlite(error)),
    };
    match SchemaOrigin::of(&connection).map_err(sqlite)? {
        SchemaOrigin::New => {
            make_private(path)?;
            schema::migrate(&connection, 0).map_err(sqlite)?;
            Ok((connection, opened))
        }
        SchemaOrigin::Ours(version) if version > SCHEMA_VERSION => {
            Err(OpenError::Newer { path: path.into(), found: version, known: SCHEMA_VERSION })
        }
        SchemaOrigin::Ours(version) => {
            if version < SCHEMA_VERSION {
                progress.set(OpeningStep::Migrating);
            }
            make_private(path)?;
            match schema::migrate(&connection, version) {
                Ok(()) => Ok((connection, opened)),
                Err(error) if schema::is_schema_mismatch(&error) => {
                    tracing::warn!(
                        event = "storage",
                        "the tables of the database are not those of this version: {error}"
                    );
                    progress.set(OpeningStep::Importing);
                    import_legacy(connection, path, opened, sharing)
                }
                Err(error) => Err(sqlite(error)),
            }
        }
        SchemaOrigin::Legacy => {
            legacy::refuse_if_running(path, legacy_port)?;
            progress.set(OpeningStep::Importing);
            import_legacy(connection, path, opened, sharing)
        }
        SchemaOrigin::Foreign => Err(OpenError::Foreign { path: path.into() }),
    }
}

/// Replaces a database whose tables cannot be used, and opens the new one.
fn import_legacy(
    connection: Connection,
    path: &Path,
    mut opened: OpenedStore,
    sharing: DatabaseSharing,
) -> Result<(Connection, OpenedStore), OpenError> {
    let sqlite = |error| OpenError::Sqlite { path: path.into(), error };
    let import = Import::find(&connection).map_err(sqlite)?;
    let (copy, imported) = legacy::take_over(connection, path, &import)?;
    opened.legacy_copy = Some(copy);
    opened.imported_in_part = imported == Imported::InPart;
    let connection = try_open(path, sharing).map_err(sqlite)?;
    schema::migrate(&connection, SCHEMA_VERSION).map_err(sqlite)?;
    Ok((connection, opened))
}

/// Refuses what is not a file of ours alone, at the path of the database and of every file that SQLite
/// opens beside it: SQLite itself would follow a link, and wait for a pipe.
fn check_files(path: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let file = beside(path, suffix);
        check_own(&file).map_err(|error| OpenError::Io { path: file, error })?;
    }
    Ok(())
}

/// Denies other users access to a database that is known to be ours, and to its side files, which
/// SQLite creates with the mode of the database.
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

/// Opens and checks the file. An error for which [`is_damage`] holds means that it must be replaced.
fn try_open(path: &Path, sharing: DatabaseSharing) -> rusqlite::Result<Connection> {
    // SQLite would create the file with the mode that the umask leaves.
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop);
    if let Err(error) = created
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        tracing::debug!("the database cannot be created: {error}");
    }
    let has_log = std::fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // A log that a crash left stays until the database is known to be ours and sound. Otherwise
    // closing the connection would checkpoint and remove it.
    schema::set_persist_wal(&connection, has_log)?;
    connection.busy_timeout(std::time::Duration::from_secs(2))?;
    if sharing == DatabaseSharing::Exclusive {
        // Set before the first read, because it decides where the index of the log is kept.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    // A database of another program need not pass this check: only its rows are read.
    if matches!(SchemaOrigin::of(&connection)?, SchemaOrigin::Ours(_))
        && !is_sound(&connection, path, was_clean(&connection)?)?
    {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT),
            Some("quick_check found damage".to_owned()),
        ));
    }
    Ok(connection)
}

/// Whether the database is sound. `quick_check` reports damage as text, not as an error.
fn is_sound(connection: &Connection, path: &Path, was_clean: bool) -> rusqlite::Result<bool> {
    let size = std::fs::metadata(path).map_or(0, |m| m.len());
    if was_clean && size > ALWAYS_CHECKED {
        return Ok(true);
    }
    let report: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok(report == "ok")
}

/// Whether the broker before this one closed the database in order.
fn was_clean(connection: &Connection) -> rusqlite::Result<bool> {
    if columns(connection, "meta")?.is_empty() {
        return Ok(false);
    }
    match meta::get(connection, meta::CLEAN) {
        Err(error) if is_damage(&error) => Err(error),
        clean => Ok(clean.is_ok_and(|word| word.as_deref() == Some("yes"))),
    }
}
