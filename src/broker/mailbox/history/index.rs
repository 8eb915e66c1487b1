//! The index of the words of all messages, for the search.
//!
//! It is derived from the messages, and kept up to date when nothing else is to be done, or when somebody
//! searches: never by a send, which it would cost pages. It may be removed at any time, and a broker
//! that knows nothing of it leaves it as it is.
//!
//! It has no copy of the texts (FTS5: a contentless-delete table, <https://sqlite.org/fts5.html>).

use std::time::Duration;

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::broker::core::Tx;
use crate::broker::mailbox::history::rows::seqs;
use crate::broker::mailbox::history::words::spaced;
use crate::broker::mailbox::sequence::last_seq;
use crate::broker::store::{Fault, meta};
use crate::protocol::{ApiError, ErrorCode};

/// How long one transaction may go on: all requests wait for it.
const TIME_AT_ONCE: Duration = Duration::from_millis(5);

/// How many messages are read at once.
const ROWS_AT_ONCE: i64 = 32;

/// The key in `meta` of the last message that is indexed.
const INDEXED_TO: &str = "indexed_to";

/// `answers` has the id of the message that is answered, by which a thread is found.
const CREATE: &str = "CREATE VIRTUAL TABLE message_words USING fts5 (
    words, answers, content = '', contentless_delete = 1, prefix = '2 3',
    tokenize = 'unicode61 remove_diacritics 2')";

/// Returns the last message that is indexed, by its sequence number; 0 if there is no index.
fn indexed_to(tx: &Tx<'_>) -> Result<i64, Fault> {
    if !exists(tx.db)? {
        return Ok(0);
    }
    let stored = meta::get(tx.db, INDEXED_TO)?;
    Ok(stored.and_then(|stored| stored.parse().ok()).unwrap_or(0))
}

/// Returns the messages that a statement finds in the index; none if there is no index.
///
/// # Errors
///
/// [`ErrorCode::Storage`] if the index is damaged.
pub fn find(tx: &Tx<'_>, statement: &str, parameters: &[&dyn ToSql]) -> Result<Vec<i64>, Fault> {
    if indexed_to(tx)? == 0 {
        return Ok(Vec::new());
    }
    seqs(tx, statement, parameters).map_err(|fault| match fault {
        fault if is_damaged(&fault) => damaged().into(),
        fault => fault,
    })
}

/// Returns how many messages are not indexed yet, about.
pub fn left(tx: &Tx<'_>) -> Result<u64, Fault> {
    Ok(u64::try_from(last_seq(tx)? - indexed_to(tx)?).unwrap_or(0))
}

/// Indexes the next messages, as many as a short time allows. Returns about how many are left.
///
/// # Errors
///
/// If the database fails. An index that is damaged is built anew.
pub fn advance(tx: &mut Tx<'_>) -> Result<u64, Fault> {
    let advanced = add_next(tx);
    repaired(tx.db, advanced)?;
    left(tx)
}

fn add_next(tx: &mut Tx<'_>) -> Result<(), Fault> {
    let clock = tx.state.live.sources.clock.clone();
    let began = clock.instant();
    if !exists(tx.db)? {
        tx.db.execute_batch(CREATE)?;
        meta::set(tx.db, INDEXED_TO, "0")?;
    }
    let first = indexed_to(tx)?;
    let mut last = first;
    while clock.elapsed(began) < TIME_AT_ONCE {
        let rows = add_rows(tx.db, &mut last)?;
        if rows < ROWS_AT_ONCE {
            break;
        }
    }
    if last > first {
        meta::set(tx.db, INDEXED_TO, &last.to_string())?;
    }
    Ok(())
}

/// Adds some messages after `last`, which is moved on. Returns how many there were.
fn add_rows(db: &Connection, last: &mut i64) -> rusqlite::Result<i64> {
    let mut next = db.prepare_cached(
        "SELECT seq, text, coalesce(reply_to, '') FROM messages
         WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut add =
        db.prepare_cached("INSERT INTO message_words (rowid, words, answers) VALUES (?1, ?2, ?3)")?;
    let mut count = 0;
    let mut rows = next.query(params![*last, ROWS_AT_ONCE])?;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        // A database that another program wrote may have anything here.
        let text = row.get_ref(1)?.as_str().unwrap_or_default();
        add.execute(params![seq, spaced(text), row.get_ref(2)?.as_str().unwrap_or_default()])?;
        *last = seq;
        count += 1;
    }
    Ok(count)
}

/// Removes a message that is deleted.
pub fn remove(db: &Connection, seq: i64) -> Result<(), Fault> {
    if exists(db)? {
        let removed = db
            .prepare_cached("DELETE FROM message_words WHERE rowid = ?1")
            .and_then(|mut statement| statement.execute([seq]));
        repaired(db, removed.map(drop).map_err(Fault::from))?;
    }
    Ok(())
}

/// Removes the index, which is built anew from then on.
pub fn drop_index(db: &Connection) -> Result<(), Fault> {
    Ok(db.execute_batch("DROP TABLE IF EXISTS message_words")?)
}

/// Whether it is the index that is damaged. Nothing else of the database need be.
fn is_damaged(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::Database(rusqlite::Error::SqliteFailure(error, _))
            if error.extended_code == rusqlite::ffi::SQLITE_CORRUPT_VTAB
    )
}

/// Returns the error for a search in an index that is damaged.
fn damaged() -> ApiError {
    ApiError::new(ErrorCode::Storage, "the index for the search is damaged")
        .hint("It is built anew. Search again in a moment.")
}

/// Removes the index if a write found it damaged, and goes on.
fn repaired(db: &Connection, result: Result<(), Fault>) -> Result<(), Fault> {
    match result {
        Err(fault) if is_damaged(&fault) => {
            tracing::error!(
                event = "storage",
                "the index for the search was damaged; it is built anew"
            );
            drop_index(db)
        }
        result => result,
    }
}

fn exists(db: &Connection) -> rusqlite::Result<bool> {
    db.prepare_cached(
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'message_words'",
    )?
    .query_row([], |_| Ok(()))
    .optional()
    .map(|found| found.is_some())
}
