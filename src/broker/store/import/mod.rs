//! Peers and messages of a database that another version or a fork left, read as history.
//!
//! Nothing is asked of its form but that the columns which matter can be told by their names: it is
//! read as it lies there, row by row, whatever is in it, and written to a database of ours. So its
//! triggers, views, keys and types have no say. Whether a message was ever seen is not known: those
//! programs mark it delivered before anybody has it.

mod value;

use std::collections::HashMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row};

use crate::broker::store::tables::columns;
use crate::config::MAX_MESSAGE_BYTES;
use crate::protocol::{MessageId, PeerId, Timestamp};
use value::{limited, moment, text};

/// What a column is for, and how it may be called.
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

/// The words of a state in which nobody had been handed the message.
const WAITING: Names =
    &["pending", "queued", "undelivered", "new", "unread", "sending", "failed", "expired", "0"];

/// What our own table of messages has.
const OUR_MESSAGES: [&str; 5] = ["seq", "sender", "recipient", "sent_at", "state"];

/// What of a database can be read.
#[derive(Debug)]
pub struct History {
    peers: Option<String>,
    messages: Option<String>,
    /// It is, beyond doubt, of our family.
    is_certain: bool,
    /// Its messages have states of ours, which say what they mean.
    has_our_states: bool,
}

/// How reading went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Whole,
    /// Something of it could not be read.
    Part,
}

impl History {
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

    /// Whether the database is of our family, and no other program's.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.is_certain
    }

    /// Writes what can be read into `target`, a new database of ours.
    ///
    /// # Errors
    ///
    /// If `target` cannot be written. What cannot be read is left out.
    pub fn copy(&self, source: &Connection, target: &Connection) -> rusqlite::Result<Taken> {
        let mut people = People::of(target)?;
        let peers = self.peers.as_ref().map(|select| {
            each(source, select, &mut |row| {
                let [id, cwd, summary] = [0, 1, 2].map(|column| text(row, column));
                let seen = moment(row, 3).unwrap_or(people.now);
                let (cwd, summary) = (cwd.unwrap_or_default(), summary.unwrap_or_default());
                people.add(target, id, limited(&cwd, 4_096), limited(&summary, 4_096), seen)
            })
        });
        let messages = self.messages.as_ref().map(|select| {
            each(source, select, &mut |row| {
                let sent_at = moment(row, 3).unwrap_or(people.now);
                let from = people.party(target, text(row, 0), sent_at)?;
                let to = people.party(target, text(row, 1), sent_at)?;
                let words = text(row, 2).unwrap_or_default();
                let state = match text(row, 5).as_deref() {
                    Some("read") if self.has_our_states => "read",
                    _ if is_waiting(row) => "expired",
                    _ => "unconfirmed",
                };
                let words = limited(&words, MAX_MESSAGE_BYTES as usize);
                add_message(target, &from, &to, words, sent_at, state)
            })
        });
        let mut taken = Taken::Whole;
        for read in [peers, messages] {
            if read.transpose()? != Some(Taken::Whole) {
                taken = Taken::Part;
            }
        }
        Ok(taken)
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

    /// The statement that gives these columns; one that is not there is NULL.
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

/// In the order in which they came, as far as the table knows it.
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

/// Does something with each row that can be read.
///
/// # Errors
///
/// What `work` says. That no more can be read is none.
fn each(
    source: &Connection,
    select: &str,
    work: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<Taken> {
    let unread = |error: rusqlite::Error| {
        tracing::warn!(event = "storage", "an older database cannot be read whole: {error}");
        Ok(Taken::Part)
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
            Ok(None) => return Ok(Taken::Whole),
            Err(error) => return unread(error),
        }
    }
}

/// Whether a message had been handed to nobody. Column 4 is a flag, 5 a word.
fn is_waiting(row: &Row<'_>) -> bool {
    match row.get_ref(4) {
        Ok(ValueRef::Integer(flag)) => return flag == 0,
        Ok(ValueRef::Real(flag)) => return flag == 0.0,
        Ok(ValueRef::Text(_) | ValueRef::Blob(_)) => {
            // As SQLite casts it: what is no number is 0.
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

/// Many may have one time (the same second, or none that can be read), and of many ids of one time
/// two may be alike.
fn add_message(
    target: &Connection,
    from: &str,
    to: &str,
    words: &str,
    sent_at: Timestamp,
    state: &str,
) -> rusqlite::Result<()> {
    let mut insert = target.prepare_cached(
        "INSERT INTO messages (id, sender, recipient, text, sent_at, expires_at, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6) ON CONFLICT (id) DO NOTHING",
    )?;
    loop {
        let id = MessageId::generate(sent_at);
        if insert.execute((id.as_str(), from, to, words, sent_at.millis(), state))? > 0 {
            return Ok(());
        }
    }
}

/// The peers of the new database, by what the old one calls them.
struct People {
    known: HashMap<String, String>,
    now: Timestamp,
}

impl People {
    fn of(target: &Connection) -> rusqlite::Result<Self> {
        let cli: String =
            target.query_row("SELECT id FROM peers WHERE kind = 'cli'", [], |row| row.get(0))?;
        let mut known = HashMap::from([("cli".to_owned(), cli.clone()), (cli.clone(), cli)]);
        // Our own name for whom a notice is from is no peer's.
        known.insert(PeerId::broker().to_string(), PeerId::generate().to_string());
        Ok(Self { known, now: Timestamp::now() })
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
                 VALUES (?1, 'history', ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING",
            )?
            .execute((id.as_str(), cwd, summary, seen.millis()))?;
        Ok(())
    }

    /// The peer that an old message names. The rows of dead ones were deleted, so it may have to be
    /// made up from its id.
    fn party(
        &mut self,
        target: &Connection,
        id: Option<String>,
        at: Timestamp,
    ) -> rusqlite::Result<String> {
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| PeerId::generate().to_string());
        if !self.known.contains_key(&id) || id == PeerId::broker().as_str() {
            self.add(target, Some(id.clone()), "", "", at)?;
        }
        Ok(self.known.get(&id).cloned().unwrap_or(id))
    }
}
