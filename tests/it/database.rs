//! Databases that cannot be used, or not yet, or no longer; and what the limits leave behind.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::http::{RawPeer, Request};
use crate::support::{PROGRAM, Sandbox, SessionOptions, until};

/// What `peers` says when no broker can start; it must say so.
#[track_caller]
fn why_not(sandbox: &Sandbox) -> String {
    let (code, error) = sandbox.fails(["peers"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.starts_with("error: the broker did not start: "), "{error}");
    assert!(error.contains("\nhint: "), "{error}");
    assert!(sandbox.holder().is_none(), "no broker is left behind");
    error
}

/// Files beside the database whose names begin with its name, the lock left out.
fn beside(database: &Path) -> Vec<String> {
    let name = database.file_name().unwrap().to_string_lossy().into_owned();
    let mut found: Vec<String> = std::fs::read_dir(database.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|file| file.strip_prefix(&name).map(str::to_owned))
        .filter(|suffix| !suffix.is_empty() && suffix != "-lock")
        .collect();
    found.sort();
    found
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// The only damaged database beside this one.
#[track_caller]
fn moved_aside(database: &Path) -> PathBuf {
    let moved: Vec<String> = beside(database)
        .into_iter()
        .filter(|suffix| {
            suffix.starts_with(".damaged-")
                && !suffix.ends_with("-wal")
                && !suffix.ends_with("-shm")
        })
        .collect();
    assert_eq!(moved.len(), 1, "{moved:?}");
    with_suffix(database, &moved[0])
}

#[track_caller]
fn says_loudly(sandbox: &Sandbox, moved: &Path) {
    let status = sandbox.ok(["status"]);
    assert!(status.contains("WARNING: it was damaged"), "{status}");
    assert!(status.contains(&moved.display().to_string()), "{status}");
    let json = sandbox.json(["status"]);
    assert_eq!(json["health"]["database_moved_to"], moved.display().to_string());
}

#[track_caller]
fn serves_afresh(sandbox: &Sandbox) {
    let (a, b) = (RawPeer::register(sandbox, "fresh-a"), RawPeer::register(sandbox, "fresh-b"));
    let id = a.send(sandbox, &b.id, "after all");
    assert_eq!(sandbox.message(&id)["text"], "after all");
}

/// A stopped broker's database with `count` messages in it.
fn with_history(sandbox: &Sandbox, count: usize, text: &str) {
    sandbox.ok(["peers"]);
    let (a, b) = (RawPeer::register(sandbox, "a"), RawPeer::register(sandbox, "b"));
    for _ in 0..count {
        a.send(sandbox, &b.id, text);
    }
    sandbox.ok(["kill-broker"]);
}

#[test]
fn a_database_of_the_first_schema_is_carried_over_with_its_mail() {
    let sandbox = Sandbox::new();
    let connection = Connection::open(sandbox.database()).unwrap();
    connection.execute_batch(include_str!("../../src/broker/store/migration-1.sql")).unwrap();
    connection
        .execute_batch(
            "INSERT INTO peers (id, kind, name, name_source, created_at, seen_at)
                 VALUES ('cli00001', 'cli', 'cli', 'reserved', 1, 1),
                        ('peer0001', 'session', 'backend', 'tool', 1, 1);
             INSERT INTO keys (key, peer, bound_at) VALUES ('session:session-backend', 'peer0001', 1);
             INSERT INTO messages (seq, id, sender, recipient, text, sent_at, expires_at, state)
                 VALUES (1, 'm1', 'cli00001', 'peer0001', 'precious', 1, 9999999999999, 'queued');
             PRAGMA user_version = 1;",
        )
        .unwrap();
    connection.close().unwrap();
    let mut session = sandbox.session("backend");
    assert_eq!(session.push()["content"], "precious");
    assert_eq!(session.id(), "peer0001");
    let text = session.text("check_messages", json!({}));
    assert!(text.contains("| precious"), "{text}");
}

#[test]
fn a_newer_database_is_left_as_it_is() {
    let sandbox = Sandbox::new();
    with_history(&sandbox, 1, "precious");
    let database = sandbox.database();
    let set_version = |version: i64| {
        let connection = Connection::open(&database).unwrap();
        connection.pragma_update(None, "user_version", version).unwrap();
        connection.close().unwrap();
    };
    let version: i64 = Connection::open(&database)
        .unwrap()
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    set_version(99);
    let before = std::fs::read(&database).unwrap();
    for _ in 0..2 {
        let error = why_not(&sandbox);
        assert!(error.contains("newer claude-peers (schema 99"), "{error}");
        assert!(error.contains("Upgrade claude-peers"), "{error}");
    }
    assert_eq!(std::fs::read(&database).unwrap(), before);
    assert_eq!(beside(&database), Vec::<String>::new());
    // A session says it in words, and does not end.
    let mut session = SessionOptions::new("backend").at_once().start(&sandbox);
    let result = session.try_call("list_peers", json!({}));
    assert_eq!(result["isError"], true);
    assert!(result["content"][0]["text"].as_str().unwrap().contains("newer"), "{result}");
    // Put right, all is there, and the session goes on.
    set_version(version);
    until("the session is live", || {
        session.try_call("list_peers", json!({}))["structuredContent"]["me"]["live"] == true
    });
    assert_eq!(sandbox.json(["log"])["messages"][0]["text"], "precious");
}

#[test]
fn a_newer_database_that_was_not_closed_in_order_is_left_as_it_is() {
    let sandbox = Sandbox::new();
    with_history(&sandbox, 1, "precious");
    let database = sandbox.database();
    // As a crash leaves it: the version stands in the log, not in the database.
    let connection = Connection::open(&database).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    let copies: Vec<(PathBuf, Vec<u8>)> = ["", "-wal"]
        .map(|suffix| with_suffix(&database, suffix))
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .into();
    assert!(!copies[1].1.is_empty());
    connection.close().unwrap();
    for (path, bytes) in &copies {
        std::fs::write(path, bytes).unwrap();
    }
    let error = why_not(&sandbox);
    assert!(error.contains("newer claude-peers (schema 99"), "{error}");
    for (path, bytes) in &copies {
        assert_eq!(&std::fs::read(path).unwrap_or_default(), bytes, "{}", path.display());
    }
}

#[test]
fn a_file_that_is_no_database_is_moved_aside_and_a_fresh_one_serves() {
    for garbage in [b"short".to_vec(), b"this is no database. ".repeat(1_000), vec![0; 8192]] {
        let sandbox = Sandbox::new();
        let database = sandbox.database();
        std::fs::write(&database, &garbage).unwrap();
        serves_afresh_after_start(&sandbox);
        let moved = moved_aside(&database);
        assert_eq!(std::fs::read(&moved).unwrap(), garbage);
        says_loudly(&sandbox, &moved);
    }
}

#[track_caller]
fn serves_afresh_after_start(sandbox: &Sandbox) {
    sandbox.ok(["peers"]);
    serves_afresh(sandbox);
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
        serves_afresh_after_start(&sandbox);
        let moved = moved_aside(&database);
        assert_eq!(std::fs::read(&moved).unwrap(), bytes, "{damage}");
        says_loudly(&sandbox, &moved);
        assert_eq!(sandbox.json(["log", "-n", "1000"])["messages"].as_array().unwrap().len(), 1);
        // The warning is the broker's, which found it; the file stays.
        sandbox.ok(["kill-broker"]);
        sandbox.ok(["peers"]);
        assert!(moved.exists());
        assert!(!sandbox.ok(["status"]).contains("WARNING"));
    }
}

/// What a crash left in the log may be all that can be saved of a damaged database.
#[test]
fn the_log_of_a_damaged_database_is_moved_with_it() {
    let sandbox = Sandbox::unlimited();
    with_history(&sandbox, 40, &"text ".repeat(1_000));
    let database = sandbox.database();
    let connection = Connection::open(&database).unwrap();
    connection.execute("INSERT INTO meta VALUES ('last', 'words')", []).unwrap();
    let log = std::fs::read(with_suffix(&database, "-wal")).unwrap();
    assert!(!log.is_empty());
    connection.close().unwrap();
    let mut bytes = std::fs::read(&database).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 8 * 4096].fill(0xa5);
    std::fs::write(&database, &bytes).unwrap();
    std::fs::write(with_suffix(&database, "-wal"), &log).unwrap();
    serves_afresh_after_start(&sandbox);
    let moved = moved_aside(&database);
    assert_eq!(std::fs::read(with_suffix(&moved, "-wal")).unwrap(), log);
    assert_eq!(std::fs::read(&moved).unwrap(), bytes);
    says_loudly(&sandbox, &moved);
}

