//! Names: chosen by the person, given in the session's client, set by the session, or taken from
//! its place.
//!
//! A name has at most one live owner. One whose owner has ended passes to whoever asks for it;
//! the mail stays with the one who ended, and the new owner is told so. By `CLAUDE_PEERS_NAME`
//! alone the mail is inherited that was addressed to the name in the meantime.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};

use crate::broker::core::Tx;
use crate::broker::registry::automatic_names::ensure_automatic_name;
use crate::broker::registry::keys::owner_may_return;
use crate::broker::registry::name_owners::{
    NameOwner, NameSource, assign, conflicting_owners, numbered_names, release,
};
use crate::broker::store::Fault;
use crate::protocol::names;
use crate::protocol::names::RULE;
use crate::protocol::{ApiError, Around, ErrorCode, PeerId};

/// How long after its start a broker waits for the sessions that it may have been restarted under.
const RETURN_GRACE: Duration = Duration::from_secs(10);

/// Gives a registering session its name.
pub fn assign_at_registration(
    tx: &mut Tx<'_>,
    id: &PeerId,
    wanted: Option<&str>,
    around: &Around,
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

/// The person named the session in its client. That goes before what the place is called, and
/// before what the session called itself earlier, but not before `CLAUDE_PEERS_NAME`.
///
/// # Errors
///
/// If the database fails.
pub fn adopt_title(
    tx: &Tx<'_>,
    id: &PeerId,
    title: &str,
    notes: &mut Vec<String>,
) -> Result<(), Fault> {
    let (heard, source): (Option<String>, Option<String>) = tx
        .db
        .prepare_cached("SELECT client_title, name_source FROM peers WHERE id = ?1")?
        .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if heard.as_deref() == Some(title) {
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

/// Takes a name of the person's or the session's choice, also from one that has ended; false if
/// its owner keeps it.
fn take(
    tx: &Tx<'_>,
    id: &PeerId,
    name: &str,
    source: NameSource,
    notes: &mut Vec<String>,
) -> Result<bool, Fault> {
    let rivals = conflicting_owners(tx, id, name)?;
    if rivals.iter().any(|owner| keeps_it(tx, owner, source)) {
        return Ok(false);
    }
    for owner in rivals {
        release(tx, &owner.id)?;
        let inherited = match source {
            NameSource::Environment if owner.name == name => inherit(tx, &owner.id, id, name)?,
            _ => 0,
        };
        notes.extend(left_behind(tx, &owner, owner.unread.saturating_sub(inherited))?);
    }
    assign(tx, id, name, source)?;
    Ok(true)
}

/// Whether a name's owner keeps it from a claim of this kind: it is here, or its person chose the
/// name and no person claims it now.
fn keeps_it(tx: &Tx<'_>, owner: &NameOwner, source: NameSource) -> bool {
    is_in_use(tx, owner) || (source == NameSource::Tool && owner.explicit)
}

/// What whoever takes a name over should know of the one who had it.
fn left_behind(tx: &Tx<'_>, owner: &NameOwner, unread: u64) -> Result<Option<String>, Fault> {
    let waits = match unread {
        0 => return Ok(None),
        1 => "1 message waits".to_owned(),
        count => format!("{count} messages wait"),
    };
    let cwd: String = tx
        .db
        .prepare_cached("SELECT cwd FROM peers WHERE id = ?1")?
        .query_row([owner.id.as_str()], |row| row.get(0))?;
    Ok(Some(format!(
        "The name {} was that of {}, a session in {cwd} that has ended. {waits} there for its return, not for you.",
        owner.name, owner.id
    )))
}

/// Mail that was addressed to the name while its owner was away, and that nobody had yet. Returns
/// how much it was.
fn inherit(tx: &Tx<'_>, from: &PeerId, to: &PeerId, name: &str) -> Result<u64, Fault> {
    let moved = tx
        .db
        .prepare_cached(
            "UPDATE messages SET recipient = ?2 WHERE recipient = ?1 AND addressed_name = ?3 AND state = 'queued'",
        )?
        .execute(params![from.as_str(), to.as_str(), name])?;
    Ok(moved as u64)
}

/// Takes the first of `base-2`, `base-3` … that no live session has.
fn numbered(
    tx: &Tx<'_>,
    id: &PeerId,
    base: &str,
    source: NameSource,
    notes: &mut Vec<String>,
) -> Result<String, Fault> {
    for name in numbered_names(base).skip(1) {
        if names::is_valid(&name) && take(tx, id, &name, source, notes)? {
            return Ok(name);
        }
    }
    // The numbers have no end.
    Ok(base.to_owned())
}

/// Whether a name's owner is here, or is about to come back to a broker that was restarted.
fn is_in_use(tx: &Tx<'_>, owner: &NameOwner) -> bool {
    let presence = tx.state.live.presence.lock();
    // One that has been here under this broker has left by itself.
    let returning = owner.seen_at < tx.state.started_at.millis()
        && tx.now.since(tx.state.started_at) < RETURN_GRACE
        && owner_may_return(tx, &owner.id);
    presence.is_live_or_arriving(&owner.id)
        || tx.state.live.client_processes.has_open_client(&owner.id)
        || returning
}

/// The session names itself.
///
/// # Errors
///
/// If the name is not valid, or another live peer has it.
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
        .find(|owner| keeps_it(tx, owner, NameSource::Tool));
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
