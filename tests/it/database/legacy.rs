//! Promise 1: a database of the TypeScript claude-peers becomes history, and nothing is deleted.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use claude_peers::sys::files::beside;
use rusqlite::Connection;
use serde_json::json;

use super::{suffixes, why_not};
use crate::support::Sandbox;

/// A database as the broker of the TypeScript claude-peers leaves it, with odd values added.
pub fn legacy(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection
        .execute_batch(
            concat!(include_str!("typescript.sql"), "INSERT INTO peers VALUES
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
                 ('ab12cd34', 'zzzzzzzz', CAST(x'6261642066ff' AS TEXT), '2025-03-01T10:00:10.000Z', 1);"),
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
        suffixes(&database).into_iter().filter(|name| name.starts_with(".typescript-")).collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    let copy = Connection::open(beside(&database, &copies[0])).unwrap();
    assert_eq!(rows(&copy), (2, 10));
    let ok: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(ok, "ok");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(beside(&database, &copies[0])).unwrap().permissions(),
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
            // "yes" is not a number, so the message counts as not delivered.
            ("12345", "expired", "ab12cd34"),
        ]
    );
    assert_eq!(told[7].0, "without a time");
    assert_eq!(told[8].0, "to nobody");
    assert!(told[9].0.starts_with("bad f"), "{:?}", told[9]);
    assert_eq!(messages[0]["sent_at"], "2025-03-01T10:00:01.500Z");
    assert_eq!(messages[1]["sent_at"], "2025-03-01T10:00:02.000Z");
    assert_eq!(messages[0]["to"]["id"], "zzzzzzzz");

    // The old ids are known and stay taken. They cannot receive, and are not listed.
    assert!(sandbox.ok(["log", "--peer", "ab12cd34"]).contains("hello"));
    let (code, error) = sandbox.fails(["send", "ab12cd34", "are you there?"]);
    assert_eq!(code, 1);
    assert!(error.contains("only in the history of an older database"), "{error}");
    assert_eq!(sandbox.json(["peers", "--all"])["peers"], json!([]));
    // New peers can talk.
    let mut backend = sandbox.session("backend");
    let mut frontend = sandbox.session("frontend");
    backend.send("frontend", "as ever");
    assert_eq!(frontend.push()["content"], "as ever");
    // A second start imports nothing again.
    sandbox.ok(["kill-broker"]);
    assert_eq!(sandbox.json(["log", "-n", "100"])["messages"].as_array().unwrap().len(), 11);
    drop(copy);
    let names = suffixes(&database);
    assert_eq!(
        names.iter().filter(|name| name.starts_with(".typescript-")).count(),
        1,
        "{names:?}"
    );
}

/// The write-ahead log may hold rows that the database file does not have yet, after a kill.
#[test]
fn what_only_the_log_of_the_old_database_holds_is_taken_over_too() {
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    let connection = legacy(&database);
    let images: Vec<(PathBuf, Vec<u8>)> = ["", "-wal"]
        .map(|suffix| beside(&database, suffix))
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .into();
    connection.close().unwrap();
    for (path, bytes) in images {
        std::fs::write(path, bytes).unwrap();
    }
    sandbox.ok(["peers"]);
    assert_eq!(sandbox.json(["log", "-n", "100"])["messages"].as_array().unwrap().len(), 10);
    let copy =
        suffixes(&database).into_iter().find(|name| name.starts_with(".typescript-")).unwrap();
    assert_eq!(rows(&Connection::open(beside(&database, &copy)).unwrap()), (2, 10));
}

#[test]
fn while_its_own_broker_has_the_old_database_open_nothing_is_touched() {
    let sandbox = Sandbox::new();
    let database = sandbox.database();
    let connection = legacy(&database);
    let bytes = |suffix| std::fs::read(beside(&database, suffix)).unwrap();
    let before = (bytes(""), bytes("-wal"));
    let error = why_not(&sandbox);
    assert!(error.contains("TypeScript claude-peers, whose broker is still running"), "{error}");
    let owner = format!("(process {} has it open)", std::process::id());
    assert!(error.contains(&owner), "{error}");
    assert!(error.contains("nothing was changed"), "{error}");
    assert_eq!((bytes(""), bytes("-wal")), before);
    assert_eq!(suffixes(&database), ["-shm", "-wal"]);
    assert_eq!(rows(&connection), (2, 10));
    connection.close().unwrap();
    sandbox.ok(["peers"]);
}

/// Random ids of one second: among so many, two are almost certainly equal.
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
            // The answer is the same for every request.
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
    assert_eq!(suffixes(&database), Vec::<String>::new());
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    server.join().unwrap();
    sandbox.ok(["peers"]);
    assert_eq!(sandbox.json(["log", "-n", "100"])["messages"].as_array().unwrap().len(), 10);
}