/// Damage that shows while the broker runs, by whatever touches it first.
#[test]
fn damage_at_run_time_moves_the_database_aside_and_sessions_come_back() {
    for by_reading in [true, false] {
        let sandbox = Sandbox::unlimited();
        // More than SQLite keeps in memory, so that it must look at the file again.
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
            assert!(error.contains("The database is damaged: it was moved aside"), "{error}");
        }
        if by_reading {
            // Nobody writes, and what the error said is true all the same.
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

#[test]
fn an_empty_file_is_a_new_database() {
    let sandbox = Sandbox::new();
    std::fs::write(sandbox.database(), b"").unwrap();
    serves_afresh_after_start(&sandbox);
    assert!(!sandbox.ok(["status"]).contains("WARNING"));
}

#[test]
fn a_directory_in_its_place_is_refused_and_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    std::fs::create_dir(&database).unwrap();
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = why_not(&sandbox);
    assert!(error.contains(&database.display().to_string()), "{error}");
    assert_eq!(std::fs::metadata(&database).unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(std::fs::read_dir(&database).unwrap().count(), 0);
}

#[test]
fn a_directory_that_does_not_exist_is_named() {
    let sandbox = Sandbox::new();
    let missing = sandbox.path().join("no/such/place");
    let database = missing.join("peers.db").display().to_string();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", database);
    let error = why_not(&sandbox);
    assert!(error.contains(&format!("the directory {} of", missing.display())), "{error}");
    assert!(error.contains("CLAUDE_PEERS_DB"), "{error}");
    assert!(!missing.exists());
}

#[test]
fn a_database_of_another_program_is_left_as_it_is() {
    use std::os::unix::fs::PermissionsExt as _;
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    let connection = Connection::open(&database).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE peers (id TEXT, host TEXT); CREATE TABLE songs (title TEXT);
             INSERT INTO songs VALUES ('x');",
        )
        .unwrap();
    connection.close().unwrap();
    std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o644)).unwrap();
    let before = std::fs::read(&database).unwrap();
    let error = why_not(&sandbox);
    assert!(error.contains("tables of another program"), "{error}");
    assert!(error.contains("CLAUDE_PEERS_DB"), "{error}");
    assert_eq!(std::fs::read(&database).unwrap(), before);
    assert_eq!(beside(&database), Vec::<String>::new());
    let mode = std::fs::metadata(&database).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o644, "nothing was changed, its mode included");
}

