//! The database: owner, permissions, integrity, and free space.

use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::config::Environment;
use crate::doctor::finding::{Finding, Level};
use crate::doctor::permissions::{
    CHANGE, FILE, check_name, check_permissions, foreign_owner, may_rename,
};
use crate::doctor::snapshot::Snapshot;
use crate::doctor::{shell, units};
use crate::endpoint::broker_lock::database_lock;
use crate::service::systemd::SOCKET;
use crate::sys::files::{beside, effective_uid};
use crate::sys::socket_owner::user_name;
use crate::sys::sqlite_error::{is_without_shared_memory, plain};
use crate::sys::trust::{Untrusted, check_database};

const CHECK: &str = "database";

/// A database of at most so many bytes, with its log, is always read whole: that takes some 50 ms.
const SMALL: u64 = 8 * 1024 * 1024;

/// How much of the database is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// All of it if it is small, else its beginning.
    Quick,
    /// All of it, indexes included.
    Whole,
}

/// With fewer free bytes than this, there is a warning.
const ROOM: u64 = 100 * 1024 * 1024;

/// With fewer free bytes than this, the next messages may be refused.
const NO_ROOM: u64 = 4 * 1024 * 1024;

pub fn check(snapshot: &Snapshot, depth: Depth) -> Vec<Finding> {
    let path = &snapshot.database;
    let directory = path.parent().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        return vec![
            Finding::failure(
                CHECK,
                format!("the directory {} does not exist", directory.display()),
            )
            .fix(format!("mkdir -p {}", shell::path(directory))),
        ];
    }
    let mut findings = Vec::new();
    findings.extend(place(&snapshot.config.environment, directory));
    findings.extend(exposed(snapshot));
    findings.extend(access(snapshot, path));
    findings.extend(room(directory));
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.uid() == effective_uid() => {
            findings.push(health(snapshot, path, metadata.len(), depth));
        }
        // If it had been removed, the broker would have written it again or reported why not.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && snapshot.detail().is_some_and(|detail| {
                    detail.database_problem.is_none()
                        && Path::new(&detail.database) == snapshot.config.database_path()
                }) =>
        {
            findings.push(
                Finding::warning(CHECK, format!("{} does not exist here", path.display())).detail(
                    "the broker sees other file systems, because it runs in a container or a sandbox",
                ),
            );
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
            findings.push(Finding::ok(
                CHECK,
                format!("{} does not exist yet; the first broker creates it", path.display()),
            ));
        }
        // Reported above.
        _ => {}
    }
    findings
}

/// Checks that files can be created in the directory: SQLite keeps its log beside the database.
fn place(environment: &Environment, directory: &Path) -> Option<Finding> {
    if rustix::fs::access(directory, CHANGE) != Err(rustix::io::Errno::ACCESS) {
        return None;
    }
    let owner = std::fs::metadata(directory).ok()?.uid();
    if owner != effective_uid() {
        return Some(foreign_owner(environment, CHECK, "the directory", directory, owner));
    }
    Some(
        Finding::failure(
            CHECK,
            format!("you cannot write in the directory {}", directory.display()),
        )
        .fix(format!("chmod u+rwx {}", shell::path(directory))),
    )
}

/// Reports a directory in which other users could interfere, where the broker uses no database.
fn exposed(snapshot: &Snapshot) -> Option<Finding> {
    let config = &snapshot.config;
    let error = check_database(config.database_path(), &config.paths.home).err()?;
    let finding = Finding::failure(CHECK, error.to_string());
    Some(match &error {
        Untrusted::Database { entry, may_close: true, .. } => finding
            .detail("another user could put other files in the place of the database's")
            .fix(format!("chmod go-w {}", shell::path(entry))),
        _ => finding.detail(error.hint()),
    })
}

