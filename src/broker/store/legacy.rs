//! Replaces a legacy database at our path: one of the TypeScript claude-peers or of a fork, or one of
//! ours whose tables are not ours any more.
//!
//! The database is copied aside, whole, and a new one takes its place in one step. Its messages are
//! in the history there, and its peer ids are not used again. While its broker runs nothing is
//! touched, because that broker would go on writing to a file without a name.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::broker::store::error::OpenError;
use crate::broker::store::import::{Import, Imported};
use crate::broker::store::location::aside_path;
use crate::broker::store::schema;
use crate::endpoint::typescript;
use crate::sys::files::{NewFile, beside, sync_directory};

/// Refuses if the legacy broker answers on its port, or if any process has the file open.
///
/// # Errors
///
/// [`OpenError::LegacyRuns`].
pub fn refuse_if_running(path: &Path, port: u16) -> Result<(), OpenError> {
    let owner = if typescript::answers(port) {
        Some(format!(" (port {port} answers)"))
    } else {
        process_with_open(path).map(|pid| format!(" (process {pid} has it open)"))
    };
    match owner {
        Some(owner) => Err(OpenError::LegacyRuns { path: path.into(), owner }),
        None => Ok(()),
    }
}

/// Returns another process that has the file open, where the system tells (`/proc`).
fn process_with_open(path: &Path) -> Option<u32> {
    let wanted = path.canonicalize().ok()?;
    let processes = std::fs::read_dir("/proc").ok()?;
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .find(|pid| {
            std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|files| {
                files
                    .flatten()
                    .any(|file| std::fs::read_link(file.path()).is_ok_and(|f| f == wanted))
            })
        })
}

/// Replaces the database by a new one with its history. Returns the path of the copy, and whether
/// all of the database could be read.
///
/// # Errors
///
/// If the copy or the new database cannot be written. All is then as before.
pub fn take_over(
    connection: Connection,
    path: &Path,
    import: &Import,
) -> Result<(PathBuf, Imported), OpenError> {
    let copy = copy_aside(&connection, path)?;
    let replaced = replace(connection, path, import);
    if replaced.is_err() {
        // The next attempt makes its own.
        let _ = std::fs::remove_file(&copy);
    }
    Ok((copy, replaced?))
}

/// Makes a whole copy of the database beside it, with the content of its log.
fn copy_aside(connection: &Connection, path: &Path) -> Result<PathBuf, OpenError> {
    let copy = aside_path(path, "typescript");
    // The file is created first, so that other users can never read it.
    crate::sys::files::write_private(&copy, "")
        .map_err(|error| OpenError::Io { path: path.into(), error })?;
    connection.backup("main", &copy, None::<fn(rusqlite::backup::Progress)>).map_err(|error| {
        let _ = std::fs::remove_file(&copy);
        OpenError::Sqlite { path: path.into(), error }
    })?;
    Ok(copy)
}

fn replace(connection: Connection, path: &Path, import: &Import) -> Result<Imported, OpenError> {
    let io = |error| OpenError::Io { path: path.into(), error };
    let sqlite = |error| OpenError::Sqlite { path: path.into(), error };
    let new = NewFile::named_within(path.parent().unwrap_or(Path::new("/"))).map_err(io)?;
    let name = new.path().unwrap_or(path).to_owned();
    let imported =
        schema::build(&name, |target| import.copy(&connection, target)).map_err(sqlite)?;
    new.file().sync_all().map_err(io)?;
    // Closing makes a checkpoint, so that the old file is whole until it is replaced.
    schema::set_persist_wal(&connection, false).map_err(sqlite)?;
    connection.close().map_err(|(_, error)| sqlite(error))?;
    new.replace(path).map_err(io)?;
    for suffix in ["-wal", "-shm"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    sync_directory(path).map_err(io)?;
    Ok(imported)
}
