//! Finds the peer that a word means: an id, a name, or the beginning of either.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, Row, params};

use crate::broker::core::Tx;
use crate::broker::registry::ended;
use crate::broker::registry::keys::is_past_grace;
use crate::broker::registry::listing::{
    HookClient, ListedPeer, PEER_COLUMNS, Unread, add_presence, backlog, entry, leased_count,
    peer_columns, uncounted,
};
use crate::broker::registry::profile::COMMAND_LINE_SUFFIX;
use crate::broker::registry::scan::all_listed;
use crate::broker::store::Fault;
use crate::protocol::error::{Candidate, Missing};
use crate::protocol::peers::{Peer, PeerKind, Reachability};
use crate::protocol::{ApiError, ErrorCode, PeerId, Timestamp, names};

/// Holds the peer that a word means.
pub struct Resolved {
    found: ListedPeer,
    mail: Mail,
    /// The word, if it is the name of a peer that is away.
    pub name_while_away: Option<String>,
}

impl Resolved {
    #[must_use]
    pub const fn id(&self) -> &PeerId {
        &self.found.peer.id
    }

    #[must_use]
    pub const fn kind(&self) -> PeerKind {
        self.found.peer.kind
    }

    /// Returns whether the peer has ended and only a successor can continue it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.found.peer.reach == Reachability::Ended
    }

    /// Returns the peer's name; its id if it has none.
    #[must_use]
    pub fn display_name(&self) -> &str {
        self.found.peer.name.as_deref().unwrap_or(self.id().as_str())
    }

    /// Returns the unread messages at the time of the look-up.
    #[must_use]
    pub const fn unread(&self) -> Unread {
        Unread { total: self.found.unread, uncounted: self.mail.uncounted }
    }

    /// Takes account of the message `seq`, which is stored now, and whether it was leased.
    pub fn add_message(&mut self, tx: &Tx<'_>, seq: i64, is_leased: bool) -> Result<(), Fault> {
        let unread = self.unread().with_message(tx, self.id(), seq)?;
        (self.found.unread, self.mail.uncounted) = (unread.total, unread.uncounted);
        self.mail.leased += u64::from(is_leased);
        self.mail.oldest = self.mail.oldest.or(Some(tx.now));
        Ok(())
    }

    /// Looks the peer up again.
    pub fn refresh(&mut self, tx: &Tx<'_>) -> Result<(), Fault> {
        let Self { found, mail, .. } = by_id(tx, self.id())?;
        (self.found, self.mail) = (found, mail);
        Ok(())
    }

    /// Returns the peer as others see it.
    #[must_use]
    pub fn peer(&self) -> Peer {
        let unread = self.found.unread.saturating_sub(self.mail.leased);
        let oldest_unread = self.mail.oldest.filter(|_| unread > 0);
        Peer { unread, oldest_unread, ..self.found.peer.clone() }
    }
}

/// What [`ListedPeer`] does not say of a peer's unread messages, without notices.
struct Mail {
    /// Those under a running lease.
    leased: u64,
    /// Those that are not counted in the peer's row.
    uncounted: u64,
    /// When the oldest of them was sent.
    oldest: Option<Timestamp>,
}

/// A peer with its mail; `?1` is its id or name, `?2` the time.
macro_rules! peer_with_mail {
    ($by_id:literal, $condition:literal) => {
        concat!(
            "SELECT ",
            peer_columns!(),
            ", ",
            leased_count!(),
            ", ",
            uncounted!(),
            ", (SELECT m.sent_at FROM messages m INDEXED BY messages_unread
                WHERE m.recipient = peers.id AND m.state IN ('queued', 'offered')
                  AND m.sender <> 'broker' ORDER BY m.seq LIMIT 1),
               peers.client_process,
               (SELECT coalesce(k.peer, '')
                FROM clients c LEFT JOIN keys k ON k.key = 'session:' || c.session
                WHERE c.process = peers.client_process), ",
            $by_id,
            " FROM peers WHERE ",
            $condition
        )
    };
}

