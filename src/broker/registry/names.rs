//! Names: chosen by the person, set by the session, or taken from the repository.
//!
//! A name has one owner. An automatic one is free again once its owner has ended with an empty
//! mailbox; a name from `CLAUDE_PEERS_NAME` passes to whoever claims it next while its owner is
//! away, together with the mail that was addressed to it in the meantime.

use std::path::Path;
use std::time::Duration;

use rusqlite::{OptionalExtension as _, params};

use super::directory;
use crate::broker::engine::Tx;
use crate::broker::store::Fault;
use crate::protocol::ids::{MAX_NAME, is_valid_name, name_from};
use crate::protocol::{ApiError, ErrorCode, PeerId};

const RULE: &str =
    "A name is 1 to 40 of a-z, 0-9, '.', '_' and '-', begins with a letter, and is not reserved.";

/// How long after its start a broker waits for the sessions that it may have been restarted under.
const RETURN: Duration = Duration::from_secs(10);

struct Holder {
    id: PeerId,
    source: String,
    unread: i64,
    seen_at: i64,
}

fn holder(tx: &Tx<'_>, name: &str) -> Result<Option<Holder>, Fault> {
    Ok(tx
        .db
        .prepare_cached("SELECT id, name_source, unread, seen_at FROM peers WHERE name = ?1")?
        .query_row([name], |row| {
            Ok(Holder {
                id: PeerId::from_text(row.get::<_, String>(0)?),
                source: row.get(1)?,
                unread: row.get(2)?,
                seen_at: row.get(3)?,
            })
        })
        .optional()?)
}

fn assign(tx: &Tx<'_>, id: &PeerId, name: &str, source: &str) -> Result<(), Fault> {
    tx.db
        .prepare_cached("UPDATE peers SET name = ?2, name_source = ?3 WHERE id = ?1")?
        .execute(params![id.as_str(), name, source])?;
    Ok(())
}

fn release(tx: &Tx<'_>, id: &PeerId) -> Result<(), Fault> {
    tx.db
        .prepare_cached("UPDATE peers SET name = NULL, name_source = NULL WHERE id = ?1")?
        .execute([id.as_str()])?;
    Ok(())
}

