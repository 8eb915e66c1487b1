//! A database that the TypeScript claude-peers left at our path.
//!
//! It is copied aside and taken over in one transaction: its messages become history, its peer
//! ids stay taken. While its broker still runs nothing is touched, because that broker would go
//! on writing to tables that are no longer there.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row};

use super::OpenError;
use super::schema::has_table;
use crate::protocol::{MessageId, PeerId, Timestamp};

/// Whether these are the tables of the TypeScript claude-peers.
pub fn is_legacy(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(!has_table(connection, "meta")?
        && has_columns(connection, "peers", &["id", "pid", "cwd", "summary", "last_seen"])?
        && has_columns(
            connection,
            "messages",
            &["id", "from_id", "to_id", "text", "sent_at", "delivered"],
        )?)
}

fn has_columns(connection: &Connection, table: &str, columns: &[&str]) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let found: Vec<String> =
        statement.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(columns.iter().all(|column| found.iter().any(|name| name == column)))
}

/// Refuses if the old broker answers on its port, or if any process holds the file open.
pub fn refuse_if_running(path: &Path, port: u16) -> Result<(), OpenError> {
    let holder = if answers_like_legacy(port) {
        Some(format!(" (port {port} answers)"))
    } else {
        process_with_open(path).map(|pid| format!(" (process {pid} has it open)"))
    };
    match holder {
        Some(holder) => Err(OpenError::LegacyRuns { path: path.into(), holder }),
        None => Ok(()),
    }
}

/// The old broker answers `GET /health` with `{"status":"ok","peers":…}`; ours also names its
/// protocol.
fn answers_like_legacy(port: u16) -> bool {
    let limit = Duration::from_millis(500);
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        stream
            .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.take(64 * 1024).read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    ask().is_ok_and(|answer| {
        answer.contains("\"status\"")
            && answer.contains("\"peers\"")
            && !answer.contains("\"protocol\"")
    })
}

/// Another process that has the file open, where the system tells (`/proc`).
fn process_with_open(path: &Path) -> Option<u32> {
    let wanted = path.canonicalize().ok()?;
    let processes = std::fs::read_dir("/proc").ok()?;
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .find(|pid| {
            std::fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|files| {
                files
                    .flatten()
                    .any(|file| std::fs::read_link(file.path()).is_ok_and(|f| f == wanted))
            })
        })
}

/// A whole copy, its log included, beside the original.
pub fn copy_aside(connection: &Connection, path: &Path) -> rusqlite::Result<PathBuf> {
    let stamp = Timestamp::now().to_string().replace(':', "-");
    let copy = crate::files::beside(path, &format!(".typescript-{stamp}"));
    // Made first, so that it is never readable by others.
    crate::files::write_private(&copy, "")
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
    connection.backup("main", &copy, None::<fn(rusqlite::backup::Progress)>).inspect_err(|_| {
        let _ = std::fs::remove_file(&copy);
    })?;
    Ok(copy)
}

/// Makes room for our tables of the same names.
pub fn rename_tables(transaction: &Connection) -> rusqlite::Result<()> {
    transaction.execute_batch(
        "ALTER TABLE peers RENAME TO legacy_peers; ALTER TABLE messages RENAME TO legacy_messages;",
    )
}

/// Takes peers and messages over and drops the old tables. Whether a message was ever seen is
/// not known: the old broker marked it delivered before anybody had it.
pub fn import(transaction: &Connection) -> rusqlite::Result<()> {
    let cli: String =
        transaction.query_row("SELECT id FROM peers WHERE kind = 'cli'", [], |row| row.get(0))?;
    let now = Timestamp::now();
    let mut peers = transaction
        .prepare("SELECT CAST(id AS TEXT), CAST(cwd AS TEXT), CAST(summary AS TEXT), CAST(last_seen AS TEXT) FROM legacy_peers")?;
    let mut rows = peers.query([])?;
    while let Some(row) = rows.next()? {
        let id = text(row, 0)?;
        let Some(id) = id.filter(|id| id != "cli") else { continue };
        let (cwd, summary) = (text(row, 1)?, text(row, 2)?);
        let seen = moment(text(row, 3)?).unwrap_or(now);
        add_peer(transaction, &id, &cwd.unwrap_or_default(), &summary.unwrap_or_default(), seen)?;
    }
    drop(rows);
    drop(peers);

    let mut messages = transaction.prepare(
        "SELECT CAST(from_id AS TEXT), CAST(to_id AS TEXT), CAST(text AS TEXT), CAST(sent_at AS TEXT), CAST(delivered AS INTEGER)
         FROM legacy_messages ORDER BY rowid",
    )?;
    let mut rows = messages.query([])?;
    while let Some(row) = rows.next()? {
        let (from, to, words) = (text(row, 0)?, text(row, 1)?, text(row, 2)?);
        let sent_at = moment(text(row, 3)?).unwrap_or(now);
        let delivered: Option<i64> = row.get(4)?;
        let from = party(transaction, from, &cli, sent_at)?;
        let to = party(transaction, to, &cli, sent_at)?;
        let state = if delivered == Some(0) { "expired" } else { "unconfirmed" };
        // Many may have one time (the same second, or none that can be read), and of many ids of
        // one time two may be alike.
        let mut insert = transaction.prepare_cached(
            "INSERT INTO messages (id, sender, recipient, text, sent_at, expires_at, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6) ON CONFLICT (id) DO NOTHING",
        )?;
        let words = words.unwrap_or_default();
        while insert.execute((
            MessageId::generate(sent_at).as_str(),
            &from,
            &to,
            &words,
            sent_at.millis(),
            state,
        ))? == 0
        {}
    }
    drop(rows);
    drop(messages);
    transaction.execute_batch("DROP TABLE legacy_messages; DROP TABLE legacy_peers;")
}

/// A column as text, whatever is in it: one odd row must not keep the broker from starting.
fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
        _ => None,
    })
}

fn add_peer(
    db: &Connection,
    id: &str,
    cwd: &str,
    summary: &str,
    seen: Timestamp,
) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO peers (id, kind, cwd, summary, created_at, seen_at)
         VALUES (?1, 'history', ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING",
        (id, cwd, summary, seen.millis()),
    )?;
    Ok(())
}

/// The peer that an old message names; the old broker deleted the rows of dead peers, so it may
/// have to be made up from its id.
fn party(
    db: &Connection,
    id: Option<String>,
    cli: &str,
    at: Timestamp,
) -> rusqlite::Result<String> {
    let id = match id {
        Some(id) if id == "cli" => return Ok(cli.to_owned()),
        Some(id) if !id.is_empty() => id,
        _ => PeerId::generate().to_string(),
    };
    let known: Option<String> =
        db.query_row("SELECT id FROM peers WHERE id = ?1", [&id], |row| row.get(0)).optional()?;
    if known.is_none() {
        add_peer(db, &id, "", "", at)?;
    }
    Ok(id)
}

/// The old times are ISO 8601 text.
fn moment(text: Option<String>) -> Option<Timestamp> {
    serde_json::from_value(serde_json::Value::String(text?)).ok()
}