const BY_ID: &str = peer_with_mail!("1", "id = ?1");

/// The peer with this id, and then the one with this name.
const BY_ID_OR_NAME: &str = concat!(
    peer_with_mail!("1", "id = ?1"),
    " UNION ALL ",
    peer_with_mail!("0", "name = ?1 AND id <> ?1")
);

/// Reads a row of [`peer_with_mail`]. Returns also whether it is that of the id.
fn read(row: &Row<'_>) -> rusqlite::Result<(ListedPeer, Mail, bool)> {
    let count = |column| -> rusqlite::Result<u64> {
        Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
    };
    let at = PEER_COLUMNS;
    let mail = Mail {
        leased: count(at)?,
        uncounted: count(at + 1)?,
        oldest: row.get::<_, Option<i64>>(at + 2)?.map(Timestamp::from_millis),
    };
    let (process, shows): (Option<String>, Option<String>) = (row.get(at + 3)?, row.get(at + 4)?);
    let hooks = process.zip(shows).map(|(process, shows)| HookClient { process, shows });
    Ok((ListedPeer { hooks, ..entry(row)? }, mail, row.get(at + 5)?))
}

/// Returns a peer that is known to exist, as it is now.
fn by_id(tx: &Tx<'_>, id: &PeerId) -> Result<Resolved, Fault> {
    let (mut found, mail, _) =
        tx.db.prepare_cached(BY_ID)?.query_row(params![id.as_str(), tx.now.millis()], read)?;
    add_presence(tx, &mut found)?;
    Ok(Resolved { found, mail, name_while_away: None })
}

/// Returns what a peer is called, with its id.
pub fn display_name(tx: &Tx<'_>, peer: &PeerId) -> Result<String, Fault> {
    let name: Option<Option<String>> = tx
        .db
        .prepare_cached("SELECT name FROM peers WHERE id = ?1")?
        .query_row([peer.as_str()], |row| row.get(0))
        .optional()?;
    Ok(match name.flatten() {
        Some(name) => format!("{name} ({peer})"),
        None => peer.to_string(),
    })
}

/// Returns the peer with this id, else with this name, else with an unambiguous prefix of either.
///
/// # Errors
///
/// * [`ErrorCode::BadRequest`] if the word is empty.
/// * [`ErrorCode::NotFound`] if it means no peer, or an ended session.
/// * [`ErrorCode::Ambiguous`], with the candidates, if it means several.
pub fn resolve(tx: &Tx<'_>, word: &str) -> Result<Resolved, Fault> {
    let word = names::canonical(word);
    // The forms in which senders are shown can be addressed as well.
    let word = word.trim_end_matches(COMMAND_LINE_SUFFIX).trim_start_matches('@').trim_start();
    if word.is_empty() {
        return Err(ApiError::new(ErrorCode::BadRequest, "no peer is given")
            .hint("Give a peer's id, name, or an unambiguous prefix of either.")
            .into());
    }
    let mut exact = tx.db.prepare_cached(BY_ID_OR_NAME)?;
    let mut rows = exact.query(params![word, tx.now.millis()])?;
    while let Some(row) = rows.next()? {
        let (mut found, mail, by_id) = read(row)?;
        add_presence(tx, &mut found)?;
        if by_id || !is_left(tx, &found)? {
            let away = !by_id && !found.peer.live && found.peer.kind != PeerKind::Cli;
            let name_while_away = away.then(|| word.to_owned());
            return Ok(Resolved { found, mail, name_while_away });
        }
    }
    let key = names::key(word);
    let is_called = |candidate: &ListedPeer, fits: &dyn Fn(&str) -> bool| {
        candidate.peer.name.as_deref().is_some_and(|name| fits(&names::key(name)))
    };
    let mut fitting = all_listed(tx)?;
    fitting.retain(|candidate| {
        candidate.peer.id.as_str().starts_with(word)
            || is_called(candidate, &|name| name.starts_with(&key))
    });
    if let Some(at) = fitting.iter().position(|one| is_called(one, &|name| name == key)) {
        // The same word in another spelling.
        return by_id(tx, &fitting[at].peer.id);
    }
    // The name of an ended session does not mean a listed peer whose name only begins with it.
    if let Some(error) = ended::find_by_name(tx, word, &fitting_candidates(&fitting))? {
        return Err(error.into());
    }
    match (fitting.pop(), fitting.is_empty()) {
        (Some(found), true) => by_id(tx, &found.peer.id),
        (Some(last), false) => {
            fitting.push(last);
            Err(ambiguous(word, &fitting).into())
        }
        (None, _) => Err(not_found(tx, word)?.into()),
    }
}