#[test]
fn a_database_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give files away");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    sandbox.ok(["kill-broker"]);
    let before = std::fs::read(sandbox.database()).unwrap();
    std::os::unix::fs::chown(sandbox.database(), Some(65534), None).unwrap();
    let error = why_not(&sandbox);
    assert!(error.contains("belongs to user id 65534"), "{error}");
    assert_eq!(std::fs::read(sandbox.database()).unwrap(), before);
}

/// A broker in a mount namespace of its own, with a file system of its own for the database; it
/// vanishes with the broker. `None` where that is not allowed.
fn broker_on_own_disk(sandbox: &Sandbox, directory: &Path, mount: &str) -> Option<u32> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can mount");
        return None;
    }
    let probe =
        Command::new("unshare").args(["-m", "sh", "-c", mount, "sh"]).arg(directory).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: mounting is not allowed here");
        return None;
    }
    let broker = sandbox.command(["broker"]);
    let mut shell = Command::new("unshare");
    shell.env_clear().envs(broker.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // The new process of the namespace is the broker itself, by exec.
    let mut child = shell
        .args(["-m", "sh", "-c", &format!("{mount} && exec \"$2\" broker"), "sh"])
        .arg(directory)
        .arg(PROGRAM)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(sandbox.path().join("broker.log")).unwrap())
        .spawn()
        .unwrap();
    let pid = child.id();
    std::thread::spawn(move || child.wait());
    Some(pid)
}