/// Gives a registering session its name.
pub fn settle(
    tx: &mut Tx<'_>,
    id: &PeerId,
    wanted: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<(), Fault> {
    if let Some(wanted) = wanted {
        let wanted = wanted.trim().to_ascii_lowercase();
        if !is_valid_name(&wanted) {
            notes.push(format!("CLAUDE_PEERS_NAME is {wanted:?}, which cannot be a name. {RULE}"));
        } else if claim(tx, id, &wanted)? {
            return Ok(());
        } else {
            let name = numbered(tx, id, &wanted, "environment")?;
            notes.push(format!(
                "The name {wanted} belongs to another live session; you are {name}."
            ));
            return Ok(());
        }
    }
    ensure(tx, id)
}

/// Gives a peer that has no name an automatic one.
///
/// # Errors
///
/// If the database fails.
pub fn ensure(tx: &Tx<'_>, id: &PeerId) -> Result<(), Fault> {
    let (named, cwd, repo): (bool, String, Option<String>) = tx
        .db
        .prepare_cached("SELECT name IS NOT NULL, cwd, repo FROM peers WHERE id = ?1")?
        .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    if !named {
        numbered(tx, id, &automatic(&cwd, repo.as_deref()), "automatic")?;
    }
    Ok(())
}

/// The repository's name, else the directory's.
fn automatic(cwd: &str, repo: Option<&str>) -> String {
    let last = |path: &str| {
        Path::new(path)
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    match repo {
        // The common directory is `NAME/.git`, or `NAME.git` where it is bare.
        Some(repo) => match last(repo).as_str() {
            ".git" => name_from(&last(repo.trim_end_matches("/.git"))),
            bare => name_from(bare.trim_end_matches(".git")),
        },
        None => name_from(&last(cwd)),
    }
}

/// Takes a name of the person's choice; false if a live session has it.
fn claim(tx: &mut Tx<'_>, id: &PeerId, name: &str) -> Result<bool, Fault> {
    match holder(tx, name)? {
        Some(holder) if holder.id == *id => {}
        Some(holder) if is_in_use(tx, &holder) => return Ok(false),
        Some(holder) => {
            release(tx, &holder.id)?;
            inherit(tx, &holder.id, id, name)?;
        }
        None => {}
    }
    assign(tx, id, name, "environment")?;
    Ok(true)
}

/// Mail that was addressed to the name while its owner was away, and that nobody had yet.
fn inherit(tx: &Tx<'_>, from: &PeerId, to: &PeerId, name: &str) -> Result<(), Fault> {
    tx.db
        .prepare_cached(
            "UPDATE messages SET recipient = ?2 WHERE recipient = ?1 AND addressed_name = ?3 AND state = 'queued'",
        )?
        .execute(params![from.as_str(), to.as_str(), name])?;
    Ok(())
}

/// Assigns `base`, or the first of `base-2`, `base-3` … that is free.
fn numbered(tx: &Tx<'_>, id: &PeerId, base: &str, source: &str) -> Result<String, Fault> {
    let mut number = 0u32;
    loop {
        number += 1;
        let name = if number == 1 {
            base.to_owned()
        } else {
            let tail = format!("-{number}");
            let head: String = base.chars().take(MAX_NAME - tail.len()).collect();
            format!("{head}{tail}")
        };
        if !is_valid_name(&name) {
            continue;
        }
        let free = match holder(tx, &name)? {
            None => true,
            Some(holder) if holder.id == *id => true,
            Some(holder) if is_left(tx, &holder) => {
                release(tx, &holder.id)?;
                true
            }
            Some(_) => false,
        };
        if free {
            assign(tx, id, &name, source)?;
            return Ok(name);
        }
    }
}

/// Whether a name's owner is here, or is about to come back to a broker that was restarted.
fn is_in_use(tx: &Tx<'_>, holder: &Holder) -> bool {
    let presence = tx.companion.connected.presence.lock();
    // One that has been here under this broker has left by itself.
    let returning = holder.seen_at < tx.companion.started_at.millis()
        && tx.now.since(tx.companion.started_at) < RETURN
        && directory::holder_may_return(tx, &holder.id);
    presence.is_claimed(&holder.id) || tx.companion.connected.windows.shows(&holder.id) || returning
}

/// An automatic name whose owner has ended with nothing in its mailbox. A moment of grace lets a
/// session reconnect under its old name.
fn is_left(tx: &Tx<'_>, holder: &Holder) -> bool {
    holder.source == "automatic"
        && holder.unread == 0
        && directory::grace_is_over(tx, holder.seen_at)
        && !tx.companion.connected.presence.lock().is_claimed(&holder.id)
        && !tx.companion.connected.windows.shows(&holder.id)
}

/// The session names itself.
///
/// # Errors
///
/// If the name is not valid, or another peer has it.
pub fn choose(tx: &Tx<'_>, id: &PeerId, name: &str) -> Result<(), Fault> {
    let name = name.trim().to_ascii_lowercase();
    if !is_valid_name(&name) {
        let error = ApiError::new(ErrorCode::BadRequest, format!("{name:?} cannot be a name"));
        return Err(error.hint(RULE).into());
    }
    match holder(tx, &name)? {
        Some(holder) if holder.id == *id => return Ok(()),
        Some(holder) if is_left(tx, &holder) => release(tx, &holder.id)?,
        Some(holder) => {
            return Err(ApiError::new(
                ErrorCode::NameTaken,
                format!("the name {name} belongs to peer {}", holder.id),
            )
            .hint("Choose another name.")
            .into());
        }
        None => {}
    }
    assign(tx, id, &name, "tool")
}
