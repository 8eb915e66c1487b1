//! Names: chosen by the person, given in the session's client, set by the session, or derived from
//! the place where it works.
//!
//! A name has at most one live owner. The name of an ended peer passes to the next peer that asks for
//! it. The mail stays with the ended peer, and a note tells the new owner so. Only a name from
//! `CLAUDE_PEERS_NAME` takes over the mail that was addressed to the name in the meantime.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};

use crate::broker::core::Tx;
use crate::broker::registry::automatic_names::ensure_automatic_name;
use crate::broker::registry::keys::owner_may_return;
use crate::broker::registry::name_owners::{
    NameOwner, NameSource, assign, conflicting_owners, free_name, release,
};
use crate::broker::store::Fault;
use crate::protocol::names;
use crate::protocol::names::RULE;
use crate::protocol::{ApiError, CallerContext, ErrorCode, PeerId};

/// How long after its start a broker keeps names for sessions that lived through its restart.
const RETURN_GRACE: Duration = Duration::from_secs(10);

/// Gives a session its name when it registers.
pub fn assign_at_registration(
    tx: &mut Tx<'_>,
    id: &PeerId,
    wanted: Option<&str>,
    around: &CallerContext,
    notes: &mut Vec<String>,
) -> Result<(), Fault> {
    if let Some(worktree) = &around.worktree {
        tx.db
            .prepare_cached("UPDATE peers SET worktree = ?2 WHERE id = ?1")?
            .execute(params![id.as_str(), worktree])?;
    }
    if let Some(wanted) = wanted {
        let name = names::canonical(wanted);
        if names::is_valid(&name) {
            if !take(tx, id, &name, NameSource::Environment, notes)? {
                let got = numbered(tx, id, &name, NameSource::Environment, notes)?;
                notes.push(format!(
                    "The name {name} belongs to another live session; you are {got}."
                ));
            }
            return Ok(());
        }
        notes.push(format!("CLAUDE_PEERS_NAME is {wanted:?}, which cannot be a name. {RULE}"));
    }
    if let Some(title) = &around.title {
        adopt_title(tx, id, title, notes)?;
    }
    ensure_automatic_name(tx, id)
}

/// Makes the title that the person gave the session in its client the peer's name.
///
/// A title has precedence over the automatic name and over a name that the session set earlier, but
/// not over `CLAUDE_PEERS_NAME`. A title that was adopted before changes nothing.
pub fn adopt_title(
    tx: &Tx<'_>,
    id: &PeerId,
    title: &str,
    notes: &mut Vec<String>,
) -> Result<(), Fault> {
    let (adopted, source): (Option<String>, Option<String>) = tx
        .db
        .prepare_cached("SELECT client_title, name_source FROM peers WHERE id = ?1")?
        .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if adopted.as_deref() == Some(title) {
        return Ok(());
    }
    tx.db
        .prepare_cached("UPDATE peers SET client_title = ?2 WHERE id = ?1")?
        .execute(params![id.as_str(), title])?;
    if source.as_deref() == Some("environment") || !names::can_name(title) {
        return Ok(());
    }
    let name = names::from_text(title);
    if !take(tx, id, &name, NameSource::Client, notes)? {
        let got = numbered(tx, id, &name, NameSource::Client, notes)?;
        notes.push(format!("The name {name} belongs to another live session; you are {got}."));
    }
    Ok(())
}

/// Gives a peer a name that the person or the session chose, if need be from an ended peer.
///
/// Returns false if the owner keeps it.
fn take(
    tx: &Tx<'_>,
    id: &PeerId,
    name: &str,
    source: NameSource,
    notes: &mut Vec<String>,
) -> Result<bool, Fault> {
    let rivals = conflicting_owners(tx, id, name)?;
    if rivals.iter().any(|owner| keeps_name(tx, owner, source)) {
        return Ok(false);
    }
    for owner in rivals {
        release(tx, &owner.id)?;
        let taken_over = match source {
            NameSource::Environment if owner.name == name => {
                take_over_queued(tx, &owner.id, id, name)?
            }
            _ => 0,
        };
        notes.extend(note_on_kept_mail(tx, &owner, owner.unread.saturating_sub(taken_over))?);
    }
    assign(tx, id, name, source)?;
    Ok(true)
}

