//! Sessions that have ended: in no listing of who is here, but their mailboxes are kept, and they
//! come back if their clients resume them.

use std::fmt::Write as _;
use std::time::Duration;

use rusqlite::{Row, params};

use crate::broker::core::Tx;
use crate::broker::registry::place_names::Place;
use crate::broker::store::Fault;
use crate::protocol::error::Candidate;
use crate::protocol::peers::{EndedSession, Peer};
use crate::protocol::{ApiError, ErrorCode, PeerId, Timestamp, names};

/// Claude Code keeps a session so long by default (`cleanupPeriodDays`).
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// So many are listed at most.
const LISTED: usize = 50;

/// So many of one name are named at most.
const NAMED: usize = 5;

const COLUMNS: &str = "id, coalesce(name, former_name), cwd, seen_at, summary,
    (SELECT substr(key, length('session:') + 1) FROM keys
     WHERE peer = peers.id AND key LIKE 'session:%' ORDER BY bound_at DESC LIMIT 1)";

fn read(row: &Row<'_>) -> rusqlite::Result<EndedSession> {
    Ok(EndedSession {
        id: PeerId::from_text(row.get::<_, String>(0)?),
        name: row.get(1)?,
        cwd: row.get(2)?,
        since: Timestamp::from_millis(row.get(3)?),
        summary: row.get(4)?,
        session: row.get(5)?,
    })
}

fn oldest(tx: &Tx<'_>) -> i64 {
    tx.now.millis().saturating_sub_unsigned(KEPT.as_millis().try_into().unwrap_or(u64::MAX))
}

/// Those that can be resumed, the last ones first, without the caller and those that are listed
/// anyway; and whether there are more. One-shot sessions answered, and nobody resumes them.
///
/// # Errors
///
/// If the database fails.
pub fn list(
    tx: &Tx<'_>,
    caller: &PeerId,
    listed: &[Peer],
    in_scope: impl Fn(&Place) -> bool,
) -> Result<(Vec<EndedSession>, bool), Fault> {
    let mut statement = tx.db.prepare_cached(&format!(
        "SELECT {COLUMNS}, {} FROM peers
         WHERE kind = 'session' AND NOT one_shot AND seen_at > ?1 AND id <> ?2
         ORDER BY seen_at DESC, id",
        Place::COLUMNS
    ))?;
    let mut rows = statement.query(params![oldest(tx), caller.as_str()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let is_live = |id: &PeerId| tx.state.live.presence.lock().is_live_or_arriving(id);
        let session = read(row)?;
        let is_listed = listed.iter().any(|peer| peer.id == session.id) || is_live(&session.id);
        if is_listed || !in_scope(&Place::read(row, 6)?) {
            continue;
        }
        if found.len() == LISTED {
            return Ok((found, true));
        }
        found.push(session);
    }
    Ok((found, false))
}

/// What to say where a word names no peer that is here, but one that has ended, or begins its name
/// and no other's. `here` are those that are here and whose names begin with it.
///
/// # Errors
///
/// If the database fails.
pub fn called(tx: &Tx<'_>, word: &str, here: &[Candidate]) -> Result<Option<ApiError>, Fault> {
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
            "{count} sessions that {word:?} fits have ended, the last of them, {}, {ended}; nothing was done",
            last.id
        ),
    };
    let mut hint = match &last.session {
        Some(session) => format!(
            "Mail to the id {} waits until that session is resumed (`claude --resume {session}` in its directory).",
            last.id
        ),
        None => "Its client cannot call it back.".to_owned(),
    };
    if !here.is_empty() {
        let names: Vec<&str> =
            here.iter().map(|one| one.name.as_deref().unwrap_or(one.id.as_str())).collect();
        let _ = write!(hint, " Here now: {}.", names.join(", "));
    }
    let mut error = ApiError::new(ErrorCode::NotFound, message).hint(hint);
    let candidates = found.into_iter().take(NAMED).map(|one| Candidate {
        id: one.id.clone(),
        name: one.name.clone(),
        cwd: one.cwd.clone(),
    });
    error.candidates = candidates.collect();
    Ok(Some(error))
}

/// All that have ended and had a name, the last ones first.
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
