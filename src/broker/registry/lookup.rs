//! Finds the peer that a word means: an id, a name, or the beginning of either.

use std::time::Duration;

use crate::broker::core::Tx;
use crate::broker::registry::ended;
use crate::broker::registry::keys::is_past_grace;
use crate::broker::registry::listing::{
    COLUMNS, ListedPeer, add_presence, all_listed, backlog, count_mail, entry,
};
use crate::broker::registry::profile::COMMAND_LINE_SUFFIX;
use crate::broker::store::Fault;
use crate::protocol::error::Candidate;
use crate::protocol::peers::{Peer, PeerKind, Reachability};
use crate::protocol::{ApiError, ErrorCode, PeerId, names};

/// Holds the peer that a word means.
pub struct Resolved {
    found: ListedPeer,
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

    /// Returns the number of unread messages at the time of the look-up.
    #[must_use]
    pub const fn unread(&self) -> u64 {
        self.found.unread
    }

    /// Returns the peer as others see it now, with the mail that it has received since the look-up.
    pub fn refresh(mut self, tx: &Tx<'_>) -> Result<Peer, Fault> {
        add_presence(tx, &mut self.found)?;
        count_mail(tx, &mut self.found.peer)?;
        Ok(self.found.peer)
    }
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
    let exact: Option<ListedPeer> = tx
        .db
        .prepare_cached(&format!(
            "SELECT {COLUMNS} FROM peers WHERE id = ?1 OR name = ?1 ORDER BY id = ?1 DESC LIMIT 1"
        ))?
        .query_map([word], entry)?
        .next()
        .transpose()?;
    if let Some(mut found) = exact {
        add_presence(tx, &mut found)?;
        let by_id = found.peer.id.as_str() == word;
        if by_id || !is_left(tx, &found)? {
            let away = !by_id && !found.peer.live && found.peer.kind != PeerKind::Cli;
            let name_while_away = away.then(|| word.to_owned());
            return Ok(Resolved { found, name_while_away });
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
        return Ok(Resolved { found: fitting.swap_remove(at), name_while_away: None });
    }
    // The name of an ended session does not mean a listed peer whose name only begins with it.
    if let Some(error) = ended::find_by_name(tx, word, &fitting_candidates(&fitting))? {
        return Err(error.into());
    }
    match (fitting.pop(), fitting.is_empty()) {
        (Some(found), true) => Ok(Resolved { found, name_while_away: None }),
        (Some(last), false) => {
            fitting.push(last);
            Err(ambiguous(word, &fitting).into())
        }
        (None, _) => Err(ApiError::new(ErrorCode::NotFound, format!("there is no peer {word:?}"))
            .hint(not_found_hint(tx))
            .into()),
    }
}

/// How long sessions may take to register again after the database was replaced.
const RETURN_GRACE: Duration = Duration::from_secs(60);

fn not_found_hint(tx: &Tx<'_>) -> &'static str {
    match tx.state.replaced {
        Some(at) if tx.state.live.sources.clock.elapsed(at) < RETURN_GRACE => {
            "The database was replaced while the broker was running (see `claude-peers status`). Running sessions are registering again; try again in a moment."
        }
        _ => "To see all peers, call list_peers, or run `claude-peers peers` on the command line.",
    }
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