#[test]
fn on_a_full_disk_sends_fail_the_broker_lives_and_nothing_accepted_is_lost() {
    let sandbox = Sandbox::unlimited();
    let disk = sandbox.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", disk.join("peers.db").display().to_string());
    let mount = "mount -t tmpfs -o size=3m tmpfs \"$1\"";
    let Some(pid) = broker_on_own_disk(&sandbox, &disk, mount) else { return };
    until("the broker serves", || sandbox.status_is("running"));
    let (a, b) = (RawPeer::register(&sandbox, "a"), RawPeer::register(&sandbox, "b"));
    let mut accepted = vec![a.send(&sandbox, &b.id, "before")];
    // Seen through the broker's own root: the disk exists in its namespace alone.
    let ballast = PathBuf::from(format!("/proc/{pid}/root{}", disk.join("ballast").display()));
    let fill = || {
        let mut file = std::fs::File::options().create(true).append(true).open(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    };
    let mut refused = 0;
    for round in 0..200 {
        fill();
        let answer = a.try_send(&sandbox, &b.id, &format!("{round} {}", "x".repeat(20_000)));
        if answer.status == 200 {
            accepted.push(answer.json()["id"].as_str().unwrap().to_owned());
            continue;
        }
        assert_eq!(answer.refusal(), (503, "storage".to_owned()));
        let json = answer.json();
        assert!(json["hint"].as_str().unwrap().contains("The disk is full"), "{json}");
        refused += 1;
        if refused == 5 {
            break;
        }
    }
    assert_eq!(refused, 5, "the disk is full");
    let (code, error) = sandbox.fails(["send", &b.id, &"y".repeat(20_000)]);
    assert_eq!(code, 1);
    assert!(error.contains("full"), "{error}");
    // It lives, answers, and reads.
    assert_eq!(Request::get("/health").unix(&sandbox).json()["pid"], pid);
    sandbox.ok(["peers"]);
    std::fs::remove_file(&ballast).unwrap();
    accepted.push(a.send(&sandbox, &b.id, "after"));
    let listed = sandbox.json(["log", "-n", "1000"])["messages"].clone();
    let listed: Vec<&str> =
        listed.as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(listed, accepted, "what was accepted, and nothing else, in order");
    assert_eq!(b.take(&sandbox).len(), accepted.len());
    assert_eq!(sandbox.holder().unwrap().pid, pid);
}

#[test]
fn a_read_only_disk_is_a_clear_error() {
    let sandbox = Sandbox::new();
    let disk = sandbox.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", disk.join("peers.db").display().to_string());
    with_history(&sandbox, 1, "precious");
    let before = std::fs::read(disk.join("peers.db")).unwrap();
    let mount = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"";
    let Some(_) = broker_on_own_disk(&sandbox, &disk, mount) else { return };
    let log = sandbox.path().join("broker.log");
    let mut text = String::new();
    until("the broker gives up with an error", || {
        text = std::fs::read_to_string(&log).unwrap();
        text.contains("hint: ")
    });
    assert!(text.contains("peers.db cannot be opened"), "{text}");
    assert!(text.to_lowercase().contains("read-only"), "{text}");
    assert!(text.contains("Check the permissions"), "{text}");
    until("it has ended", || sandbox.holder().is_none());
    assert_eq!(std::fs::read(disk.join("peers.db")).unwrap(), before);
    assert_eq!(sandbox.json(["log"])["messages"][0]["text"], "precious");
}

/// The database of the TypeScript claude-peers, as its broker leaves it, and then some.
fn legacy(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection
        .execute_batch(
            "CREATE TABLE peers (
                 id TEXT PRIMARY KEY, pid INTEGER NOT NULL, cwd TEXT NOT NULL, git_root TEXT,
                 tty TEXT, summary TEXT NOT NULL DEFAULT '', registered_at TEXT NOT NULL,
                 last_seen TEXT NOT NULL);
             CREATE TABLE messages (
                 id INTEGER PRIMARY KEY AUTOINCREMENT, from_id TEXT NOT NULL, to_id TEXT NOT NULL,
                 text TEXT, sent_at TEXT, delivered INTEGER DEFAULT 0);
             INSERT INTO peers VALUES
                 ('ab12cd34', 4242, '/srv/api', '/srv/api', 'pts/1', 'the api',
                  '2025-03-01T10:00:00.000Z', '2025-03-01T11:00:00.000Z'),
                 ('zzzzzzzz', 4243, '/srv/web', NULL, NULL, '', 'yesterday', 'not a time');
             INSERT INTO messages (from_id, to_id, text, sent_at, delivered) VALUES
                 ('ab12cd34', 'zzzzzzzz', 'hello', '2025-03-01T10:00:01.500Z', 1),
                 ('zzzzzzzz', 'ab12cd34', 'not yet seen', '2025-03-01T10:00:02Z', 0),
                 ('gone0001', 'ab12cd34', 'from a peer whose row is gone', '2025-03-01T10:00:03.000Z', 1),
                 ('cli', 'ab12cd34', 'from the command line', '2025-03-01T10:00:04.000Z', 1),
                 ('ab12cd34', 'zzzzzzzz', '🦀 ünïcödé\nsecond line', '2025-03-01T10:00:05.000Z', '1'),
                 ('ab12cd34', 'zzzzzzzz', NULL, '2025-03-01T10:00:06.000Z', NULL),
                 ('ab12cd34', 'zzzzzzzz', 12345, '2025-03-01T10:00:07.000Z', 'yes'),
                 ('ab12cd34', 'zzzzzzzz', 'without a time', NULL, 1),
                 ('ab12cd34', '', 'to nobody', '2025-03-01T10:00:09.000Z', 1),
                 ('ab12cd34', 'zzzzzzzz', CAST(x'6261642066ff' AS TEXT), '2025-03-01T10:00:10.000Z', 1);",
        )
        .unwrap();
    connection
}