/// Checks the owner and mode of all files of the database. The broker refuses foreign files.
fn access(snapshot: &Snapshot, path: &Path) -> Option<Finding> {
    let log = beside(path, "-wal");
    let lock = database_lock(path);
    let files = [path.to_owned(), log.clone(), beside(path, "-shm"), lock.clone()];
    let owner = |file: &PathBuf| {
        std::fs::metadata(file).ok().map(|m| m.uid()).filter(|uid| *uid != effective_uid())
    };
    let foreign: Vec<&PathBuf> = files.iter().filter(|file| owner(file).is_some()).collect();
    if let Some((first, owner)) = foreign.first().and_then(|first| Some((first, owner(first)?))) {
        let finding = Finding::failure(
            CHECK,
            format!("the database {} belongs to user {}", first.display(), user_name(owner)),
        )
        .detail("the broker refuses to use a database that belongs to another user");
        return Some(finding.fix(mine(snapshot, path, &foreign, owner)));
    }
    let environment = &snapshot.config.environment;
    let finding = files.iter().find_map(|file| {
        check_permissions(environment, CHECK, "the database", file, FILE)
            .filter(|finding| finding.level == Level::Failure)
            .or_else(|| named(file, path, &lock))
    });
    let open = || {
        files
            .iter()
            .find_map(|file| check_permissions(environment, CHECK, "the database", file, FILE))
    };
    let finding = finding.or_else(open)?;
    if finding.fix.is_some() || finding.level == Level::Failure {
        return Some(finding);
    }
    let there: Vec<String> =
        files.iter().filter(|file| file.exists()).map(|file| shell::path(file)).collect();
    Some(
        finding
            .detail("other users may read your messages")
            .fix(format!("chmod 600 {}", there.join(" "))),
    )
}

/// Reports a link or a second name. The broker replaces a lock with a second name itself.
fn named(file: &Path, database: &Path, lock: &Path) -> Option<Finding> {
    // A link of the database to a file that is not there yet is followed, as one to a file is.
    let is_followed = file == database && file.is_symlink();
    if is_followed || (file == lock && !file.is_symlink()) {
        return None;
    }
    check_name(CHECK, "the database", file)
}

/// Returns the command after which all files of the database belong to this user.
fn mine(snapshot: &Snapshot, path: &Path, foreign: &[&PathBuf], owner: u32) -> String {
    let words: Vec<String> = foreign.iter().map(|file| shell::path(file)).collect();
    let give = format!("chown {} {}", effective_uid(), words.join(" "));
    let command = match shell::as_root(&snapshot.config.environment, &give) {
        Some(command) => command,
        None => leave(path, foreign, owner).unwrap_or_else(|| shell::by_su(&give)),
    };
    // A service that could not start was disabled for a while.
    match snapshot.unit(SOCKET) {
        Some(_) => format!("{command} && {}", units::listen_again(snapshot)),
        None => command,
    }
}

/// Returns the command that renames foreign files, so that the broker starts without them.
///
/// A lock file has no contents to lose; a database is renamed with its log. `None` if renaming is
/// not possible, or if only the log is foreign, which is a part of our own database.
fn leave(path: &Path, foreign: &[&PathBuf], owner: u32) -> Option<String> {
    let lock = database_lock(path);
    let mut files: Vec<PathBuf> = foreign.iter().map(|file| (*file).clone()).collect();
    if foreign.iter().any(|file| *file == path) {
        let whole = ["-wal", "-shm"].map(|suffix| beside(path, suffix));
        files.extend(whole.into_iter().filter(|file| file.exists() && !foreign.contains(&file)));
    } else if files.iter().any(|file| *file != lock) {
        return None;
    }
    let away = |file: &PathBuf| format!("mv {0} {0}.of-{owner}", shell::path(file));
    may_rename(path).then(|| files.iter().map(away).collect::<Vec<_>>().join(" && "))
}

fn room(directory: &Path) -> Option<Finding> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let text = format!("only {} are free on the disk of {}", size(free), directory.display());
    let make = format!("du -xh -d 2 {} | sort -h | tail", shell::path(directory));
    let why = "messages that cannot be stored are refused with an error; the command shows what uses the space";
    match free {
        ..NO_ROOM => Some(Finding::failure(CHECK, text).detail(why).fix(make)),
        NO_ROOM..ROOM => Some(Finding::warning(CHECK, text).detail(why).fix(make)),
        ROOM.. => None,
    }
}

