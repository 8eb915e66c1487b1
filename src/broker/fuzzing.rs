//! The fuzzers' entry point.

// Like a test, it fails loudly.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::RefCell;
use std::fs;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use tokio_util::sync::CancellationToken;

use crate::broker::store::{
    DatabaseStatus, OpeningProgress, Store, StoreOptions, TransactionHooks, fuzzing,
};
use crate::fuzzing::{directory, runtime};
use crate::protocol::Timestamp;

thread_local! {
    static SEEDS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Whatever file is at the database's path, opening it ends, and loses nothing: it is in use with
/// all of its messages, or there is a copy that has them, or it is refused and untouched.
///
/// The first byte says which database it is; what follows are changes of it: two bytes for the
/// place, one for the length, and the bytes. Zero is a file with these very bytes.
pub fn databases(data: &[u8]) {
    let Some((which, edits)) = data.split_first() else { return };
    let file = SEEDS.with_borrow_mut(|seeds| {
        if seeds.is_empty() {
            *seeds = all_seeds();
        }
        match usize::from(*which) % (seeds.len() + 1) {
            0 => edits.to_vec(),
            number => edited(seeds[number - 1].clone(), edits),
        }
    });
    let directory = directory();
    let (path, original) = (directory.path().join("db"), directory.path().join("original"));
    fs::write(&path, &file).unwrap();
    fs::write(&original, &file).unwrap();
    let before = messages(&original);
    let status = DatabaseStatus::default();
    let options = StoreOptions {
        path: &path,
        // Nothing answers there.
        legacy_port: 1,
        starting_owner: "{}",
        owner: "{}",
        rescue_file: &directory.path().join("rescued"),
        status,
    };
    let progress = OpeningProgress::default();
    match Store::open(options, NoState, CancellationToken::new(), &progress) {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            let untouched = |entry: fs::DirEntry| {
                entry.file_name() != "original"
                    && fs::read(entry.path()).is_ok_and(|found| found == file)
            };
            let mut entries = fs::read_dir(directory.path()).unwrap();
            let kept = entries.any(|entry| untouched(entry.unwrap()));
            assert!(kept || messages(&path) == before, "refused, and changed: {error}");
        }
        Ok((store, opened)) => {
            assert!(runtime().block_on(store.close()), "it can be closed in order");
            let after = messages(&path);
            assert!(after.is_some(), "what is in use can be read");
            if let Some(moved) = opened.moved_to {
                assert_eq!(fs::read(moved).unwrap(), file, "a damaged database is moved whole");
            } else if let Some(copy) = opened.legacy_copy {
                assert_eq!(messages(&copy), before, "the copy of a legacy database is whole");
            } else {
                assert!(before.is_none() || after >= before, "{before:?}, and then {after:?}");
            }
        }
    }
}

fn edited(mut file: Vec<u8>, mut edits: &[u8]) -> Vec<u8> {
    while let [high, low, length, rest @ ..] = edits {
        let (bytes, more) = rest.split_at(rest.len().min(usize::from(*length % 16) + 1));
        let place = usize::from(u16::from_be_bytes([*high, *low])) * file.len() / 0x1_0000;
        let end = file.len().min(place + bytes.len());
        file[place..end].copy_from_slice(&bytes[..end - place]);
        edits = more;
    }
    file
}

/// How many messages can be read of a database, without changing it.
fn messages(path: &Path) -> Option<i64> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    connection.query_row("SELECT count(*) FROM messages NOT INDEXED", [], |row| row.get(0)).ok()
}

/// Databases of ours of every schema, of the TypeScript claude-peers, and of another program.
fn all_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = fuzzing::databases();
    for statements in [
        concat!(
            include_str!("../../tests/it/database/typescript.sql"),
            "INSERT INTO peers VALUES ('ab12cd34', 4242, '/srv/api', '/srv/api', 'pts/1', 'the api',
             '2025-03-01T10:00:00.000Z', '2025-03-01T11:00:00.000Z');
         INSERT INTO messages (from_id, to_id, text, sent_at, delivered) VALUES
             ('ab12cd34', 'zzzzzzzz', 'hello', '2025-03-01T10:00:01.500Z', 1),
             ('zzzzzzzz', 'ab12cd34', NULL, 'yesterday', 0),
             ('ab12cd34', '', 12345, NULL, 'yes');"
        ),
        "CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('not ours');",
    ] {
        let directory = directory();
        let path = directory.path().join("seed");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA page_size = 512;").unwrap();
        connection.execute_batch(statements).unwrap();
        connection.close().unwrap();
        seeds.push(fs::read(&path).unwrap());
    }
    seeds
}

/// Nothing but a database.
struct NoState;

impl TransactionHooks for NoState {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }
}
