//! Imports peers and messages of a legacy database into the history of a new one.
//!
//! The legacy database may be of any version or fork. It is only required that the columns that matter
//! can be recognised by their names. Its rows are read one by one, whatever is in them, and written
//! to a database of ours, so that its triggers, views, keys and types have no effect. Whether a
//! message was ever seen is not known: those programs mark a message as delivered before it is
//! shown.

mod value;

use std::collections::HashMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::broker::store::meta;
use crate::broker::store::schema::columns;
use crate::config::MAX_MESSAGE_BYTES;
use crate::protocol::{PeerId, Timestamp};
use crate::sys::clock;
use crate::sys::random;
use value::{limited, moment, text};

/// The names that a column for one purpose may have.
type Names = &'static [&'static str];

const ID: Names = &["id", "peer_id"];
const DIRECTORY: Names = &["cwd", "directory", "working_directory"];
const SUMMARY: Names = &["summary", "description"];
const SEEN: Names = &["last_seen", "seen_at", "last_seen_at", "updated_at"];

const FROM: Names = &["from_id", "sender", "sender_id", "from_peer", "from_peer_id"];
const TO: Names = &["to_id", "recipient", "recipient_id", "to_peer", "to_peer_id"];
const TEXT: Names = &["text", "body", "message", "content"];
const SENT: Names = &["sent_at", "created_at", "timestamp"];
const DELIVERED: Names = &["delivered", "is_delivered"];
const STATE: Names = &["delivery_state", "state", "status", "delivery_status"];

/// The states in which a message had not been delivered.
const WAITING: Names =
    &["pending", "queued", "undelivered", "new", "unread", "sending", "failed", "expired", "0"];

/// Columns of our own table of messages.
const OUR_MESSAGES: [&str; 5] = ["seq", "sender", "recipient", "sent_at", "state"];

/// The parts of a database that can be read.
#[derive(Debug)]
pub struct Import {
    peers: Option<String>,
    messages: Option<String>,
    /// The database is, beyond doubt, of this program or a related one.
    is_certain: bool,
    /// Its messages have the states of this program.
    has_our_states: bool,
}

/// How much of a database could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    Whole,
    /// A part of it could not be read.
    InPart,
}

impl Import {
    /// Finds the parts of a database that can be read.
    ///
    /// # Errors
    ///
    /// If the list of its tables cannot be read.
    pub fn find(connection: &Connection) -> rusqlite::Result<Self> {
        let peers = Columns(columns(connection, "peers")?);
        let messages = Columns(columns(connection, "messages")?);
        let is_peers = peers.have(ID)
            && [DIRECTORY, SUMMARY, SEEN, &["pid"]].iter().any(|names| peers.have(names));
        let is_messages = [FROM, TO, TEXT].iter().all(|names| messages.have(names));
        let first = |names: &[&str]| names.iter().all(|name| peers.name(&[name]).is_some());
        let second = |names: &[&str]| names.iter().all(|name| messages.name(&[name]).is_some());
        Ok(Self {
            is_certain: (is_peers && is_messages)
                || first(&["id", "pid", "cwd", "summary"])
                || second(&["from_id", "to_id", "text", "sent_at"])
                || second(&OUR_MESSAGES),
            has_our_states: second(&OUR_MESSAGES),
            peers: is_peers.then(|| peers.select("peers", &[ID, DIRECTORY, SUMMARY, SEEN], "")),
            messages: is_messages
                .then(|| {
                    let wanted = [FROM, TO, TEXT, SENT, DELIVERED, STATE];
                    Ok::<_, rusqlite::Error>(messages.select(
                        "messages",
                        &wanted,
                        &order(connection, &messages)?,
                    ))
                })
                .transpose()?,
        })
    }

    /// Whether the database was written by this program or a related one.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.is_certain
    }

    /// Writes the rows that can be read into `target`, a new database of ours.
    ///
    /// # Errors
    ///
    /// If `target` cannot be written. Rows that cannot be read are left out.
    pub fn copy(&self, source: &Connection, target: &Connection) -> rusqlite::Result<Imported> {
        let mut imported_peers = ImportedPeers::of(target)?;
        let peers = self.peers.as_ref().map(|select| {
            each(source, select, &mut |row| {
                let [id, cwd, summary] = [0, 1, 2].map(|column| text(row, column));
                let seen = moment(row, 3).unwrap_or(imported_peers.now);
                let (cwd, summary) = (cwd.unwrap_or_default(), summary.unwrap_or_default());
                imported_peers.add(target, id, limited(&cwd, 4_096), limited(&summary, 4_096), seen)
            })
        });
        let mut seq = 0;
        let messages = self.messages.as_ref().map(|select| {
            each(source, select, &mut |row| {
                let sent_at = moment(row, 3).unwrap_or(imported_peers.now);
                let from = imported_peers.party(target, text(row, 0), sent_at)?;
                let to = imported_peers.party(target, text(row, 1), sent_at)?;
                let body = text(row, 2).unwrap_or_default();
                let state = match text(row, 5).as_deref() {
                    Some("read") if self.has_our_states => "read",
                    _ if is_waiting(row) => "expired",
                    _ => "unconfirmed",
                };
                let body = limited(&body, MAX_MESSAGE_BYTES as usize);
                seq += 1;
                add_message(target, seq, &from, &to, body, sent_at, state)
            })
        });
        // None of them has an idempotency key.
        meta::set(target, meta::KEYS_FORGOTTEN_TO, &seq.to_string())?;
        let mut imported = Imported::Whole;
        for read in [peers, messages] {
            if read.transpose()? != Some(Imported::Whole) {
                imported = Imported::InPart;
            }
        }
        Ok(imported)
    }
}

