//! Promise 4: in the place of our files stand links, hard links, pipes, devices and directories.
//!
//! Each is planted where a socket, lock, token, database, log or configuration file belongs. No
//! command hangs, nothing is written through, nothing is lost, and the error says what to do.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use claude_peers::endpoint::broker_lock::database_lock;
use claude_peers::sys::files::beside;
use serde_json::json;

use crate::support::hooks::hook;
use crate::support::{Sandbox, SessionOptions, chmod, mode};

/// What stands in the place of a file of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plant {
    /// A link to a file that must stay as it is.
    Link,
    /// A second name of such a file.
    HardLink,
    Pipe,
    Directory,
    /// A file without an end (`/dev/zero`). Only root can make one.
    Device,
    Socket,
}

use Plant::{Device, Directory, HardLink, Link, Pipe, Socket};

const ALL: [Plant; 6] = [Link, HardLink, Pipe, Directory, Device, Socket];

/// What the file holds that a link leads to.
const PRECIOUS: &str = "a file that has nothing to do with claude-peers\n";

/// A sandbox in which a broker ran and took a message, and stopped.
struct Trap {
    sandbox: Sandbox,
    message: String,
    precious: PathBuf,
}

impl Trap {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let mut session = sandbox.session("one");
        let id = session.id();
        let sent = sandbox.json(["send", &id, "kept through everything"]);
        drop(session);
        sandbox.ok(["kill-broker"]);
        let precious = sandbox.path().join("precious");
        std::fs::write(&precious, PRECIOUS).unwrap();
        chmod(&precious, 0o640);
        Self { sandbox, message: sent["id"].as_str().unwrap().to_owned(), precious }
    }

    /// Replaces the file at `path`, which is kept beside it. Returns false if that is not possible.
    fn plant(&self, plant: Plant, path: &Path) -> bool {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = std::fs::rename(path, beside(path, ".was"));
        match plant {
            Link => symlink(&self.precious, path).unwrap(),
            HardLink => std::fs::hard_link(&self.precious, path).unwrap(),
            Pipe => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
            Directory => std::fs::create_dir(path).unwrap(),
            Device => {
                let made = Command::new("mknod").arg(path).args(["c", "1", "5"]).output().unwrap();
                // A device that cannot be opened is none.
                let opens = std::fs::File::open(path).is_ok();
                if !made.status.success() || !opens {
                    println!("skipped: no device can be made here");
                    let _ = std::fs::remove_file(path);
                    let _ = std::fs::rename(beside(path, ".was"), path);
                    return false;
                }
            }
            Socket => drop(std::os::unix::net::UnixListener::bind(path).unwrap()),
        }
        true
    }

    fn remove(&self, path: &Path) {
        let _ = match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
            Ok(_) => std::fs::remove_file(path),
            Err(_) => Ok(()),
        };
        let _ = std::fs::rename(beside(path, ".was"), path);
    }

    /// Runs all that a person and a session run. None of it hangs: a process of a test that lives too
    /// long is ended by a signal, and has no exit code. Returns the error of `peers`, if it failed.
    #[track_caller]
    fn everything(&self, what: &str) -> Option<String> {
        let sandbox = &self.sandbox;
        let first = sandbox.run(["peers"]);
        for words in [
            &["status"][..],
            &["token"],
            &["send", "nobody", "hello"],
            &["inbox"],
            &["doctor", "--no-claude"],
        ] {
            let output = sandbox.run(words);
            assert!(output.status.code().is_some(), "{what}: {words:?} hangs");
        }
        for event in ["SessionStart", "UserPromptSubmit", "Stop"] {
            let input = json!({ "session_id": "s", "hook_event_name": event, "cwd": "/" });
            assert_eq!(hook(sandbox, event, &input).status.code(), Some(0), "{what}: {event}");
        }
        let mut session = SessionOptions::new("two").at_once().start(sandbox);
        session.try_call("list_peers", json!({}));
        drop(session);
        let end = sandbox.run(["kill-broker"]);
        assert!(end.status.code().is_some(), "{what}: kill-broker hangs");
        assert!(first.status.code().is_some(), "{what}: peers hangs");
        (!first.status.success()).then(|| String::from_utf8(first.stderr).unwrap())
    }

    #[track_caller]
    fn precious_is_untouched(&self, what: &str) {
        assert_eq!(std::fs::read_to_string(&self.precious).unwrap(), PRECIOUS, "{what}");
        assert_eq!(mode(&self.precious), 0o640, "{what}");
    }

    /// Everything that was accepted is there once the file in the way is gone.
    #[track_caller]
    fn nothing_is_lost(&self, what: &str) {
        let message = self.sandbox.message(&self.message);
        assert_eq!(message["text"], "kept through everything", "{what}: {message}");
        self.sandbox.ok(["kill-broker"]);
    }

    /// Plants each of `plants` at `path`. Those in `works` disturb nothing; all others are refused
    /// with an error that names the file, and a hint.
    #[track_caller]
    fn try_all(&self, path: &Path, plants: &[Plant], works: &[Plant]) {
        for plant in plants {
            let what = format!("{plant:?} at {}", path.display());
            if !self.plant(*plant, path) {
                continue;
            }
            let error = self.everything(&what);
            self.precious_is_untouched(&what);
            match error {
                Some(error) => {
                    assert!(!works.contains(plant), "{what}: {error}");
                    let name = path.file_name().unwrap().to_str().unwrap();
                    assert!(error.contains(name), "{what}: {error}");
                    assert!(error.contains("\nhint: "), "{what}: {error}");
                    let found = std::fs::symlink_metadata(path).unwrap();
                    let kept = match plant {
                        Link => found.is_symlink(),
                        HardLink => found.nlink() > 1,
                        Pipe => found.file_type().is_fifo(),
                        Directory => found.is_dir(),
                        Device => found.file_type().is_char_device(),
                        Socket => found.file_type().is_socket(),
                    };
                    assert!(kept, "{what}: what is not ours is left where it is");
                }
                None => assert!(works.contains(plant), "{what}: it was accepted"),
            }
            self.remove(path);
            self.nothing_is_lost(&what);
        }
    }
}

