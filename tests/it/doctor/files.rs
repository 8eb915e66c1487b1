//! Doctor: files of the wrong kind, in the wrong place, or of another user.

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use claude_peers::endpoint::broker_lock::database_lock;
use claude_peers::sys::files::beside;

use super::{is_clean, is_found_and_fixed};
use crate::support::{Sandbox, chmod};

/// A sandbox in which a broker ran and stopped.
fn used() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    sandbox.ok(["kill-broker"]);
    sandbox
}

fn remove(path: &Path) {
    if path.is_dir() {
        std::fs::remove_dir_all(path).unwrap();
    } else if path.exists() {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_is_no_socket_in_its_place_is_kept_and_moved_out_of_the_way() {
    let plants: [fn(&Path); 3] = [
        |path| std::fs::create_dir(path).unwrap(),
        |path| std::fs::write(path, "notes").unwrap(),
        |path| symlink("/nonexistent/socket", path).unwrap(),
    ];
    for plant in plants {
        let sandbox = used();
        let path = sandbox.socket();
        plant(&path);
        let there = std::fs::symlink_metadata(&path).unwrap().ino();
        let (_, error) = sandbox.fails(["peers"]);
        assert!(error.contains("is not a socket") && error.contains("move it away"), "{error}");
        is_found_and_fixed(&sandbox, "socket", "failure", &["not a socket"]);
        assert_eq!(std::fs::symlink_metadata(beside(&path, ".old")).unwrap().ino(), there);
    }

    // The same under a broker that runs.
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    std::fs::remove_file(sandbox.socket()).unwrap();
    std::fs::write(sandbox.socket(), "notes").unwrap();
    is_found_and_fixed(&sandbox, "socket", "failure", &["not a socket"]);
    assert_eq!(std::fs::read_to_string(beside(&sandbox.socket(), ".old")).unwrap(), "notes");
}

#[test]
fn a_link_to_the_brokers_socket_is_as_good_as_the_socket() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let elsewhere = sandbox.path().join("run/moved.sock");
    std::fs::rename(sandbox.socket(), &elsewhere).unwrap();
    symlink(&elsewhere, sandbox.socket()).unwrap();
    is_clean(&sandbox);
}

#[test]
fn what_is_no_token_is_replaced() {
    for garbage in [&b""[..], b"short", &[0xff; 64], b"0123456789abcdef\n0123456789abcdef"] {
        let sandbox = Sandbox::new();
        sandbox.ok(["peers"]);
        let path = sandbox.config().paths.token;
        std::fs::write(&path, garbage).unwrap();
        is_found_and_fixed(&sandbox, "files", "warning", &["token", "contains no token"]);
        // A broker that starts replaces it without doctor.
        sandbox.ok(["kill-broker"]);
        std::fs::write(&path, garbage).unwrap();
        sandbox.ok(["peers"]);
        assert_eq!(sandbox.ok(["token"]).trim().len(), 64);
    }
}

#[test]
fn a_broker_with_other_directories_is_asked_for_its_token() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let token = sandbox.token();
    let elsewhere = sandbox.path().join("home/elsewhere").display().to_string();
    let sandbox = sandbox.with("XDG_STATE_HOME", elsewhere);
    assert_eq!(sandbox.ok(["token"]).trim(), token);
    is_clean(&sandbox);
}

#[test]
fn what_is_of_the_wrong_kind_is_moved_away() {
    let sandbox = used();
    let paths = sandbox.config().paths;
    let files: [(PathBuf, &str); 6] = [
        (paths.token.clone(), "files"),
        (paths.log.clone(), "files"),
        (paths.broker_lock.clone(), "files"),
        (paths.spawn_lock.clone(), "files"),
        (sandbox.database(), "database"),
        (database_lock(&sandbox.database()), "database"),
    ];
    for (path, check) in files {
        remove(&path);
        std::fs::create_dir(&path).unwrap();
        let words = ["is not a file", &path.display().to_string()];
        is_found_and_fixed(&sandbox, check, "failure", &words);
        sandbox.ok(["kill-broker"]);
    }
    for path in [paths.runtime(), paths.state()] {
        remove(path);
        std::fs::write(path, "").unwrap();
        let words = ["is not a directory", &path.display().to_string()];
        is_found_and_fixed(&sandbox, "files", "failure", &words);
        sandbox.ok(["kill-broker"]);
    }
    remove(&sandbox.database());
    symlink("/nonexistent/x.db", sandbox.database()).unwrap();
    is_found_and_fixed(&sandbox, "database", "failure", &["is a link to /nonexistent/x.db"]);
}

#[test]
fn a_lock_of_another_user_costs_no_database() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give a file away");
        return;
    }
    let sandbox = used();
    let database = sandbox.database();
    let before = std::fs::metadata(&database).unwrap().ino();
    std::os::unix::fs::chown(database_lock(&database), Some(12_345), None).unwrap();
    let words = [&*database_lock(&database).display().to_string(), "belongs to user 12345"];
    is_found_and_fixed(&sandbox, "database", "failure", &words);
    assert_eq!(std::fs::metadata(&database).unwrap().ino(), before);

    let lock = sandbox.config().paths.spawn_lock;
    std::os::unix::fs::chown(&lock, Some(12_345), None).unwrap();
    is_found_and_fixed(&sandbox, "files", "failure", &["lock file", "belongs to user 12345"]);
}

#[test]
fn an_invalid_value_in_the_file_is_reported_with_its_key() {
    for (line, words) in [
        ("database = \"x.db\"", ["database is", "an absolute path"]),
        ("channel = \"maybe\"", ["channel is", "on, off or auto"]),
    ] {
        let sandbox = Sandbox::new();
        let file = sandbox.config().paths.config_file;
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, line).unwrap();
        chmod(&file, 0o600);
        let words = [words[0], words[1], "config.toml", "Correct "];
        is_found_and_fixed(&sandbox, "configuration", "failure", &words);
    }
}

#[test]
fn a_database_whose_path_is_not_utf_8_is_examined() {
    use std::os::unix::ffi::OsStrExt as _;

    let sandbox = Sandbox::new();
    let directory = sandbox.path().join(std::ffi::OsStr::from_bytes(b"a\xff%3f?#"));
    std::fs::create_dir(&directory).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("CLAUDE_PEERS_DB", directory.join("x.db")).output().unwrap()
    };
    let told = String::from_utf8_lossy(&run(&["doctor"]).stdout).into_owned();
    assert!(told.contains("is intact"), "{told}");
}
