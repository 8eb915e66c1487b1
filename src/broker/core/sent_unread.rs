//! The unread messages of each sender, which no index of the database has: it would cost each message
//! a page more.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, params};

use crate::protocol::PeerId;

/// From how many messages of a sender on those that are read are forgotten as it sends.
const MIN_CHECKED: usize = 4_096;

/// The sequence numbers of messages by their senders: all that are unread, and some that were.
///
/// So it only grows with what is sent, and whoever asks for the messages of a sender removes what is
/// not unread any more.
#[derive(Debug, Default)]
pub struct SentUnread(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    all: Option<HashMap<PeerId, Sent>>,
    /// Since the last commit, `all` was read.
    is_new: bool,
    /// What was removed since the last commit: by a rollback it becomes unread again.
    removed: Vec<(PeerId, i64)>,
}

#[derive(Debug, Default)]
struct Sent {
    seqs: BTreeSet<i64>,
    /// How many there were at the last look.
    unread: usize,
}

impl SentUnread {
    /// Takes account of a message that is stored now.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn add(&self, db: &Connection, sender: &PeerId, seq: i64) -> rusqlite::Result<()> {
        let mut known = self.lock();
        let Known { all: Some(all), removed, .. } = &mut *known else { return Ok(()) };
        let sent = match all.get_mut(sender) {
            Some(sent) => sent,
            None => all.entry(sender.clone()).or_default(),
        };
        sent.seqs.insert(seq);
        if sent.seqs.len() > MIN_CHECKED + 2 * sent.unread {
            sent.check(db, sender, removed)?;
        }
        Ok(())
    }

    /// Returns the unread messages of a sender, oldest first. The index of all unread messages is read
    /// the first time, and never again.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn of(&self, db: &Connection, sender: &PeerId) -> rusqlite::Result<Vec<i64>> {
        let mut known = self.lock();
        if known.all.is_none() {
            known.all = Some(read(db)?);
            known.is_new = true;
        }
        let Known { all: Some(all), removed, .. } = &mut *known else { return Ok(Vec::new()) };
        let Some(sent) = all.get_mut(sender) else { return Ok(Vec::new()) };
        sent.check(db, sender, removed)?;
        let found = sent.seqs.iter().copied().collect();
        if sent.seqs.is_empty() {
            all.remove(sender);
        }
        Ok(found)
    }

    /// Takes account of a commit.
    pub fn committed(&self) {
        let mut known = self.lock();
        known.is_new = false;
        known.removed.clear();
    }

    /// Takes account of a rollback, of a request or of the whole transaction.
    pub fn rolled_back(&self) {
        let mut known = self.lock();
        if known.is_new {
            known.all = None;
        }
        let removed = std::mem::take(&mut known.removed);
        let Some(all) = &mut known.all else { return };
        for (sender, seq) in removed {
            all.entry(sender).or_default().seqs.insert(seq);
        }
    }

    /// Forgets all: another database is open.
    pub fn reset(&self) {
        *self.lock() = Known::default();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sent {
    /// Removes what is not unread any more, or was undone.
    fn check(
        &mut self,
        db: &Connection,
        sender: &PeerId,
        removed: &mut Vec<(PeerId, i64)>,
    ) -> rusqlite::Result<()> {
        // Serialising numbers cannot fail.
        let seqs = serde_json::to_string(&self.seqs).unwrap_or_default();
        let mut statement = db.prepare_cached(
            "SELECT m.seq FROM json_each(?1) JOIN messages m ON m.seq = json_each.value
             WHERE m.sender = ?2 AND m.state IN ('queued', 'offered')",
        )?;
        let rows = statement.query_map(params![seqs, sender.as_str()], |row| row.get(0))?;
        let unread: BTreeSet<i64> = rows.collect::<rusqlite::Result<_>>()?;
        removed.extend(self.seqs.difference(&unread).map(|seq| (sender.clone(), *seq)));
        self.seqs = unread;
        self.unread = self.seqs.len();
        Ok(())
    }
}

fn read(db: &Connection) -> rusqlite::Result<HashMap<PeerId, Sent>> {
    let mut statement = db.prepare_cached(
        "SELECT sender, seq FROM messages INDEXED BY messages_unread
         WHERE state IN ('queued', 'offered')",
    )?;
    let mut rows = statement.query([])?;
    let mut all: HashMap<PeerId, Sent> = HashMap::new();
    while let Some(row) = rows.next()? {
        let sender = row.get_ref(0)?.as_str()?;
        let sent = match all.get_mut(sender) {
            Some(sent) => sent,
            None => all.entry(PeerId::from_text(sender)).or_default(),
        };
        sent.seqs.insert(row.get(1)?);
    }
    Ok(all)
}
