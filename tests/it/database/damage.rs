//! Promise 1: a damaged database is moved aside whole, all reports say so, and a new one serves.

use std::path::{Path, PathBuf};

use claude_peers::sys::files::beside;
use rusqlite::Connection;

use super::{suffixes, with_history};
use crate::support::http::RawPeer;
use crate::support::{Sandbox, until};

/// The only damaged database beside this one.
#[track_caller]
fn moved_aside(database: &Path) -> PathBuf {
    let moved: Vec<String> = suffixes(database)
        .into_iter()
        .filter(|suffix| {
            suffix.starts_with(".damaged-")
                && !suffix.ends_with("-wal")
                && !suffix.ends_with("-shm")
        })
        .collect();
    assert_eq!(moved.len(), 1, "{moved:?}");
    beside(database, &moved[0])
}

#[track_caller]
fn says_loudly(sandbox: &Sandbox, moved: &Path) {
    let status = sandbox.ok(["status"]);
    assert!(status.contains("WARNING: the database was damaged"), "{status}");
    assert!(status.contains(&moved.display().to_string()), "{status}");
    let json = sandbox.json(["status"]);
    assert_eq!(json["health"]["database_moved_to"], moved.display().to_string());
}

#[track_caller]
fn serves_a_new_database(sandbox: &Sandbox) {
    let (a, b) = (RawPeer::register(sandbox, "fresh-a"), RawPeer::register(sandbox, "fresh-b"));
    let id = a.send(sandbox, &b.id, "after all");
    assert_eq!(sandbox.message(&id)["text"], "after all");
}

#[test]
fn a_file_that_is_no_database_is_moved_aside_and_a_fresh_one_serves() {
    for garbage in [b"short".to_vec(), b"this is no database. ".repeat(1_000), vec![0; 8192]] {
        let sandbox = Sandbox::new();
        let database = sandbox.database();
        std::fs::write(&database, &garbage).unwrap();
        serves_a_new_database_after_start(&sandbox);
        let moved = moved_aside(&database);
        assert_eq!(std::fs::read(&moved).unwrap(), garbage);
        says_loudly(&sandbox, &moved);
    }
}

#[track_caller]
pub fn serves_a_new_database_after_start(sandbox: &Sandbox) {
    sandbox.ok(["peers"]);
    serves_a_new_database(sandbox);
}

#[test]
fn a_damaged_database_is_moved_aside_whole() {
    for damage in ["overwritten", "truncated"] {
        let sandbox = Sandbox::unlimited();
        with_history(&sandbox, 40, &"text ".repeat(1_000));
        let database = sandbox.database();
        let mut bytes = std::fs::read(&database).unwrap();
        match damage {
            "overwritten" => {
                let middle = bytes.len() / 2 / 4096 * 4096;
                bytes[middle..middle + 8 * 4096].fill(0xa5);
            }
            _ => bytes.truncate(bytes.len() / 2),
        }
        std::fs::write(&database, &bytes).unwrap();
        serves_a_new_database_after_start(&sandbox);
        let moved = moved_aside(&database);
        assert_eq!(std::fs::read(&moved).unwrap(), bytes, "{damage}");
        says_loudly(&sandbox, &moved);
        assert_eq!(sandbox.json(["log", "-n", "1000"])["messages"].as_array().unwrap().len(), 1);
        // Only the broker that found the damage warns of it. The file stays.
        sandbox.ok(["kill-broker"]);
        sandbox.ok(["peers"]);
        assert!(moved.exists());
        assert!(!sandbox.ok(["status"]).contains("WARNING"));
    }
}

/// What a crash left in the write-ahead log may be all that can be saved of a damaged database.
#[test]
fn the_log_of_a_damaged_database_is_moved_with_it() {
    let sandbox = Sandbox::unlimited();
    with_history(&sandbox, 40, &"text ".repeat(1_000));
    let database = sandbox.database();
    let connection = Connection::open(&database).unwrap();
    connection.execute("INSERT INTO meta VALUES ('last', 'words')", []).unwrap();
    let log = std::fs::read(beside(&database, "-wal")).unwrap();
    assert!(!log.is_empty());
    connection.close().unwrap();
    let mut bytes = std::fs::read(&database).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 8 * 4096].fill(0xa5);
    std::fs::write(&database, &bytes).unwrap();
    std::fs::write(beside(&database, "-wal"), &log).unwrap();
    serves_a_new_database_after_start(&sandbox);
    let moved = moved_aside(&database);
    assert_eq!(std::fs::read(beside(&moved, "-wal")).unwrap(), log);
    assert_eq!(std::fs::read(&moved).unwrap(), bytes);
    says_loudly(&sandbox, &moved);
}

/// Damage that shows while the broker runs, at the first access.
#[test]
fn damage_at_run_time_moves_the_database_aside_and_sessions_come_back() {
    for by_reading in [true, false] {
        let sandbox = Sandbox::unlimited();
        // More than SQLite's cache holds, so that it must read the file again.
        with_history(&sandbox, 100, &"text ".repeat(12_000));
        let mut session = sandbox.session("backend");
        let before = session.id();
        let database = sandbox.database();
        let mut bytes = std::fs::read(&database).unwrap();
        bytes[4096..].fill(0xa5);
        // In place, under the broker's open descriptor.
        let mut file = std::fs::File::options().write(true).open(&database).unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        let first = if by_reading {
            sandbox.run(["log", "-n", "10000"])
        } else {
            sandbox.run(["send", "backend", "first"])
        };
        if !first.status.success() {
            let error = String::from_utf8_lossy(&first.stderr).into_owned();
            // A request of the session may meet the damage before this one does.
            let told = "The database was damaged; it was moved aside";
            let after = "The database was replaced while the broker was running";
            assert!(error.contains(told) || error.contains(after), "{error}");
        }
        if by_reading {
            // No write happens, and what the error said is true nevertheless.
            until("reading works again", || sandbox.run(["log"]).status.success());
            says_loudly(&sandbox, &moved_aside(&database));
        }
        let mut sent = String::new();
        until("a fresh database serves the session", || {
            let output = sandbox.run(["send", "backend", "hello again"]);
            sent = String::from_utf8(output.stdout).unwrap();
            output.status.success()
        });
        assert_ne!(session.id(), before, "the new database does not know the old ids");
        says_loudly(&sandbox, &moved_aside(&database));
        let id = sent.split(' ').next().unwrap();
        assert_eq!(sandbox.message(id)["text"], "hello again");
    }
}