/// The broker's own path: another socket there is one that a dead broker left.
#[test]
fn in_place_of_the_socket() {
    let trap = Trap::new();
    let socket = trap.sandbox.socket();
    trap.try_all(&socket, &ALL, &[Socket]);
}

/// A lock with a second name is replaced: the other name keeps the file as it is.
#[test]
fn in_place_of_the_broker_lock() {
    let trap = Trap::new();
    trap.try_all(&trap.sandbox.config().paths.broker_lock, &ALL, &[HardLink]);
}

#[test]
fn in_place_of_the_spawn_lock() {
    let trap = Trap::new();
    trap.try_all(&trap.sandbox.config().paths.spawn_lock, &ALL, &[HardLink]);
}

#[test]
fn in_place_of_the_lock_of_the_database() {
    let trap = Trap::new();
    trap.try_all(&database_lock(&trap.sandbox.database()), &ALL, &[HardLink]);
}

/// A token is replaced by another file: nothing is written through a link or into a second name.
#[test]
fn in_place_of_the_token() {
    let trap = Trap::new();
    trap.try_all(&trap.sandbox.config().paths.token, &ALL, &[Link, HardLink]);
}

/// A link of our own is followed, see below. A second name would have messages written into the other file.
#[test]
fn in_place_of_the_database() {
    let trap = Trap::new();
    trap.try_all(&trap.sandbox.database(), &[HardLink, Pipe, Directory, Device, Socket], &[]);
}

/// A link that leads to no database: the file is kept, whole, beside where it was.
#[test]
fn a_link_to_another_file_in_place_of_the_database_loses_nothing() {
    let trap = Trap::new();
    let database = trap.sandbox.database();
    trap.plant(Link, &database);
    trap.everything("a link");
    let kept = std::fs::read_dir(trap.sandbox.path()).unwrap().flatten().any(|entry| {
        entry.file_name().to_string_lossy().starts_with("precious")
            && std::fs::read_to_string(entry.path()).is_ok_and(|text| text == PRECIOUS)
    });
    assert!(kept, "the file is there as it was");
    trap.remove(&database);
    trap.nothing_is_lost("a link");
}