fn rows(connection: &Connection) -> (i64, i64) {
    connection
        .query_row(
            "SELECT (SELECT count(*) FROM peers), (SELECT count(*) FROM messages)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap()
}

#[test]
fn a_database_of_the_typescript_claude_peers_becomes_history() {
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    legacy(&database).close().unwrap();
    sandbox.ok(["peers"]);

    let copies: Vec<String> =
        beside(&database).into_iter().filter(|name| name.starts_with(".typescript-")).collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    let copy = Connection::open(with_suffix(&database, &copies[0])).unwrap();
    assert_eq!(rows(&copy), (2, 10));
    let ok: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(ok, "ok");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(with_suffix(&database, &copies[0])).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);

    let log = sandbox.json(["log", "-n", "100"]);
    let messages = log["messages"].as_array().unwrap();
    let told: Vec<(&str, &str, &str)> = messages
        .iter()
        .map(|m| {
            (
                m["text"].as_str().unwrap(),
                m["state"].as_str().unwrap(),
                m["from"]["id"].as_str().unwrap(),
            )
        })
        .collect();
    let cli = messages[3]["from"]["id"].as_str().unwrap();
    assert_eq!(messages[3]["from"]["name"], "cli");
    assert_eq!(
        told[..7],
        [
            ("hello", "unconfirmed", "ab12cd34"),
            ("not yet seen", "expired", "zzzzzzzz"),
            ("from a peer whose row is gone", "unconfirmed", "gone0001"),
            ("from the command line", "unconfirmed", cli),
            ("🦀 ünïcödé\nsecond line", "unconfirmed", "ab12cd34"),
            ("", "unconfirmed", "ab12cd34"),
            // "yes" is no number, so it counts as not delivered.
            ("12345", "expired", "ab12cd34"),
        ]
    );
    assert_eq!(told[7].0, "without a time");
    assert_eq!(told[8].0, "to nobody");
    assert!(told[9].0.starts_with("bad f"), "{:?}", told[9]);
    assert_eq!(messages[0]["sent_at"], "2025-03-01T10:00:01.500Z");
    assert_eq!(messages[1]["sent_at"], "2025-03-01T10:00:02.000Z");
    assert_eq!(messages[0]["to"]["id"], "zzzzzzzz");

    // The old ids are known, stay taken, and cannot receive; nobody lists them.
    assert!(sandbox.ok(["log", "--peer", "ab12cd34"]).contains("hello"));
    let (code, error) = sandbox.fails(["send", "ab12cd34", "are you there?"]);
    assert_eq!(code, 1);
    assert!(error.contains("older database only"), "{error}");
    assert_eq!(sandbox.json(["peers", "--all"])["peers"], json!([]));
    // New ones talk.
    let mut backend = sandbox.session("backend");
    let mut frontend = sandbox.session("frontend");
    backend.send("frontend", "as ever");
    assert_eq!(frontend.push()["content"], "as ever");
    // A second start takes nothing over again.
    sandbox.ok(["kill-broker"]);
    assert_eq!(sandbox.json(["log", "-n", "100"])["messages"].as_array().unwrap().len(), 11);
    drop(copy);
    let names = beside(&database);
    assert_eq!(
        names.iter().filter(|name| name.starts_with(".typescript-")).count(),
        1,
        "{names:?}"
    );
}

