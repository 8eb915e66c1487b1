//! The database: whose it is, whether it is sound, and whether there is room for more.

use std::fmt::Write as _;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::config::Environment;
use crate::doctor::finding::{Finding, Level};
use crate::doctor::permissions::{CHANGE, FILE, check_permissions, foreign_owner, may_rename};
use crate::doctor::snapshot::Snapshot;
use crate::doctor::{shell, units};
use crate::endpoint::broker_lock::database_lock;
use crate::service::systemd::SOCKET;
use crate::sys::files::{beside, effective_uid};
use crate::sys::socket_owner::user_name;
use crate::sys::sqlite_error::{is_without_shared_memory, plain};

const CHECK: &str = "database";

/// Below so many free bytes it is time to make room.
const ROOM: u64 = 100 * 1024 * 1024;

/// Below so many the next messages may be refused.
const NO_ROOM: u64 = 4 * 1024 * 1024;

pub fn check(snapshot: &Snapshot) -> Vec<Finding> {
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
    findings.extend(access(snapshot, path));
    findings.extend(room(directory));
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.uid() == effective_uid() => {
            findings.push(health(snapshot, path, metadata.len()));
        }
        // Had it been removed, the broker would have written it anew by now, or said why not.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && snapshot.detail().is_some_and(|detail| {
                    detail.database_problem.is_none()
                        && Path::new(&detail.database) == snapshot.config.database_path()
                }) =>
        {
            findings.push(
                Finding::warning(CHECK, format!("{} is not there", path.display())).detail(
                    "the broker that has it open sees other file systems (a container, a sandbox)",
                ),
            );
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {
            findings.push(Finding::ok(
                CHECK,
                format!("{} is not there yet; the first broker makes it", path.display()),
            ));
        }
        // Said above.
        _ => {}
    }
    findings
}

/// SQLite keeps its log beside the database, so the directory must take files.
fn place(environment: &Environment, directory: &Path) -> Option<Finding> {
    if rustix::fs::access(directory, CHANGE) != Err(rustix::io::Errno::ACCESS) {
        return None;
    }
    let owner = std::fs::metadata(directory).ok()?.uid();
    if owner != effective_uid() {
        return Some(foreign_owner(environment, CHECK, "the directory", directory, owner));
    }
    Some(
        Finding::failure(CHECK, format!("the directory {} is closed to you", directory.display()))
            .fix(format!("chmod u+rwx {}", shell::path(directory))),
    )
}

/// All files of the database at once: each belongs to one user, or the broker refuses them.
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
        .detail("the broker uses no database of somebody else");
        return Some(finding.fix(mine(snapshot, path, &foreign, owner)));
    }
    let finding = files.iter().find_map(|file| {
        check_permissions(&snapshot.config.environment, CHECK, "the database", file, FILE)
    })?;
    if finding.fix.is_some() || finding.level == Level::Failure {
        return Some(finding);
    }
    let there: Vec<String> =
        files.iter().filter(|file| file.exists()).map(|file| shell::path(file)).collect();
    Some(
        finding
            .detail("others may read your messages")
            .fix(format!("chmod 600 {}", there.join(" "))),
    )
}

/// The command after which no file of the database is another's.
fn mine(snapshot: &Snapshot, path: &Path, foreign: &[&PathBuf], owner: u32) -> String {
    let words: Vec<String> = foreign.iter().map(|file| shell::path(file)).collect();
    let give = format!("chown {} {}", effective_uid(), words.join(" "));
    let command = match shell::as_root(&snapshot.config.environment, &give) {
        Some(command) => command,
        None => leave(path, foreign, owner).unwrap_or_else(|| shell::by_su(&give)),
    };
    // A service that could not start was given up.
    match snapshot.unit(SOCKET) {
        Some(_) => format!("{command} && {}", units::listen_again(snapshot)),
        None => command,
    }
}

/// Goes on without them: a lock holds nothing, and a database goes whole, with its log. `None` if
/// that cannot be, or it is the log alone, which is a part of our own database.
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
    let text = format!("{} are free on the disk of {}", size(free), directory.display());
    let make = format!("du -xh -d 2 {} | sort -h | tail", shell::path(directory));
    let why = "a message that cannot be stored is refused, and the sender is told; this shows what takes room";
    match free {
        ..NO_ROOM => Some(Finding::failure(CHECK, text).detail(why).fix(make)),
        NO_ROOM..ROOM => Some(Finding::warning(CHECK, text).detail(why).fix(make)),
        ROOM.. => None,
    }
}

fn health(snapshot: &Snapshot, path: &Path, bytes: u64) -> Finding {
    let log = std::fs::metadata(beside(path, "-wal")).map_or(0, |m| m.len());
    let shown = path.display();
    // Without a broker a log that waits would have to be folded in, which is not ours to do.
    if snapshot.detail().is_none() && log > 0 {
        return Finding::ok(CHECK, format!("{shown}, {}", size(bytes))).detail(format!(
            "not looked into: the next broker checks it and folds in a log of {}",
            size(log)
        ));
    }
    match look_into(path, snapshot.detail().is_none()) {
        Ok((report, schema, journal)) if report == "ok" => Finding::ok(
            CHECK,
            format!(
                "{shown} is sound: {}, schema {schema}, journal {journal} of {}",
                size(bytes),
                size(log)
            ),
        ),
        Ok((report, ..)) => damaged(snapshot, path, &report),
        Err(error) => match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                damaged(snapshot, path, &plain(&error))
            }
            // The broker has it for itself where the file system has no shared memory.
            Some(rusqlite::ErrorCode::DatabaseBusy) if snapshot.detail().is_some() => {
                Finding::ok(CHECK, format!("{shown}, {}", size(bytes)))
                    .detail("not looked into: its file system lets the broker alone use it")
            }
            _ if snapshot.detail().is_some() && is_without_shared_memory(&error) => {
                Finding::ok(CHECK, format!("{shown}, {}", size(bytes)))
                    .detail("not looked into: its file system lets the broker alone use it")
            }
            _ => {
                Finding::warning(CHECK, format!("{shown} cannot be looked into: {}", plain(&error)))
            }
        },
    }
}

fn damaged(snapshot: &Snapshot, path: &Path, report: &str) -> Finding {
    Finding::failure(CHECK, format!("{} is damaged: {report}", path.display()))
        .detail("a broker that starts moves it aside, whole, and begins a new one")
        .fix(snapshot.restart())
}

/// `PRAGMA quick_check`, the schema's version and the journal mode. Reads only, beside the broker,
/// whom a reader does not hold up.
fn look_into(path: &Path, alone: bool) -> rusqlite::Result<(String, i64, String)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Nobody writes: then not even the files of shared memory are made.
    let immutable = if alone { "&immutable=1" } else { "" };
    let uri = format!("file:{}?mode=ro{immutable}", escaped(path));
    let connection = Connection::open_with_flags(uri, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(2))?;
    let text = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, String>(0));
    let report = text("PRAGMA quick_check(1)")?;
    let schema = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    Ok((report, schema, text("PRAGMA journal_mode")?))
}

/// A path as it stands in a URI of SQLite, to the byte.
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

/// "12 KiB", "3.4 MiB".
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