fn health(snapshot: &Snapshot, path: &Path, bytes: u64, depth: Depth) -> Finding {
    let log = std::fs::metadata(beside(path, "-wal")).map_or(0, |m| m.len());
    let shown = path.display();
    // Without a broker, a check would have to merge the log first, and doctor changes nothing.
    if snapshot.detail().is_none() && log > 0 {
        return Finding::ok(CHECK, format!("{shown}, {}", size(bytes))).detail(format!(
            "not checked: the broker checks it at its next start and merges the write-ahead log ({})",
            size(log)
        ));
    }
    let pragma = match depth {
        Depth::Whole => Some("PRAGMA integrity_check(1)"),
        Depth::Quick if bytes.saturating_add(log) <= SMALL => Some("PRAGMA quick_check(1)"),
        Depth::Quick => None,
    };
    match inspect(path, snapshot.detail().is_none(), pragma) {
        Ok((Some(report), ..)) if report != "ok" => damaged(snapshot, path, &report),
        Ok((report, schema, journal)) => {
            let state = if report.is_some() { "is intact" } else { "can be read" };
            let finding = Finding::ok(
                CHECK,
                format!(
                    "{shown} {state}: {}, schema {schema}, {journal} journal of {}",
                    size(bytes),
                    size(log)
                ),
            );
            match report {
                Some(_) => finding,
                None => finding.detail("not read whole, because it is large: `claude-peers doctor --deep` does, which takes a while"),
            }
        }
        Err(error) => match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                damaged(snapshot, path, &plain(&error))
            }
            // Without shared memory in the file system, the broker alone can open the database.
            Some(rusqlite::ErrorCode::DatabaseBusy) if snapshot.detail().is_some() => {
                Finding::ok(CHECK, format!("{shown}, {}", size(bytes)))
                    .detail("not checked: on this file system only the broker can open it")
            }
            _ if snapshot.detail().is_some() && is_without_shared_memory(&error) => {
                Finding::ok(CHECK, format!("{shown}, {}", size(bytes)))
                    .detail("not checked: on this file system only the broker can open it")
            }
            _ => Finding::warning(CHECK, format!("{shown} cannot be checked: {}", plain(&error))),
        },
    }
}

fn damaged(snapshot: &Snapshot, path: &Path, report: &str) -> Finding {
    Finding::failure(CHECK, format!("{} is damaged: {report}", path.display()))
        .detail("at its next start the broker moves it aside unchanged and creates a new one")
        .fix(snapshot.restart())
}

/// Returns the result of the check that this pragma makes, the schema's version and the journal mode.
///
/// It only reads, beside the broker, which a reader does not block.
fn inspect(
    path: &Path,
    alone: bool,
    pragma: Option<&str>,
) -> rusqlite::Result<(Option<String>, i64, String)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Without a writer, SQLite need not even create the files of shared memory.
    let immutable = if alone { "&immutable=1" } else { "" };
    let uri = format!("file:{}?mode=ro{immutable}", escaped(path));
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(2))?;
    let text = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, String>(0));
    let report = pragma.map(text).transpose()?;
    // Reads the definitions of all tables.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let schema = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok((report, schema, text("PRAGMA journal_mode")?))
}

/// Encodes a path for a URI of SQLite, byte by byte.
fn escaped(path: &Path) -> String {
    let mut escaped = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02x}");
        }
    }
    escaped
}

/// Returns a number of bytes as "12 KiB", "3.4 MiB" and the like.
fn size(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss)] // one decimal
    let bytes = bytes as f64;
    let kib = bytes / 1024.0;
    match kib {
        ..1.0 => format!("{bytes} B"),
        1.0..1024.0 => format!("{kib:.0} KiB"),
        1024.0..1_048_576.0 => format!("{:.1} MiB", kib / 1024.0),
        _ => format!("{:.1} GiB", kib / 1_048_576.0),
    }
}