/// What its broker had not yet folded into the database when it was killed belongs to it.
#[test]
fn what_only_the_log_of_the_old_database_holds_is_taken_over_too() {
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    let connection = legacy(&database);
    let images: Vec<(PathBuf, Vec<u8>)> = ["", "-wal"]
        .map(|suffix| with_suffix(&database, suffix))
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .into();
    connection.close().unwrap();
    for (path, bytes) in images {
        std::fs::write(path, bytes).unwrap();
    }
    sandbox.ok(["peers"]);
    assert_eq!(sandbox.json(["log", "-n", "100"])["messages"].as_array().unwrap().len(), 10);
    let copy = beside(&database).into_iter().find(|name| name.starts_with(".typescript-")).unwrap();
    assert_eq!(rows(&Connection::open(with_suffix(&database, &copy)).unwrap()), (2, 10));
}

#[test]
fn while_its_own_broker_has_the_old_database_open_nothing_is_touched() {
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    let connection = legacy(&database);
    let bytes = |suffix| std::fs::read(with_suffix(&database, suffix)).unwrap();
    let before = (bytes(""), bytes("-wal"));
    let error = why_not(&sandbox);
    assert!(error.contains("TypeScript claude-peers, whose broker still runs"), "{error}");
    let holder = format!("(process {} has it open)", std::process::id());
    assert!(error.contains(&holder), "{error}");
    assert!(error.contains("nothing was changed"), "{error}");
    assert_eq!((bytes(""), bytes("-wal")), before);
    assert_eq!(beside(&database), ["-shm", "-wal"]);
    assert_eq!(rows(&connection), (2, 10));
    connection.close().unwrap();
    sandbox.ok(["peers"]);
}

/// Random ids of one second: among so many, two are all but surely alike.
#[test]
fn an_old_database_with_very_many_messages_of_one_time_is_taken_over_whole() {
    const MANY: i64 = 40_000;
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    let connection = legacy(&database);
    let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO messages (from_id, to_id, text, sent_at, delivered)
         SELECT 'ab12cd34', 'zzzzzzzz', 'bulk ' || i, 'no time', 1 FROM n";
    connection.execute(insert, [MANY]).unwrap();
    connection.close().unwrap();
    sandbox.ok(["peers"]);
    sandbox.ok(["kill-broker"]);
    let (_, messages) = rows(&Connection::open(&database).unwrap());
    assert_eq!(messages, MANY + 10);
}

#[test]
fn what_cannot_be_taken_over_stays_and_no_copy_is_left_of_each_attempt() {
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    let connection = legacy(&database);
    connection.pragma_update(None, "user_version", 999).unwrap();
    connection.close().unwrap();
    let before = std::fs::read(&database).unwrap();
    for _ in 0..2 {
        let error = why_not(&sandbox);
        assert!(error.contains("newer claude-peers"), "{error}");
    }
    assert_eq!(std::fs::read(&database).unwrap(), before);
    let copies = beside(&database).into_iter().filter(|name| name.starts_with(".typescript-"));
    assert_eq!(copies.count(), 0);
}

#[test]
fn while_its_own_broker_answers_on_the_port_nothing_is_touched() {
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    legacy(&database).close().unwrap();
    let before = std::fs::read(&database).unwrap();
    let port = sandbox.port();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let server = std::thread::spawn(move || {
        for stream in listener.incoming() {
            if stopped.load(std::sync::atomic::Ordering::SeqCst) {
                return;
            }
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut request = [0; 1024];
            // Whatever is asked, the answer is the same.
            let _ = std::io::Read::read(&mut stream, &mut request);
            let body = r#"{"status":"ok","peers":2}"#;
            let _ = std::io::Write::write_all(
                &mut stream,
                format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes(),
            );
        }
    });
    let error = why_not(&sandbox);
    assert!(error.contains(&format!("(port {port} answers)")), "{error}");
    assert_eq!(std::fs::read(&database).unwrap(), before);
    assert_eq!(beside(&database), Vec::<String>::new());
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    server.join().unwrap();
    sandbox.ok(["peers"]);
    assert_eq!(sandbox.json(["log", "-n", "100"])["messages"].as_array().unwrap().len(), 10);
}