/// The names of a table's columns.
struct Columns(Vec<String>);

impl Columns {
    fn name(&self, names: &[&str]) -> Option<&str> {
        names
            .iter()
            .find_map(|name| self.0.iter().find(|column| column.eq_ignore_ascii_case(name)))
            .map(String::as_str)
    }

    fn have(&self, names: &[&str]) -> bool {
        self.name(names).is_some()
    }

    /// Returns the statement that selects these columns, with NULL for those that do not exist.
    fn select(&self, table: &str, wanted: &[Names], order: &str) -> String {
        let columns: Vec<String> = wanted
            .iter()
            .map(|names| self.name(names).map_or_else(|| "NULL".to_owned(), quoted))
            .collect();
        format!("SELECT {} FROM {}{order}", columns.join(", "), quoted(table))
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the clause that orders the messages by their arrival, as far as the table has that.
fn order(connection: &Connection, messages: &Columns) -> rusqlite::Result<String> {
    let without_rowid: Option<bool> = connection
        .query_row(
            "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = 'messages'",
            [],
            |row| row.get(0),
        )
        .optional()?;
    Ok(match messages.name(SENT) {
        Some(sent) if without_rowid == Some(true) => format!(" ORDER BY {}", quoted(sent)),
        _ if without_rowid == Some(false) => " ORDER BY rowid".to_owned(),
        _ => String::new(),
    })
}

/// Calls `work` with each row that can be read.
///
/// # Errors
///
/// An error of `work`. A row that cannot be read is not an error: it ends the loop.
fn each(
    source: &Connection,
    select: &str,
    work: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<Imported> {
    let unread = |error: rusqlite::Error| {
        tracing::warn!(event = "storage", "a part of the legacy database cannot be read: {error}");
        Ok(Imported::InPart)
    };
    let mut statement = match source.prepare(select) {
        Ok(statement) => statement,
        Err(error) => return unread(error),
    };
    let mut rows = match statement.query([]) {
        Ok(rows) => rows,
        Err(error) => return unread(error),
    };
    loop {
        match rows.next() {
            Ok(Some(row)) => work(row)?,
            Ok(None) => return Ok(Imported::Whole),
            Err(error) => return unread(error),
        }
    }
}

/// Whether a message had not been delivered. Column 4 is a flag, column 5 a word.
fn is_waiting(row: &Row<'_>) -> bool {
    match row.get_ref(4) {
        Ok(ValueRef::Integer(flag)) => return flag == 0,
        Ok(ValueRef::Real(flag)) => return flag == 0.0,
        Ok(ValueRef::Text(_) | ValueRef::Blob(_)) => {
            // SQLite casts text that is not a number to 0.
            let flag = text(row, 4).unwrap_or_default();
            return matches!(flag.trim().parse::<f64>(), Err(_) | Ok(0.0));
        }
        Ok(ValueRef::Null) | Err(_) => {}
    }
    if let Some(state) = text(row, 5) {
        return WAITING.contains(&state.trim().to_ascii_lowercase().as_str());
    }
    false
}

/// Inserts a message with this sequence number, under a new id.
fn add_message(
    target: &Connection,
    seq: i64,
    from: &str,
    to: &str,
    body: &str,
    sent_at: Timestamp,
    state: &str,
) -> rusqlite::Result<()> {
    target
        .prepare_cached(
            "INSERT INTO messages (seq, id, numbered, sender, recipient, text, sent_at, expires_at, state)
             VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?6, ?7)",
        )?
        .execute((seq, random::message_id(seq).as_str(), from, to, body, sent_at.millis(), state))?;
    Ok(())
}

/// The peers of the new database, by their ids in the legacy one.
struct ImportedPeers {
    known: HashMap<String, String>,
    now: Timestamp,
}

impl ImportedPeers {
    fn of(target: &Connection) -> rusqlite::Result<Self> {
        let cli: String =
            target.query_row("SELECT id FROM peers WHERE kind = 'cli'", [], |row| row.get(0))?;
        let mut known = HashMap::from([("cli".to_owned(), cli.clone()), (cli.clone(), cli)]);
        // Here this id is that of the sender of notices.
        known.insert(PeerId::broker().to_string(), random::peer_id().to_string());
        Ok(Self { known, now: clock::now() })
    }

    fn add(
        &mut self,
        target: &Connection,
        id: Option<String>,
        cwd: &str,
        summary: &str,
        seen: Timestamp,
    ) -> rusqlite::Result<()> {
        let Some(id) = id.filter(|id| !id.is_empty() && id != "cli") else { return Ok(()) };
        let id = self.known.entry(id).or_insert_with_key(|id| limited(id, 200).to_owned());
        target
            .prepare_cached(
                "INSERT INTO peers (id, kind, cwd, summary, created_at, seen_at)
                 VALUES (?1, 'legacy', ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING",
            )?
            .execute((id.as_str(), cwd, summary, seen.millis()))?;
        Ok(())
    }

    /// Returns the peer that a legacy message names. The rows of ended peers were deleted, so a peer
    /// may have to be inserted from its id alone.
    fn party(
        &mut self,
        target: &Connection,
        id: Option<String>,
        at: Timestamp,
    ) -> rusqlite::Result<String> {
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| random::peer_id().to_string());
        if !self.known.contains_key(&id) || id == PeerId::broker().as_str() {
            self.add(target, Some(id.clone()), "", "", at)?;
        }
        Ok(self.known.get(&id).cloned().unwrap_or(id))
    }
}