/// How long sessions may take to register again after the database was replaced.
const RETURN_GRACE: Duration = Duration::from_secs(60);

/// The most peers with similar names that are named.
const MAX_SIMILAR: usize = 3;

/// Refuses a word that means no peer, and names those that it may have meant.
fn not_found(tx: &Tx<'_>, word: &str) -> Result<ApiError, Fault> {
    let error = ApiError::new(ErrorCode::NotFound, format!("there is no peer {word:?}"));
    let replaced = tx.state.replaced;
    if replaced.is_some_and(|at| tx.state.live.sources.clock.elapsed(at) < RETURN_GRACE) {
        return Ok(error.hint("The database was replaced while the broker was running (see `claude-peers status`). Running sessions are registering again; try again in a moment."));
    }
    let mut error = error.missing(Missing::Peer);
    let similar = similar(all_listed(tx)?, &names::key(word));
    let names: Vec<String> =
        similar.iter().filter_map(|one| one.peer.name.as_ref()).map(|n| format!("{n:?}")).collect();
    if !names.is_empty() {
        error = error.hint(format!("Did you mean {}?", names.join(" or ")));
    }
    error.candidates = fitting_candidates(&similar);
    Ok(error)
}

/// Returns the peers whose names differ from a word by few letters, the most similar first.
fn similar(listed: Vec<ListedPeer>, key: &str) -> Vec<ListedPeer> {
    let most = key.chars().count().div_ceil(3);
    let mut near: Vec<(usize, ListedPeer)> = listed
        .into_iter()
        .filter_map(|one| {
            let name = names::key(one.peer.name.as_deref()?);
            // A word that is much longer or shorter is another one; the distance of two long ones is
            // costly.
            let close = name.chars().count().abs_diff(key.chars().count()) <= most;
            let distance = close.then(|| strsim::damerau_levenshtein(&name, key))?;
            (distance <= most).then_some((distance, one))
        })
        .collect();
    near.sort_by_key(|(distance, _)| *distance);
    near.into_iter().take(MAX_SIMILAR).map(|(_, one)| one).collect()
}

/// Returns whether a peer has given up its name: a session that ended without mail, and whose name no
/// person chose.
fn is_left(tx: &Tx<'_>, entry: &ListedPeer) -> Result<bool, Fault> {
    let is_session = matches!(entry.peer.kind, PeerKind::Session | PeerKind::Client);
    let ended =
        is_session && !entry.peer.live && !entry.explicit && is_past_grace(tx, entry.seen_at);
    Ok(ended && (entry.unread == 0 || backlog(tx, &entry.peer.id)? == 0))
}

fn ambiguous(word: &str, fitting: &[ListedPeer]) -> ApiError {
    let mut error = ApiError::new(
        ErrorCode::Ambiguous,
        format!("{word:?} matches {} peers; nothing was done", fitting.len()),
    )
    .hint("Use the id of one of them.");
    error.candidates = fitting_candidates(fitting);
    error
}

fn fitting_candidates(fitting: &[ListedPeer]) -> Vec<Candidate> {
    let peers = fitting.iter().map(|entry| &entry.peer);
    peers
        .map(|peer| Candidate {
            id: peer.id.clone(),
            name: peer.name.clone(),
            cwd: peer.cwd.clone(),
        })
        .collect()
}