#[test]
fn a_port_in_use_costs_sessions_nothing_and_the_token_stays_secret() {
    let sandbox = Sandbox::new();
    let port = sandbox.port();
    let foreign = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let mut backend = sandbox.session("backend");
    let mut frontend = sandbox.session("frontend");
    backend.send("frontend", "hello");
    assert_eq!(frontend.push()["content"], "hello");
    let status = sandbox.ok(["status"]);
    assert!(status.contains(&format!("127.0.0.1:{port} is not served (")), "{status}");
    assert!(status.contains("in use"), "{status}");
    let json = sandbox.json(["status"]);
    assert_eq!(json["health"]["tcp"]["listening"], false);
    let output = sandbox.run(["token"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "not a byte of the token");
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("is not the broker's"), "{error}");
    assert!(error.contains("CLAUDE_PEERS_PORT"), "{error}");
    assert!(!error.contains(&sandbox.token()));
    // Nothing of ours ever called the stranger's port but the question who it is.
    foreign.set_nonblocking(true).unwrap();
    while let Ok((mut stream, _)) = foreign.accept() {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut text = String::new();
        let _ = std::io::Read::read_to_string(&mut stream, &mut text);
        assert!(!text.contains(&sandbox.token()), "{text}");
    }
}

fn count(sandbox: &Sandbox) -> usize {
    sandbox.json(["log", "-n", "10000"])["messages"].as_array().unwrap().len()
}

#[test]
fn the_rate_limit_names_its_key_and_leaves_nothing_behind() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let names = ["a", "b", "c"];
    let [a, b, c] = names.map(|name| RawPeer::register(&sandbox, name));
    for number in 0..20 {
        a.send(&sandbox, &b.id, &number.to_string());
    }
    // The allowance grows by one a second, so on a slow machine one more may pass.
    let mut accepted = 20;
    let refusal = loop {
        let answer = a.try_send(&sandbox, &b.id, "too many");
        if answer.status != 200 {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 200, "nothing is ever refused");
    };
    assert_eq!(refusal.refusal(), (429, "rate_limited".to_owned()));
    let json = refusal.json();
    assert!(
        json["message"].as_str().unwrap().contains("60 a minute are allowed, 20 at once"),
        "{json}"
    );
    let hint = json["hint"].as_str().unwrap();
    assert!(
        hint.contains("CLAUDE_PEERS_MESSAGES_PER_MINUTE") && hint.contains("messages_per_minute"),
        "{hint}"
    );
    assert_eq!(count(&sandbox), accepted);
    assert_eq!(b.take(&sandbox).len(), accepted);
    // Each pair for itself, each direction for itself.
    a.send(&sandbox, &c.id, "another recipient");
    b.send(&sandbox, &a.id, "the other way");
    // A retry of what was accepted costs nothing and does nothing.
    let keyed = Request::post("/v1/messages", &json!({ "to": a.id, "text": "once" }))
        .with("Idempotency-Key", "k1")
        .session(&c.secret);
    let first = keyed.unix(&sandbox).json();
    for _ in 0..30 {
        assert_eq!(keyed.unix(&sandbox).json(), first);
    }
    assert_eq!(count(&sandbox), accepted + 3);
}

#[test]
fn a_full_mailbox_refuses_until_it_is_read() {
    let sandbox = Sandbox::new().with("CLAUDE_PEERS_MAX_UNREAD", "3");
    sandbox.ok(["peers"]);
    let (a, b) = (RawPeer::register(&sandbox, "a"), RawPeer::register(&sandbox, "b"));
    let ids: Vec<String> = (0..3).map(|n| a.send(&sandbox, &b.id, &n.to_string())).collect();
    for _ in 0..2 {
        let refusal = a.try_send(&sandbox, &b.id, "too many");
        assert_eq!(refusal.refusal(), (429, "mailbox_full".to_owned()));
        let json = refusal.json();
        assert!(json["message"].as_str().unwrap().contains("3 unread"), "{json}");
        assert!(json["hint"].as_str().unwrap().contains("CLAUDE_PEERS_MAX_UNREAD"), "{json}");
    }
    assert_eq!(count(&sandbox), 3);
    // Taken is not read.
    assert_eq!(b.take(&sandbox), ["0", "1", "2"]);
    assert_eq!(a.try_send(&sandbox, &b.id, "too many").status, 429);
    let confirm = Request::post("/v1/mailbox/confirm", &json!({ "ids": [ids[0]] }));
    assert_eq!(confirm.session(&b.secret).unix(&sandbox).json()["noted"], 1);
    a.send(&sandbox, &b.id, "there is room");
}

