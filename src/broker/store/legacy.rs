//! A database that the TypeScript claude-peers left at our path, or one of its forks, or one of
//! ours whose tables are not ours any more.
//!
//! It is copied aside, whole, and a new database takes its place in one step: its messages are
//! history there, its peer ids stay taken. While its broker still runs nothing is touched, because
//! that broker would go on writing to a file that has no name any more.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::broker::store::import::{History, Taken};
use crate::broker::store::location::aside;
use crate::broker::store::{OpenError, schema};
use crate::endpoint::typescript;
use crate::sys::files::{NewFile, beside, sync_directory};

/// Refuses if the old broker answers on its port, or if any process holds the file open.
pub fn refuse_if_running(path: &Path, port: u16) -> Result<(), OpenError> {
    let holder = if typescript::answers(port) {
        Some(format!(" (port {port} answers)"))
    } else {
        process_with_open(path).map(|pid| format!(" (process {pid} has it open)"))
    };
    match holder {
        Some(holder) => Err(OpenError::LegacyRuns { path: path.into(), holder }),
        None => Ok(()),
    }
}

/// Another process that has the file open, where the system tells (`/proc`).
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

/// Puts a new database in the place of this one, with its history. Gives where its copy lies, and
/// whether all of it could be read. Where it fails all is as it was before.
pub fn take_over(
    connection: Connection,
    path: &Path,
    history: &History,
) -> Result<(PathBuf, Taken), OpenError> {
    let copy = copy_aside(&connection, path)?;
    let replaced = replace(connection, path, history);
    if replaced.is_err() {
        // The next attempt makes its own.
        let _ = std::fs::remove_file(&copy);
    }
    Ok((copy, replaced?))
}

/// A whole copy, its log included, beside the original.
fn copy_aside(connection: &Connection, path: &Path) -> Result<PathBuf, OpenError> {
    let copy = aside(path, "typescript");
    // Made first, so that it is never readable by others.
    crate::sys::files::write_private(&copy, "")
        .map_err(|error| OpenError::Io { path: path.into(), error })?;
    connection.backup("main", &copy, None::<fn(rusqlite::backup::Progress)>).map_err(|error| {
        let _ = std::fs::remove_file(&copy);
        OpenError::Sqlite { path: path.into(), error }
    })?;
    Ok(copy)
}

fn replace(connection: Connection, path: &Path, history: &History) -> Result<Taken, OpenError> {
    let io = |error| OpenError::Io { path: path.into(), error };
    let sqlite = |error| OpenError::Sqlite { path: path.into(), error };
    let new = NewFile::named_within(path.parent().unwrap_or(Path::new("/"))).map_err(io)?;
    let name = new.path().unwrap_or(path).to_owned();
    let taken = schema::build(&name, |target| history.copy(&connection, target)).map_err(sqlite)?;
    new.file().sync_all().map_err(io)?;
    // What its log holds is in the copy. Folded in, it is in the file as well, until that goes.
    schema::keep_log(&connection, false).map_err(sqlite)?;
    connection.close().map_err(|(_, error)| sqlite(error))?;
    new.replace(path).map_err(io)?;
    for suffix in ["-wal", "-shm"] {
        match std::fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    sync_directory(path).map_err(io)?;
    Ok(taken)
}
