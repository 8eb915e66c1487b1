//! A peer's own description of itself, and how the peer is shown as the sender of a message.

use rusqlite::params;

use crate::broker::core::{Caller, Tx};
use crate::broker::registry::keys::peer_of_session_id;
use crate::broker::registry::listing::{peer, short, short_any, waiting, waiting_count};
use crate::broker::registry::{names, windows};
use crate::broker::store::Fault;
use crate::protocol::bounds::{MAX_LABEL, MAX_PATH, MAX_SUMMARY};
use crate::protocol::messages::Party;
use crate::protocol::peers::{ProfileSet, SetProfile};
use crate::protocol::{ApiError, ErrorCode, PeerId, ProcessId};

/// Records that a peer becomes live or stops being live now.
pub fn set_seen_now(tx: &Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    tx.db
        .prepare_cached("UPDATE peers SET seen_at = ?2 WHERE id = ?1")?
        .execute(params![peer.as_str(), tx.now.millis()])?;
    Ok(())
}

/// Holds how a message's sender is shown to its recipient.
pub struct Sender {
    pub name: Option<String>,
    pub summary: String,
    pub cwd: String,
}

/// Follows a session's name where a command line in its shell sends for it.
pub const COMMAND_LINE_SUFFIX: &str = " (by its command line)";

/// Holds what a caller that sends a message is told of itself.
pub struct Own {
    /// How it is shown to the recipient.
    pub shown: Sender,
    pub party: Party,
    /// Its backlog, and the notices for it without a running lease.
    pub waiting: u64,
}

/// Returns the sender as it is now.
///
/// The name shows that a session's command line sends ([`COMMAND_LINE_SUFFIX`]), also in a session
/// that has no peer: `cli (from a session)`.
pub fn sender(tx: &Tx<'_>, caller: &Caller, from_session: Option<&str>) -> Result<Own, Fault> {
    let own = tx
        .db
        .prepare_cached(concat!(
            "SELECT name, summary, cwd, ",
            waiting_count!(),
            " FROM peers WHERE id = ?1"
        ))?
        .query_row(params![caller.peer.as_str(), tx.now.millis()], |row| {
            let name = short_any(row, 0, MAX_LABEL)?;
            Ok(Own {
                party: Party { id: caller.peer.clone(), name: name.clone() },
                shown: Sender {
                    name,
                    summary: short(row, 1, MAX_SUMMARY)?,
                    cwd: short(row, 2, MAX_PATH)?,
                },
                waiting: row.get::<_, i64>(3)?.unsigned_abs(),
            })
        })?;
    let name = if caller.by_command_line {
        let name = own.party.name.as_deref().unwrap_or(caller.peer.as_str());
        format!("{name}{COMMAND_LINE_SUFFIX}")
    } else if let Some(session) = from_session.filter(|_| caller.instance.is_none()) {
        let name = match peer_of_session_id(tx.db, session)? {
            Some(id) => party(tx, &id)?.name.unwrap_or_else(|| id.to_string()),
            None => "a session".to_owned(),
        };
        format!("cli (from {name})")
    } else {
        return Ok(own);
    };
    Ok(Own { shown: Sender { name: Some(name), ..own.shown }, ..own })
}

/// Returns the id and name of a peer.
///
/// # Errors
///
/// If there is no such peer.
pub fn party(tx: &Tx<'_>, id: &PeerId) -> Result<Party, Fault> {
    let name = tx
        .db
        .prepare_cached("SELECT name FROM peers WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))?;
    Ok(Party { id: id.clone(), name })
}

/// Records the title that the person gave a session in its client.
pub fn adopt_session_title(
    tx: &Tx<'_>,
    session: &str,
    client: Option<&ProcessId>,
    title: &str,
) -> Result<(), Fault> {
    match windows::peer_for(tx.db, session, client)? {
        Some(id) => names::adopt_title(tx, &id, title, &mut Vec::new()),
        None => Ok(()),
    }
}

/// Sets the summary and the name of a session: both, or none if one is refused.
///
/// # Errors
///
/// * [`ErrorCode::TooLarge`] if the summary is too long.
/// * [`ErrorCode::BadRequest`] if the name is not valid.
/// * [`ErrorCode::NameTaken`] if another peer keeps the name.
pub fn set_profile(
    tx: &mut Tx<'_>,
    caller: &Caller,
    request: &SetProfile,
) -> Result<ProfileSet, Fault> {
    let mut changed = true;
    let mut notes = Vec::new();
    if let Some(summary) = &request.summary {
        changed = set_summary(tx, caller, summary, request.automatic)?;
    }
    if let Some(name) = &request.name {
        names::assign_chosen(tx, &caller.peer, name, &mut notes)?;
    }
    let waiting = waiting(tx, &caller.peer)?;
    Ok(ProfileSet { peer: peer(tx, &caller.peer)?, changed, waiting, notes })
}

fn set_summary(
    tx: &Tx<'_>,
    caller: &Caller,
    summary: &str,
    automatic: bool,
) -> Result<bool, Fault> {
    let limit = tx.state.limits.max_summary_chars as usize;
    let length = summary.chars().count();
    if limit > 0 && length > limit {
        return Err(ApiError::new(
            ErrorCode::TooLarge,
            format!("the summary has {length} characters, {limit} are allowed"),
        )
        .hint("One or two sentences are enough; the limit is max_summary_chars (CLAUDE_PEERS_MAX_SUMMARY_CHARS).")
        .into());
    }
    if summary.len() > MAX_SUMMARY {
        return Err(ApiError::new(
            ErrorCode::TooLarge,
            format!("the summary has {} bytes, {MAX_SUMMARY} are allowed", summary.len()),
        )
        .hint("One or two sentences are enough.")
        .into());
    }
    let source = if automatic { "automatic" } else { "session" };
    let changed = tx
        .db
        .prepare_cached(
            "UPDATE peers SET summary = ?2, summary_source = ?3
             WHERE id = ?1 AND (?3 = 'session' OR summary_source <> 'session')",
        )?
        .execute(params![caller.peer.as_str(), summary.trim(), source])?;
    Ok(changed > 0)
}