/// Returns whether a name's owner keeps it from a claim of this kind: it is live or about to return,
/// or a person chose its name and no person makes the claim.
fn keeps_name(tx: &Tx<'_>, owner: &NameOwner, source: NameSource) -> bool {
    is_in_use(tx, owner) || (source == NameSource::Tool && owner.explicit)
}

/// Returns the note for the new owner of a name, if the former one has unread messages.
fn note_on_kept_mail(tx: &Tx<'_>, owner: &NameOwner, unread: u64) -> Result<Option<String>, Fault> {
    let kept = match unread {
        0 => return Ok(None),
        1 => "1 unread message is kept for that session; you do not get it".to_owned(),
        count => format!("{count} unread messages are kept for that session; you do not get them"),
    };
    let cwd: String = tx
        .db
        .prepare_cached("SELECT cwd FROM peers WHERE id = ?1")?
        .query_row([owner.id.as_str()], |row| row.get(0))?;
    Ok(Some(format!(
        "The name {} belonged to {}, a session in {cwd} that has ended. {kept}.",
        owner.name, owner.id
    )))
}

/// Moves the queued messages that were addressed to the name from its former owner to the new one.
///
/// Returns how many these were.
fn take_over_queued(tx: &Tx<'_>, from: &PeerId, to: &PeerId, name: &str) -> Result<u64, Fault> {
    let moved = tx
        .db
        .prepare_cached(
            "UPDATE messages SET recipient = ?2
             WHERE recipient = ?1 AND state IN ('queued', 'offered')
               AND addressed_name = ?3 AND state = 'queued'",
        )?
        .execute(params![from.as_str(), to.as_str(), name])?;
    Ok(moved as u64)
}

/// Gives a peer the first of `base-2`, `base-3` … that no live session has, and returns it.
fn numbered(
    tx: &Tx<'_>,
    id: &PeerId,
    base: &str,
    source: NameSource,
    notes: &mut Vec<String>,
) -> Result<String, Fault> {
    let name = free_name(base, 2, |name| {
        let rivals = conflicting_owners(tx, id, name)?;
        Ok(!rivals.iter().any(|owner| keeps_name(tx, owner, source)))
    })?;
    take(tx, id, &name, source, notes)?;
    Ok(name)
}

/// Returns whether a name's owner is live, or about to reconnect to a broker that was restarted.
fn is_in_use(tx: &Tx<'_>, owner: &NameOwner) -> bool {
    let presence = tx.state.live.presence.lock();
    // An owner that was live under this broker has left by itself.
    let returning = owner.seen_at < tx.state.started_at.millis()
        && tx.now.since(tx.state.started_at) < RETURN_GRACE
        && owner_may_return(tx, &owner.id);
    presence.is_live_or_arriving(&owner.id)
        || tx.state.live.client_processes.has_open_client(&owner.id)
        || returning
}

/// Gives a session the name that it chose for itself.
///
/// # Errors
///
/// * [`ErrorCode::BadRequest`] if the name is not valid.
/// * [`ErrorCode::NameTaken`] if another peer keeps it, or a name that looks like it.
pub fn assign_chosen(
    tx: &Tx<'_>,
    id: &PeerId,
    name: &str,
    notes: &mut Vec<String>,
) -> Result<(), Fault> {
    let wanted = names::canonical(name);
    if !names::is_valid(&wanted) {
        let error = ApiError::new(ErrorCode::BadRequest, format!("{name:?} cannot be a name"));
        return Err(error.hint(RULE).into());
    }
    let own: Option<String> = tx
        .db
        .prepare_cached("SELECT name FROM peers WHERE id = ?1")?
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?
        .flatten();
    if own.as_deref() == Some(&wanted) || take(tx, id, &wanted, NameSource::Tool, notes)? {
        return Ok(());
    }
    let rival = conflicting_owners(tx, id, &wanted)?
        .into_iter()
        .find(|owner| keeps_name(tx, owner, NameSource::Tool));
    let belongs = match rival {
        Some(rival) if rival.name == wanted => {
            format!("the name {wanted} belongs to peer {}", rival.id)
        }
        Some(rival) => format!(
            "the name {wanted} looks like {}, which belongs to peer {}",
            rival.name, rival.id
        ),
        None => format!("the name {wanted} is taken"),
    };
    Err(ApiError::new(ErrorCode::NameTaken, belongs).hint("Choose another name.").into())
}
