//! Automatic names: the name of the place where a session works, with `-2`, `-3` … where it is taken.
//!
//! A directory keeps its automatic names from other directories for a while, and its sessions get
//! them again, in whatever order they start. Within the directory an automatic name is free once
//! its owner has ended and has no unread mail.

use std::time::Duration;

use rusqlite::params;

use crate::broker::core::Tx;
use crate::broker::registry::keys::{is_past_grace, owner_is_gone};
use crate::broker::registry::name_owners::{
    NameOwner, NameSource, assign, conflicting_owners, first_names, free_name, release,
};
use crate::broker::registry::place_names::WorkingPlace;
use crate::broker::store::Fault;
use crate::protocol::PeerId;
use crate::protocol::names;

/// How long a directory without sessions keeps its automatic names from other directories.
const REMEMBERED_FOR: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Gives a peer that has no name an automatic one.
pub fn ensure_automatic_name(tx: &Tx<'_>, id: &PeerId) -> Result<(), Fault> {
    let (place, named) = tx
        .db
        .prepare_cached(&format!(
            "SELECT {}, name IS NOT NULL FROM peers WHERE id = ?1",
            WorkingPlace::COLUMNS
        ))?
        .query_row([id.as_str()], |row| {
            Ok((WorkingPlace::read(row, 0)?, row.get::<_, bool>(3)?))
        })?;
    if named {
        return renew_remembered(tx, id);
    }
    let base = place.name();
    let before = remembered(tx, &base, &place.directory)?;
    for name in before {
        if is_free(tx, id, &name, &place.directory)? {
            return assign_automatic(tx, id, &name, &place.directory);
        }
    }
    let name = free_name(&base, 1, |name| is_free(tx, id, name, &place.directory))?;
    assign_automatic(tx, id, &name, &place.directory)
}

/// Returns whether neither another peer nor another directory has this name.
fn is_free(tx: &Tx<'_>, id: &PeerId, name: &str, directory: &str) -> Result<bool, Fault> {
    let since =
        tx.now.millis().saturating_sub_unsigned(REMEMBERED_FOR.as_millis().try_into().unwrap_or(0));
    let of_another: bool = tx
        .db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM remembered_names
                            WHERE name = ?1 AND directory <> ?2 AND used_at > ?3)",
        )?
        .query_row(params![name, directory, since], |row| row.get(0))?;
    if of_another {
        return Ok(false);
    }
    Ok(conflicting_owners(tx, id, name)?.iter().all(|owner| is_left(tx, owner)))
}

/// Gives the peer a name that is free, and remembers it for the directory.
fn assign_automatic(tx: &Tx<'_>, id: &PeerId, name: &str, directory: &str) -> Result<(), Fault> {
    for owner in conflicting_owners(tx, id, name)? {
        release(tx, &owner.id)?;
    }
    assign(tx, id, name, NameSource::Automatic)?;
    tx.db
        .prepare_cached(
            "INSERT INTO remembered_names (name, directory, used_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET directory = excluded.directory, used_at = excluded.used_at",
        )?
        .execute(params![name, directory, tx.now.millis()])?;
    Ok(())
}

/// Returns those of the first names of a place that its directory had, `shop` before `shop-2`.
fn remembered(tx: &Tx<'_>, base: &str, directory: &str) -> Result<Vec<String>, Fault> {
    let first: Vec<String> = first_names(base).filter(|name| names::is_valid(name)).collect();
    // Serialising plain strings cannot fail.
    let first = serde_json::to_string(&first).unwrap_or_default();
    Ok(tx
        .db
        .prepare_cached(
            // Each name is looked up, however many the directory had.
            "SELECT r.name FROM json_each(?2) CROSS JOIN remembered_names r ON r.name = json_each.value
             WHERE +r.directory = ?1 ORDER BY json_each.key",
        )?
        .query_map([directory, &first], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?)
}

/// Renews the time for which a directory keeps the automatic name of this peer.
fn renew_remembered(tx: &Tx<'_>, id: &PeerId) -> Result<(), Fault> {
    tx.db
        .prepare_cached(
            "UPDATE remembered_names SET used_at = ?2
             WHERE name = (SELECT name FROM peers WHERE id = ?1 AND name_source = 'automatic')",
        )?
        .execute(params![id.as_str(), tx.now.millis()])?;
    Ok(())
}

/// Returns whether a name is free again: no person chose it, and its owner has ended without unread
/// mail.
///
/// During the grace period a session can reconnect under its old name, unless its client process has
/// ended as well.
fn is_left(tx: &Tx<'_>, owner: &NameOwner) -> bool {
    !owner.explicit
        && owner.unread == 0
        && (is_past_grace(tx, owner.seen_at) || owner_is_gone(tx, &owner.id))
        && !tx.state.live.presence.lock().is_live_or_arriving(&owner.id)
        && !tx.state.live.client_processes.has_open_client(&owner.id)
}