#[test]
fn the_message_limit_counts_bytes_and_names_its_key() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let (a, b) = (RawPeer::register(&sandbox, "a"), RawPeer::register(&sandbox, "b"));
    let longest = "ü".repeat(32 * 1024);
    let id = a.send(&sandbox, &b.id, &longest);
    assert_eq!(sandbox.message(&id)["text"], longest);
    let refusal = a.try_send(&sandbox, &b.id, &format!("{longest}x"));
    assert_eq!(refusal.refusal(), (413, "too_large".to_owned()));
    let json = refusal.json();
    assert!(json["message"].as_str().unwrap().contains("65537 bytes, 65536 are allowed"), "{json}");
    assert!(json["hint"].as_str().unwrap().contains("CLAUDE_PEERS_MAX_MESSAGE_BYTES"), "{json}");
    for blank in ["", " ", "\n\t ", "\u{a0}"] {
        let refusal = a.try_send(&sandbox, &b.id, blank);
        assert_eq!(refusal.refusal(), (400, "bad_request".to_owned()), "{blank:?}");
    }
    assert_eq!(count(&sandbox), 1);
}

#[test]
fn time_that_runs_out_ends_offers_not_text_and_late_evidence_still_counts() {
    let sandbox = Sandbox::new().with("CLAUDE_PEERS_MESSAGE_TTL_SECONDS", "3");
    sandbox.ok(["peers"]);
    let [a, away, taker] = ["a", "away", "taker"].map(|name| RawPeer::register(&sandbox, name));
    let never = a.send(&sandbox, &away.id, "never offered");
    let offered = a.send(&sandbox, &taker.id, "offered");
    assert_eq!(taker.take(&sandbox), ["offered"]);
    // Nobody writes meanwhile: the one who asks is told the truth all the same.
    let state = |id: &str| -> Value { sandbox.message(id)["state"].clone() };
    until("it is expired", || state(&never) == "expired");
    until("it is unconfirmed", || state(&offered) == "unconfirmed");
    assert_eq!(sandbox.message(&never)["text"], "never offered");
    assert_eq!(away.take(&sandbox), Vec::<String>::new(), "it is offered no more");
    assert_eq!(sandbox.json(["status"])["health"]["backlog"], 0);
    // The receiver had it, and answers late.
    let reply =
        Request::post("/v1/messages", &json!({ "to": a.id, "text": "late", "reply_to": offered }));
    assert_eq!(reply.session(&taker.secret).unix(&sandbox).status, 200);
    assert_eq!(state(&offered), "read");
    assert_eq!(sandbox.message(&offered)["read_via"], "reply");
    // Late evidence for the other one, too.
    let confirm = Request::post("/v1/mailbox/confirm", &json!({ "ids": [never] }));
    assert_eq!(confirm.session(&away.secret).unix(&sandbox).json()["noted"], 1);
    assert_eq!(state(&never), "read");
}

/// Two brokers never share a database, whatever their ports say.
#[test]
fn a_database_in_use_by_another_broker_is_refused() {
    let first = Sandbox::new();
    let database = first.path().join("shared.db").display().to_string();
    let first = first.with("CLAUDE_PEERS_DB", database.clone());
    first.ok(["peers"]);
    let second = Sandbox::new().with("CLAUDE_PEERS_DB", database);
    let error = why_not(&second);
    let pid = first.holder().unwrap().pid;
    assert!(error.contains(&format!("in use by another broker (process {pid})")), "{error}");
    first.ok(["peers"]);
    // And a client whose settings name another database is told both, and sends nothing.
    let other = first.path().join("other.db").display().to_string();
    let output = first.command(["send", "x", "y"]).env("CLAUDE_PEERS_DB", &other).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains(&other) && error.contains("shared.db"), "{error}");
}
