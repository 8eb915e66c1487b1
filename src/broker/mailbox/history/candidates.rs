//! Which messages come into question, the newest first, a page at a time.

use crate::broker::core::Tx;
use crate::broker::mailbox::history::filter::Filter;
use crate::broker::mailbox::history::rows::{known_seq, seqs};
use crate::broker::mailbox::history::{index, prefix, thread, times, words};
use crate::broker::store::Fault;
use crate::protocol::messages::ListMessages;
use crate::protocol::{ApiError, ErrorCode, PeerId};

/// How many are found at once, at first; each page is twice the one before.
const FIRST_PAGE: i64 = 64;
const LARGEST_PAGE: i64 = 2_048;

/// Where the messages are found.
enum Source {
    /// In a list, the newest last.
    These(Vec<i64>),
    /// By the words that FTS5 is asked for.
    Words(String),
    /// Among those that a peer sent, and got unless `sent`.
    OfPeer { peer: String, sent: bool },
    /// Among all.
    All,
}

/// Messages that come into question.
pub(super) struct Candidates {
    source: Source,
    /// Those that were found and not looked at, the newest last.
    page: Vec<i64>,
    page_size: i64,
    /// All others are from this one on, …
    from: i64,
    /// … and before this one.
    before: i64,
}

impl Candidates {
    pub fn new(tx: &Tx<'_>, request: &ListMessages, filter: &Filter) -> Result<Self, Fault> {
        let source = if let Some(id) = &request.id {
            Source::These(prefix::resolve(tx, id)?.into_iter().collect())
        } else if let Some(id) = &request.thread {
            Source::These(thread::of(tx, id)?)
        } else if let Some(words) = &request.search {
            let query = words::query(words).ok_or_else(|| {
                ApiError::new(ErrorCode::BadRequest, "there is no word to search for")
                    .hint("Give at least one word with a letter or a digit.")
            })?;
            Source::Words(query)
        } else if filter.is_of_unread() {
            let mut unread = seqs(
                tx,
                "SELECT seq FROM messages INDEXED BY messages_unread
                 WHERE state IN ('queued', 'offered')",
                &[],
            )?;
            unread.sort_unstable();
            Source::These(unread)
        } else if let Some(peer) = &filter.peer {
            Source::OfPeer { peer: peer.clone(), sent: filter.sent }
        } else {
            Source::All
        };
        let before = match &request.before {
            Some(id) => known_seq(tx, id)?,
            None => i64::MAX,
        };
        let from = request.since.map_or(Ok(1), |since| times::first_since(tx, since))?;
        let until = request.until.map_or(Ok(i64::MAX), |until| times::first_since(tx, until))?;
        let before = before.min(until);
        Ok(Self { source, page: Vec::new(), page_size: FIRST_PAGE, from, before })
    }

    /// Returns the next one, which is older than all before.
    pub fn next(&mut self, tx: &Tx<'_>) -> Result<Option<i64>, Fault> {
        if self.page.is_empty() {
            self.page = self.read(tx)?;
            self.page.reverse();
            self.page_size = (self.page_size * 2).min(LARGEST_PAGE);
            if let Some(oldest) = self.page.first() {
                self.before = *oldest;
            }
        }
        Ok(self.page.pop())
    }

    /// Returns the newest of what is left, the newest first.
    fn read(&mut self, tx: &Tx<'_>) -> Result<Vec<i64>, Fault> {
        let (from, before, size) = (self.from, self.before, self.page_size);
        match &mut self.source {
            Source::These(seqs) => {
                let all = std::mem::take(seqs).into_iter().rev();
                Ok(all.filter(|seq| (from..before).contains(seq)).collect())
            }
            Source::Words(query) => search(tx, query, from, before, size),
            Source::OfPeer { peer, sent } => of_peer(tx, peer, *sent, from, before, size),
            Source::All => seqs(
                tx,
                "SELECT seq FROM messages WHERE seq >= ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
                &[&from, &before, &size],
            ),
        }
    }
}

fn search(tx: &Tx<'_>, query: &str, from: i64, before: i64, size: i64) -> Result<Vec<i64>, Fault> {
    index::find(
        tx,
        "SELECT rowid FROM message_words
         WHERE message_words MATCH ?1 AND rowid >= ?2 AND rowid < ?3 ORDER BY rowid DESC LIMIT ?4",
        &[&format!("words : ({query})"), &from, &before, &size],
    )
}

/// Returns the newest messages that a peer sent, and got unless `sent`, the newest first.
///
/// Of the unread messages those that it sent are known in memory.
fn of_peer(
    tx: &Tx<'_>,
    peer: &str,
    sent: bool,
    from: i64,
    before: i64,
    size: i64,
) -> Result<Vec<i64>, Fault> {
    let unread = tx.state.sent_unread.of(tx.db, &PeerId::from_text(peer))?;
    let in_range = unread.into_iter().rev().filter(|seq| (from..before).contains(seq));
    let newest: Vec<i64> = in_range.take(usize::try_from(size).unwrap_or(0)).collect();
    // Serialising numbers cannot fail.
    let newest = serde_json::to_string(&newest).unwrap_or_default();
    seqs(
        tx,
        "SELECT seq FROM (
             SELECT seq FROM (SELECT seq FROM messages INDEXED BY messages_done_by_sender
                 WHERE sender = ?1 AND state NOT IN ('queued', 'offered')
                     AND seq >= ?5 AND seq < ?6
                 ORDER BY seq DESC LIMIT ?2)
             UNION
             SELECT value AS seq FROM json_each(?4)
             UNION
             SELECT seq FROM (SELECT seq FROM messages INDEXED BY messages_done_by_recipient
                 WHERE recipient = ?1 AND NOT ?3 AND state NOT IN ('queued', 'offered')
                     AND seq >= ?5 AND seq < ?6
                 ORDER BY seq DESC LIMIT ?2)
             UNION
             SELECT seq FROM (SELECT seq FROM messages INDEXED BY messages_unread
                 WHERE recipient = ?1 AND NOT ?3 AND state IN ('queued', 'offered')
                     AND seq >= ?5 AND seq < ?6
                 ORDER BY seq DESC LIMIT ?2))
         ORDER BY seq DESC LIMIT ?2",
        &[&peer, &size, &sent, &newest, &from, &before],
    )
}
