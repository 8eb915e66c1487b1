//! Promise 1: the database is removed, moved or replaced under a running broker.

use std::path::{Path, PathBuf};

use claude_peers::sys::files::beside;
use rusqlite::Connection;
use serde_json::json;

use super::{suffixes, with_history};
use crate::support::http::RawPeer;
use crate::support::{Sandbox, send_signal, until};

/// Removes the files with these suffixes.
fn remove(database: &Path, suffixes: &[&str]) {
    for suffix in suffixes {
        std::fs::remove_file(beside(database, suffix)).unwrap();
    }
}

/// Checks that status, doctor and the log all say it.
#[track_caller]
fn says(sandbox: &Sandbox, words: &str) {
    let status = sandbox.ok(["status"]);
    assert!(status.contains(&format!("WARNING: the {words}")), "{status}");
    let (_, doctor) = doctor(sandbox);
    assert!(doctor.contains(words), "{doctor}");
    let log = std::fs::read_to_string(sandbox.config().paths.log).unwrap();
    assert!(log.contains(words), "{log}");
}

fn doctor(sandbox: &Sandbox) -> (bool, String) {
    let output = sandbox.run(["doctor", "--no-claude"]);
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// The texts in a database file, read without a broker.
#[track_caller]
fn texts(database: &Path) -> Vec<String> {
    let connection = Connection::open(database).unwrap();
    let sound: String = connection.query_row("PRAGMA integrity_check", [], |r| r.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let mut statement = connection.prepare("SELECT text FROM messages ORDER BY seq").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Registers two peers and sends the first message between them.
fn talking(sandbox: &Sandbox) -> (RawPeer, RawPeer) {
    sandbox.ok(["peers"]);
    let (a, b) = (RawPeer::register(sandbox, "a"), RawPeer::register(sandbox, "b"));
    a.send(sandbox, &b.id, "before");
    (a, b)
}

#[test]
fn what_was_accepted_before_and_after_the_database_was_removed_is_in_it() {
    for gone in [&[""][..], &["", "-wal"], &["", "-wal", "-shm"], &["", "-wal", "-shm", "-lock"]] {
        let sandbox = Sandbox::new();
        let (a, b) = talking(&sandbox);
        let database = sandbox.database();
        remove(&database, gone);
        a.send(&sandbox, &b.id, "after");
        // Killed at that moment, so that only what is on the disk is left.
        sandbox.kill9_broker().unwrap();
        until("the broker is gone", || sandbox.broker().is_none());
        assert_eq!(texts(&database), ["before", "after"], "{gone:?}");
    }
}

#[test]
fn a_removed_database_is_reported_by_status_doctor_and_log() {
    let sandbox = Sandbox::new();
    talking(&sandbox);
    remove(&sandbox.database(), &[""]);
    let status = sandbox.ok(["status"]);
    assert!(status.contains("WARNING: the database"), "{status}");
    assert!(status.contains("the broker still has its contents"), "{status}");
    // The message that doctor sends restores it.
    doctor(&sandbox);
    says(&sandbox, "database");
    let status = sandbox.json(["status"]);
    let note = status["health"]["database_note"].as_str().unwrap();
    assert!(note.contains("was removed or moved away while the broker was running"), "{note}");
    assert!(note.contains(&sandbox.database().display().to_string()), "{note}");
}

/// `rm DATABASE && claude-peers kill-broker`.
#[test]
fn kill_broker_says_nothing_of_a_database_that_is_not_there() {
    let sandbox = Sandbox::new();
    talking(&sandbox);
    remove(&sandbox.database(), &["", "-wal", "-shm"]);
    let said = sandbox.ok(["kill-broker"]);
    assert!(!said.contains("Nothing is lost"), "{said}");
    assert!(said.contains("a new, empty one is in use"), "{said}");
    let (_, saved) = said.split_once("the old contents are saved in ").unwrap();
    let saved = PathBuf::from(saved.lines().next().unwrap().trim_end_matches('.'));
    assert_eq!(texts(&saved), ["before"]);
    assert_eq!(texts(&sandbox.database()), Vec::<String>::new());
    // A broker that hangs cannot save anything.
    sandbox.ok(["peers"]);
    send_signal(sandbox.broker().unwrap().pid, rustix::process::Signal::STOP);
    remove(&sandbox.database(), &["", "-wal", "-shm"]);
    let (code, error) = sandbox.fails(["kill-broker"]);
    assert_eq!(code, 1);
    assert!(error.contains("peers and messages are lost"), "{error}");
    assert!(error.contains(&sandbox.database().display().to_string()), "{error}");
}

#[test]
fn a_session_notices_nothing_of_a_database_that_was_moved_away_and_the_moved_one_is_whole() {
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let mut frontend = sandbox.session("frontend");
    let id = backend.id();
    backend.send("frontend", "before");
    assert_eq!(frontend.push()["content"], "before");
    let database = sandbox.database();
    let moved = sandbox.path().join("moved.db");
    std::fs::rename(&database, &moved).unwrap();
    backend.send("frontend", "after");
    assert_eq!(frontend.push()["content"], "after");
    assert_eq!(backend.id(), id);
    assert_eq!(texts(&moved), ["before"]);
    says(&sandbox, "database");
    sandbox.ok(["kill-broker"]);
    assert_eq!(texts(&database), ["before", "after"]);
}

/// A backup is put back: by a rename (`rsync`, `mv`), or by a copy over it.
#[test]
fn another_database_in_its_place_serves_and_what_the_broker_had_is_saved() {
    let sandbox = Sandbox::new();
    with_history(&sandbox, 1, "of the backup");
    let database = sandbox.database();
    let backup = sandbox.path().join("backup.db");
    std::fs::copy(&database, &backup).unwrap();
    let mut backend = sandbox.session("backend");
    sandbox.ok(["send", "backend", "since then"]);
    assert_eq!(backend.push()["content"], "since then");
    std::fs::rename(&backup, &database).unwrap();
    let (code, error) = sandbox.fails(["send", "backend", "lost on the way"]);
    assert_eq!(code, 1);
    assert!(error.contains("was replaced while the broker was running"), "{error}");
    says(&sandbox, "database");
    let status = sandbox.json(["status"]);
    let note = status["health"]["database_note"].as_str().unwrap();
    let (_, saved) = note.split_once("the old contents are saved in ").unwrap();
    let saved = PathBuf::from(saved);
    // The session registers again by itself.
    until("the session is there again", || {
        sandbox.run(["send", "backend", "again"]).status.success()
    });
    assert_eq!(backend.push()["content"], "again");
    assert_eq!(texts(&saved), ["of the backup", "since then"]);
    let said = sandbox.ok(["kill-broker"]);
    assert!(said.contains(&saved.display().to_string()), "{said}");
    assert_eq!(texts(&database), ["of the backup", "again"]);
}

#[test]
fn a_database_that_is_copied_over_is_noticed_before_anything_more_is_accepted() {
    let sandbox = Sandbox::unlimited();
    with_history(&sandbox, 40, &"text ".repeat(1_000));
    let database = sandbox.database();
    let (a, b) = talking(&sandbox);
    // Another database, of another shape, in the same file.
    let other = Sandbox::unlimited();
    with_history(&other, 3, &"other ".repeat(5_000));
    std::fs::copy(other.database(), &database).unwrap();
    let answer = a.try_send(&sandbox, &b.id, "after");
    assert_eq!(answer.status, 503);
    let said = answer.json().to_string();
    assert!(said.contains("another program changed the database"), "{said}");
    let status = sandbox.ok(["status"]);
    assert!(status.contains("WARNING: the database was damaged"), "{status}");
    let (a, b) = talking(&sandbox);
    a.send(&sandbox, &b.id, "after all");
    sandbox.ok(["kill-broker"]);
    assert_eq!(texts(&database), ["before", "after all"]);
}

/// `: > FILE`, which keeps the file but not its content.
#[test]
fn what_was_emptied_in_place_costs_nothing_that_is_accepted_afterwards() {
    for suffix in ["", "-wal"] {
        let sandbox = Sandbox::new();
        let (a, b) = talking(&sandbox);
        let path = beside(&sandbox.database(), suffix);
        std::fs::File::create(path).unwrap();
        let answer = a.try_send(&sandbox, &b.id, "after");
        // A database whose content was all in the write-ahead log is restored; a log that is gone
        // is not.
        let expected = if suffix.is_empty() { 200 } else { 503 };
        assert_eq!(answer.status, expected, "{suffix:?}");
        if expected == 503 {
            let said = answer.json().to_string();
            assert!(
                said.contains("another program truncated the write-ahead log of the database"),
                "{said}"
            );
            let (a, b) = talking(&sandbox);
            a.send(&sandbox, &b.id, "after");
        }
        sandbox.kill9_broker().unwrap();
        until("the broker is gone", || sandbox.broker().is_none());
        assert_eq!(texts(&sandbox.database()), ["before", "after"], "{suffix:?}");
    }
}

/// As a backup program or a person with `sqlite3` does it.
#[test]
fn a_checkpoint_by_another_program_is_no_damage() {
    let sandbox = Sandbox::new();
    let (a, b) = talking(&sandbox);
    let connection = Connection::open(sandbox.database()).unwrap();
    let busy: bool =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
    assert!(!busy);
    assert_eq!(std::fs::metadata(beside(&sandbox.database(), "-wal")).unwrap().len(), 0);
    a.send(&sandbox, &b.id, "after");
    connection
        .execute("UPDATE peers SET summary = 'by another program' WHERE id = ?1", [&b.id])
        .unwrap();
    a.send(&sandbox, &b.id, "and later");
    assert!(!sandbox.ok(["status"]).contains("WARNING"));
    sandbox.kill9_broker().unwrap();
    until("the broker is gone", || sandbox.broker().is_none());
    assert_eq!(texts(&sandbox.database()), ["before", "after", "and later"]);
}

#[test]
fn a_database_that_was_only_touched_goes_on() {
    let sandbox = Sandbox::new();
    let (a, b) = talking(&sandbox);
    let file = std::fs::File::options().append(true).open(sandbox.database()).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    a.send(&sandbox, &b.id, "after");
    let status = sandbox.ok(["status"]);
    assert!(!status.contains("WARNING"), "{status}");
    sandbox.ok(["kill-broker"]);
    assert_eq!(texts(&sandbox.database()), ["before", "after"]);
}

#[test]
fn a_removed_write_ahead_log_costs_nothing() {
    for gone in [&["-wal"][..], &["-shm"], &["-wal", "-shm"]] {
        let sandbox = Sandbox::new();
        let (a, b) = talking(&sandbox);
        remove(&sandbox.database(), gone);
        a.send(&sandbox, &b.id, "after");
        says(&sandbox, "write-ahead log of");
        sandbox.kill9_broker().unwrap();
        until("the broker is gone", || sandbox.broker().is_none());
        assert_eq!(texts(&sandbox.database()), ["before", "after"], "{gone:?}");
    }
}

#[test]
fn without_its_directory_nothing_is_accepted_and_once_it_is_back_nothing_is_lost() {
    let sandbox = Sandbox::new();
    let directory = sandbox.path().join("place");
    std::fs::create_dir(&directory).unwrap();
    let database = directory.join("peers.db");
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", database.display().to_string());
    let (a, b) = talking(&sandbox);
    std::fs::remove_dir_all(&directory).unwrap();
    let answer = a.try_send(&sandbox, &b.id, "refused");
    assert_eq!(answer.status, 503);
    let said = answer.json().to_string();
    assert!(
        said.contains(&format!("the directory {} of the database", directory.display())),
        "{said}"
    );
    assert!(said.contains("mkdir -p"), "{said}");
    let status = sandbox.ok(["status"]);
    assert!(status.contains("WARNING: the directory"), "{status}");
    let (sound, said) = doctor(&sandbox);
    assert!(!sound, "{said}");
    std::fs::create_dir(&directory).unwrap();
    a.send(&sandbox, &b.id, "after");
    assert_eq!(texts(&database), ["before", "after"]);
    assert_eq!(sandbox.json(["status"])["health"]["database_problem"], json!(null));
    // A broker that must end without its directory says where everything is.
    std::fs::remove_dir_all(&directory).unwrap();
    let said = sandbox.ok(["kill-broker"]);
    let (_, saved) = said.split_once("its contents were saved in ").unwrap();
    let saved = PathBuf::from(saved.lines().next().unwrap().trim_end_matches('.'));
    assert_eq!(texts(&saved), ["before", "after"]);
}

#[test]
fn a_link_that_leads_elsewhere_now_leads_the_broker_there() {
    let sandbox = Sandbox::new();
    let [first, second] = ["first.db", "second.db"].map(|name| sandbox.path().join(name));
    let link = sandbox.path().join("link.db");
    std::os::unix::fs::symlink(&first, &link).unwrap();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", link.display().to_string());
    talking(&sandbox);
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&second, &link).unwrap();
    // Nothing is there yet: what the broker has goes there.
    let (a, b) = talking(&sandbox);
    a.send(&sandbox, &b.id, "to the second");
    assert_eq!(texts(&second), ["before", "before", "to the second"]);
    // Back to the first database, which has none of this.
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&first, &link).unwrap();
    let answer = a.try_send(&sandbox, &b.id, "refused");
    assert_eq!(answer.status, 503);
    let said = answer.json().to_string();
    assert!(said.contains(&second.display().to_string()), "{said}");
    sandbox.ok(["kill-broker"]);
    assert_eq!(texts(&first), ["before"]);
    assert_eq!(texts(&second), ["before", "before", "to the second"]);
    assert_eq!(suffixes(&link), Vec::<String>::new());
}