#[test]
fn in_place_of_the_files_beside_the_database() {
    let trap = Trap::new();
    for suffix in ["-wal", "-shm", "-journal"] {
        trap.try_all(&beside(&trap.sandbox.database(), suffix), &ALL, &[]);
    }
}

#[test]
fn in_place_of_the_log() {
    let trap = Trap::new();
    let log = trap.sandbox.config().paths.log;
    // A log that is a link of our own is a log elsewhere, see below.
    trap.try_all(&log, &[HardLink, Pipe, Directory, Device, Socket], &[]);
}

/// The configuration file is only read, so links are followed. What has no settings is refused.
#[test]
fn in_place_of_the_configuration_file() {
    let trap = Trap::new();
    trap.try_all(&trap.sandbox.config().paths.config_file, &ALL, &[]);
}

/// The spool is never needed: the broker serves without it, and says so in its log.
#[test]
fn in_place_of_the_hook_spool() {
    let trap = Trap::new();
    let socket = trap.sandbox.socket();
    for name in [".unheard", ".unheard-taken"] {
        let spool = beside(&socket, name);
        // One that can be read is drained.
        trap.try_all(&spool, &ALL, &ALL);
    }
}

#[test]
fn in_place_of_the_record_of_what_setup_did() {
    let trap = Trap::new();
    let record = trap.sandbox.config().paths.state().join("setup/cursor.json");
    for plant in ALL {
        if !trap.plant(plant, &record) {
            continue;
        }
        for words in [&["setup", "cursor", "--yes"][..], &["setup", "--undo", "cursor", "--yes"]] {
            let output = trap.sandbox.run(words);
            assert!(output.status.code().is_some(), "{plant:?}: {words:?} hangs");
        }
        trap.precious_is_untouched(&format!("{plant:?}"));
        trap.remove(&record);
    }
}

/// What Claude Code says of its sessions is only read.
#[test]
fn in_place_of_the_session_file_of_claude_code() {
    let trap = Trap::new();
    let directory = trap.sandbox.home().join(".claude/sessions");
    let file = directory.join(format!("{}.json", std::process::id()));
    for plant in ALL {
        if trap.plant(plant, &file) {
            assert_eq!(trap.everything(&format!("{plant:?}")), None);
            trap.precious_is_untouched(&format!("{plant:?}"));
            trap.remove(&file);
        }
    }
}

/// People keep the database on another disk and their settings in a repository.
#[test]
fn links_that_the_user_made_are_followed() {
    let trap = Trap::new();
    let (paths, disk) = (trap.sandbox.config().paths, trap.sandbox.path().join("disk"));
    std::fs::create_dir(&disk).unwrap();
    chmod(&disk, 0o755);
    for (path, name) in [(trap.sandbox.database(), "peers.db"), (paths.log.clone(), "broker.log")] {
        let _ = std::fs::rename(&path, disk.join(name));
        symlink(disk.join(name), &path).unwrap();
    }
    std::fs::create_dir_all(paths.config_file.parent().unwrap()).unwrap();
    std::fs::write(disk.join("config.toml"), "channel = \"on\"\n").unwrap();
    symlink(disk.join("config.toml"), &paths.config_file).unwrap();
    trap.nothing_is_lost("links");
    for path in [trap.sandbox.database(), paths.log.clone(), paths.config_file] {
        assert!(path.is_symlink(), "{}", path.display());
    }
    assert!(beside(&disk.join("peers.db"), "-lock").exists(), "it is locked where it is");
    // A log that nobody wants.
    std::fs::remove_file(&paths.log).unwrap();
    symlink("/dev/null", &paths.log).unwrap();
    trap.nothing_is_lost("no log");
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());

    // What others may change is not followed.
    chmod(&disk, 0o777);
    let (_, error) = trap.sandbox.fails(["peers"]);
    assert!(error.contains(disk.to_str().unwrap()) && error.contains("chmod go-w"), "{error}");
    chmod(&disk, 0o755);
    trap.nothing_is_lost("closed again");
}
