//! Ended sessions: they are listed on request only, but their mailboxes are kept, and they return
//! if their clients resume them.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

use rusqlite::{Row, params};

use crate::broker::core::Tx;
use crate::broker::registry::listing::{short, short_any};
use crate::broker::registry::place_names::WorkingPlace;
use crate::broker::store::Fault;
use crate::protocol::bounds::{MAX_LABEL, MAX_PATH, MAX_SUMMARY, MAX_WORD};
use crate::protocol::error::Candidate;
use crate::protocol::peers::{EndedSession, Peer};
use crate::protocol::{ApiError, ErrorCode, PeerId, Timestamp, names};

/// How long an ended session is listed: as long as Claude Code keeps a session by default
/// (`cleanupPeriodDays`).
const LISTED_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The most sessions that are listed.
const MAX_LISTED: usize = 50;

/// The most sessions of one name that an error names.
const MAX_NAMED: usize = 5;

const COLUMNS: &str = "id, coalesce(name, former_name), cwd, seen_at, summary,
    (SELECT substr(key, length('session:') + 1) FROM keys
     WHERE peer = peers.id AND key LIKE 'session:%' ORDER BY bound_at DESC LIMIT 1)";

fn read(row: &Row<'_>) -> rusqlite::Result<EndedSession> {
    Ok(EndedSession {
        id: PeerId::from_text(row.get::<_, String>(0)?),
        name: short_any(row, 1, MAX_LABEL)?,
        cwd: short(row, 2, MAX_PATH)?,
        since: Timestamp::from_millis(row.get(3)?),
        summary: short(row, 4, MAX_SUMMARY)?,
        session: short_any(row, 5, MAX_WORD)?,
    })
}

fn oldest(tx: &Tx<'_>) -> i64 {
    tx.now.millis().saturating_sub_unsigned(LISTED_FOR.as_millis().try_into().unwrap_or(u64::MAX))
}

/// Returns the sessions that can be resumed, the most recently ended first, and whether there are
/// more.
///
/// Leaves out the caller, the peers in `listed`, and one-shot sessions, which are never resumed.
pub fn list(
    tx: &Tx<'_>,
    caller: &PeerId,
    listed: &[Peer],
    in_scope: impl Fn(&WorkingPlace) -> bool,
) -> Result<(Vec<EndedSession>, bool), Fault> {
    let mut statement = tx.db.prepare_cached(&format!(
        "SELECT {COLUMNS}, {} FROM peers
         WHERE kind = 'session' AND NOT one_shot AND seen_at > ?1 AND id <> ?2
         ORDER BY seen_at DESC, id",
        WorkingPlace::COLUMNS
    ))?;
    let mut rows = statement.query(params![oldest(tx), caller.as_str()])?;
    let listed: HashSet<&PeerId> = listed.iter().map(|peer| &peer.id).collect();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let is_live = |id: &PeerId| tx.state.live.presence.lock().is_live_or_arriving(id);
        let session = read(row)?;
        let is_listed = listed.contains(&session.id) || is_live(&session.id);
        if is_listed || !in_scope(&WorkingPlace::read(row, 6)?) {
            continue;
        }
        if found.len() == MAX_LISTED {
            return Ok((found, true));
        }
        found.push(session);
    }
    Ok((found, false))
}

/// Returns the error for a word that means an ended session and no listed peer.
///
/// `None` if the word is no ended session's name. The beginning of a name counts only if `here`, the
/// listed peers whose names begin with the word, is empty.
pub fn find_by_name(
    tx: &Tx<'_>,
    word: &str,
    here: &[Candidate],
) -> Result<Option<ApiError>, Fault> {
    let key = names::key(word);
    let all = named(tx)?;
    let name_of = |one: &EndedSession| one.name.as_deref().map(names::key).unwrap_or_default();
    let mut found: Vec<_> = all.iter().filter(|one| name_of(one) == key).collect();
    if found.is_empty() && here.is_empty() {
        found = all.iter().filter(|one| name_of(one).starts_with(&key)).collect();
    }
    let Some(last) = found.first() else { return Ok(None) };
    let ended = format!("ended {} ago in {}", last.since.age(tx.now), last.cwd);
    let message = match found.len() {
        1 => format!("{word:?} was {}, which {ended}; nothing was done", last.id),
        count => format!(
            "{word:?} matches {count} sessions that have ended (most recently {}, which {ended}); nothing was done",
            last.id
        ),
    };
    let mut hint = match &last.session {
        Some(session) => format!(
            "Mail to the id {} waits until that session is resumed (`claude --resume {session}` in its directory).",
            last.id
        ),
        None => "Its client cannot resume sessions.".to_owned(),
    };
    if !here.is_empty() {
        let names: Vec<&str> =
            here.iter().map(|one| one.name.as_deref().unwrap_or(one.id.as_str())).collect();
        let _ = write!(hint, " Here now: {}.", names.join(", "));
    }
    let mut error = ApiError::new(ErrorCode::NotFound, message).hint(hint);
    let candidates = found.into_iter().take(MAX_NAMED).map(|one| Candidate {
        id: one.id.clone(),
        name: one.name.clone(),
        cwd: one.cwd.clone(),
    });
    error.candidates = candidates.collect();
    Ok(Some(error))
}

/// Returns all ended sessions that had a name, the most recently ended first.
fn named(tx: &Tx<'_>) -> Result<Vec<EndedSession>, Fault> {
    let mut statement = tx.db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM peers
         WHERE kind IN ('session', 'client') AND coalesce(name, former_name) IS NOT NULL AND seen_at > ?1
         ORDER BY seen_at DESC, id"
    ))?;
    let rows = statement.query_map([oldest(tx)], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let presence = tx.state.live.presence.lock();
    Ok(rows.into_iter().filter(|one| !presence.is_live_or_arriving(&one.id)).collect())
}
