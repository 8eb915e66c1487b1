//! Promise 4: a database where others may write is refused, and so is a lock that they may write.

use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use claude_peers::endpoint::broker_lock::database_lock;
use claude_peers::sys::files::LockFile;
use serde_json::json;

use crate::support::{Sandbox, chmod, ends};

/// The broker refuses to run where another could exchange the files of its database, or have a lock
/// file there name a process that is to be ended.
#[test]
fn a_database_where_others_may_write_is_refused() {
    for (open, fix) in [(0o777, true), (0o1777, false), (0o733, true)] {
        let sandbox = Sandbox::new();
        let shared = sandbox.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        let database = shared.join("peers.db");
        let sandbox = sandbox.with("CLAUDE_PEERS_DB", database.to_str().unwrap());
        sandbox.ok(["peers"]);
        sandbox.ok(["kill-broker"]);
        let before = std::fs::read(&database).unwrap();
        chmod(&shared, open);
        // It names a process of ours that has nothing to do with claude-peers.
        let mut bystander = Command::new("sleep").arg("600").spawn().unwrap();
        let process = claude_peers::sys::process::of_pid(bystander.id()).unwrap();
        let record = json!({
            "pid": bystander.id(), "started": "fallback", "version": "0.0.1", "protocol": 0,
            "socket": sandbox.socket(), "process": process,
        });
        let path = database_lock(&database);
        std::fs::write(&path, record.to_string()).unwrap();
        // Others may write it, and so may hold its lock.
        chmod(&path, 0o666);
        let lock = std::fs::File::open(&path).unwrap();
        lock.lock().unwrap();
        let (_, error) = sandbox.fails(["broker"]);
        assert!(error.contains(shared.to_str().unwrap()), "{error}");
        assert!(error.contains("is writable by others"), "{error}");
        assert!(error.contains("hint: ") && error.contains("CLAUDE_PEERS_DB"), "{error}");
        assert_eq!(error.contains("chmod go-w"), fix, "{error}");
        sandbox.fails(["peers"]);
        sandbox.run(["kill-broker"]);
        assert!(bystander.try_wait().unwrap().is_none(), "a process that is not ours was ended");
        bystander.kill().unwrap();
        ends(&mut bystander);
        drop(lock);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(std::fs::read(&database).unwrap(), before, "nothing was written");

        let doctor = sandbox.run(["doctor", "--no-claude"]);
        let said = String::from_utf8(doctor.stdout).unwrap();
        assert!(said.contains("is writable by others"), "{said}");
        chmod(&shared, 0o755);
        sandbox.ok(["peers"]);
    }
}

/// A record that others could have written ends no process, wherever it lies.
#[test]
fn a_lock_that_others_may_write_ends_no_process() {
    for open in [0o666, 0o620] {
        let sandbox = Sandbox::new();
        sandbox.ok(["peers"]);
        let mut bystander = Command::new("sleep").arg("600").spawn().unwrap();
        let running = sandbox.broker().unwrap();
        chmod(&running.lock, open);
        assert!(!running.ask_to_stop() && !running.kill(), "{open:o}");
        sandbox.ok(["peers"]);
        chmod(&running.lock, 0o600);
        assert!(bystander.try_wait().unwrap().is_none());
        bystander.kill().unwrap();
        ends(&mut bystander);
        sandbox.ok(["kill-broker"]);
    }
}

/// The group of a user's own has no other member: many systems let it write in all that is new.
#[test]
fn a_database_in_a_directory_of_the_users_own_group_is_used() {
    let sandbox = Sandbox::new();
    let shared = sandbox.path().join("mine");
    std::fs::create_dir(&shared).unwrap();
    let own = rustix::process::getgid().as_raw();
    std::os::unix::fs::chown(&shared, None, Some(own)).unwrap();
    chmod(&shared, 0o770);
    let metadata = std::fs::metadata(&shared).unwrap();
    if claude_peers::sys::private_group::lets_others_write(&metadata) {
        println!("skipped: the group of this user has other members");
        return;
    }
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", shared.join("peers.db").to_str().unwrap());
    sandbox.ok(["peers"]);
}

/// While one broker has the database open, its lock is removed and another broker takes the new one.
/// A lock without a name is none: only one of the two may go on with the database.
#[test]
fn a_broker_whose_lock_was_removed_does_not_write_beside_another() {
    let sandbox = Sandbox::new();
    let mut session = sandbox.session("one");
    let id = session.id();
    sandbox.ok(["send", &id, "before"]);
    let path = database_lock(&sandbox.database());
    std::fs::remove_file(&path).unwrap();
    // Its own next write takes the lock of a new file.
    sandbox.ok(["send", &id, "after"]);
    assert!(sandbox.broker().is_some() && path.exists(), "it has the lock again");
    let inode = std::fs::metadata(&path).unwrap().ino();
    assert!(LockFile::try_take(&path).unwrap().is_none());
    assert_eq!(std::fs::metadata(&path).unwrap().ino(), inode);

    // Another process has taken the new file's lock.
    std::fs::remove_file(&path).unwrap();
    let other = LockFile::try_take(&path).unwrap().unwrap();
    let (_, error) = sandbox.fails(["send", &id, "beside another"]);
    assert!(error.contains("another broker has locked it"), "{error}");
    drop(other);
    sandbox.ok(["send", &id, "alone again"]);
    let log = sandbox.json(["log", "-n", "10"]).to_string();
    assert!(log.contains("alone again") && !log.contains("beside another"), "{log}");
}
