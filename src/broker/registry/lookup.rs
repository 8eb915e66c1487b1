//! Whom a word means: an id, a name, or the beginning of either.

use std::time::Duration;

use crate::broker::core::Tx;
use crate::broker::registry::ended;
use crate::broker::registry::keys::is_past_grace;
use crate::broker::registry::listing::{
    COLUMNS, Entry, backlog, count_mail, entry, listed, look_for,
};
use crate::broker::registry::profile::COMMAND_LINE_SUFFIX;
use crate::broker::store::Fault;
use crate::protocol::error::Candidate;
use crate::protocol::peers::{Peer, PeerKind, Reachability};
use crate::protocol::{ApiError, ErrorCode, PeerId, names};

/// Whom a word means.
pub struct Resolved {
    found: Entry,
    /// The word, if it is a name whose owner is away.
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

    /// Whether it has ended for good, unless an heir comes.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.found.peer.reach == Reachability::Ended
    }

    /// How it is called.
    #[must_use]
    pub fn called(&self) -> &str {
        self.found.peer.name.as_deref().unwrap_or(self.id().as_str())
    }

    /// Messages without evidence of having been read, as they were when it was looked up.
    #[must_use]
    pub const fn unread(&self) -> u64 {
        self.found.unread
    }

    /// The peer as others see it now, with the mail that it has got since.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn now(mut self, tx: &Tx<'_>) -> Result<Peer, Fault> {
        look_for(tx, &mut self.found)?;
        count_mail(tx, &mut self.found.peer)?;
        Ok(self.found.peer)
    }
}

/// Exact id, exact name, then an unambiguous prefix of either.
///
/// # Errors
///
/// [`ErrorCode::NotFound`], or [`ErrorCode::Ambiguous`] with the candidates.
pub fn resolve(tx: &Tx<'_>, word: &str) -> Result<Resolved, Fault> {
    let word = names::canonical(word);
    // As senders are shown.
    let word = word.trim_end_matches(COMMAND_LINE_SUFFIX).trim_start_matches('@').trim_start();
    if word.is_empty() {
        return Err(ApiError::new(ErrorCode::BadRequest, "no peer is named")
            .hint("Give a peer's id, name, or an unambiguous prefix of either.")
            .into());
    }
    let exact: Option<Entry> = tx
        .db
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM peers WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC LIMIT 1"
        ))?
        .query_map([word], entry)?
        .next()
        .transpose()?;
    if let Some(mut found) = exact {
        look_for(tx, &mut found)?;
        let by_id = found.peer.id.as_str() == word;
        if by_id || !is_left(tx, &found)? {
            let away = !by_id && !found.peer.live && found.peer.kind != PeerKind::Cli;
            let name_while_away = away.then(|| word.to_owned());
            return Ok(Resolved { found, name_while_away });
        }
    }
    let key = names::key(word);
    let is_called = |candidate: &Entry, fits: &dyn Fn(&str) -> bool| {
        candidate.peer.name.as_deref().is_some_and(|name| fits(&names::key(name)))
    };
    let mut fitting = listed(tx)?;
    fitting.retain(|candidate| {
        candidate.peer.id.as_str().starts_with(word)
            || is_called(candidate, &|name| name.starts_with(&key))
    });
    if let Some(at) = fitting.iter().position(|one| is_called(one, &|name| name == key)) {
        // The same word in another spelling.
        return Ok(Resolved { found: fitting.swap_remove(at), name_while_away: None });
    }
    // Whoever means one that has ended does not mean another whose name begins alike.
    if let Some(error) = ended::called(tx, word, &fitting_candidates(&fitting))? {
        return Err(error.into());
    }
    match (fitting.pop(), fitting.is_empty()) {
        (Some(found), true) => Ok(Resolved { found, name_while_away: None }),
        (Some(last), false) => {
            fitting.push(last);
            Err(ambiguous(word, &fitting).into())
        }
        (None, _) => Err(ApiError::new(ErrorCode::NotFound, format!("there is no peer {word:?}"))
            .hint(who_is_here(tx))
            .into()),
    }
}

/// How long sessions may take to make themselves known to a new database.
const RETURN_GRACE: Duration = Duration::from_secs(60);

fn who_is_here(tx: &Tx<'_>) -> &'static str {
    match tx.state.replaced {
        Some(at) if tx.state.live.sources.clock.elapsed(at) < RETURN_GRACE => {
            "The database was replaced while the broker ran (`claude-peers status` tells more): sessions that run make themselves known again. Try again."
        }
        _ => "list_peers, or `claude-peers peers` on the command line, says who is here.",
    }
}

/// An ended session without mail has left its name, unless a person chose that.
fn is_left(tx: &Tx<'_>, entry: &Entry) -> Result<bool, Fault> {
    let is_session = matches!(entry.peer.kind, PeerKind::Session | PeerKind::Client);
    let ended =
        is_session && !entry.peer.live && !entry.explicit && is_past_grace(tx, entry.seen_at);
    Ok(ended && (entry.unread == 0 || backlog(tx, &entry.peer.id)? == 0))
}

fn ambiguous(word: &str, fitting: &[Entry]) -> ApiError {
    let mut error = ApiError::new(
        ErrorCode::Ambiguous,
        format!("{word:?} fits {} peers; nothing was done", fitting.len()),
    )
    .hint("Name one of them by its id.");
    error.candidates = fitting_candidates(fitting);
    error
}

fn fitting_candidates(fitting: &[Entry]) -> Vec<Candidate> {
    let peers = fitting.iter().map(|entry| &entry.peer);
    peers
        .map(|peer| Candidate {
            id: peer.id.clone(),
            name: peer.name.clone(),
            cwd: peer.cwd.clone(),
        })
        .collect()
}
