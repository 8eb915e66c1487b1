//! Succession: how a new client continues the peer of an ended one that was known by its process.
//!
//! The ended client cannot return as that peer. The next client of the same program in the same
//! directory is its successor: it takes over the peer, with its id, name and mail. A mailbox has one
//! successor, which takes over all of it. Where it is not clear whose it is, it has none, and an
//! error tells senders so.

use rusqlite::params;

use crate::broker::core::Tx;
use crate::broker::registry::keys::still_runs;
use crate::broker::registry::listing::unread_count;
use crate::broker::store::Fault;
use crate::protocol::error::Candidate;
use crate::protocol::peers::Register;
use crate::protocol::{PeerId, names};

/// An ended peer that a successor may take over.
struct Predecessor {
    id: PeerId,
    has_mail: bool,
}

/// Returns the predecessor of a client that registers for the first time.
///
/// That is the only ended peer with mail, or, if none has mail, the one that was seen last.
pub fn predecessor(tx: &Tx<'_>, request: &Register) -> Result<Option<PeerId>, Fault> {
    let ended = ended_in_same_place(tx, request)?;
    let mut with_mail = ended.iter().filter(|one| one.has_mail);
    let chosen = match (with_mail.next(), with_mail.next()) {
        (Some(only), None) => Some(only),
        (Some(_), Some(_)) => None,
        (None, _) => ended.first(),
    };
    Ok(chosen.map(|one| one.id.clone()))
}

/// Returns the peers of this program in this directory whose processes have ended, the last one
/// first.
///
/// A peer with a name from `CLAUDE_PEERS_NAME` is included only if the new client has the same name.
fn ended_in_same_place(tx: &Tx<'_>, request: &Register) -> Result<Vec<Predecessor>, Fault> {
    if request.client_name.is_empty() {
        return Ok(Vec::new());
    }
    let name = request.name.as_deref().map(names::canonical);
    let mut statement = tx.db.prepare_cached(concat!(
        "SELECT id, client_process, has_mail FROM (
             SELECT *, ",
        unread_count!(),
        " > 0 AS has_mail FROM peers
             WHERE kind = 'client' AND client_name = ?1 AND client_process IS NOT NULL
               AND coalesce(directory, cwd) = coalesce(?2, ?3)
               AND (coalesce(name_source, '') <> 'environment' OR name IS ?4))
         WHERE has_mail OR name IS NOT NULL
         ORDER BY seen_at DESC"
    ))?;
    let asked = params![request.client_name, request.directory, request.cwd, name];
    let rows: Vec<(String, String, bool)> = statement
        .query_map(asked, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let inner = tx.state.live.presence.lock();
    let ended = rows.into_iter().filter_map(|(id, process, has_mail)| {
        let id = PeerId::from_text(id);
        (!inner.is_live_or_arriving(&id) && !still_runs(&process))
            .then_some(Predecessor { id, has_mail })
    });
    Ok(ended.collect())
}

/// Removes the summary, which described an earlier conversation.
pub fn reset_summary(tx: &Tx<'_>, id: &PeerId) -> Result<(), Fault> {
    tx.db
        .prepare_cached("UPDATE peers SET summary = '', summary_source = 'none' WHERE id = ?1")?
        .execute([id.as_str()])?;
    Ok(())
}

/// Returns the live peers of the ended peer's program in the same directory.
pub fn live_in_same_place(tx: &Tx<'_>, ended: &PeerId) -> Result<Vec<Candidate>, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT p.id, p.name, p.cwd FROM peers p JOIN peers e ON e.id = ?1
         WHERE p.id <> e.id AND p.kind IN ('client', 'session') AND p.client_name = e.client_name
           AND coalesce(p.directory, p.cwd) = coalesce(e.directory, e.cwd)
         ORDER BY p.created_at, p.id",
    )?;
    let candidates: Vec<Candidate> = statement
        .query_map([ended.as_str()], |row| {
            let id = PeerId::from_text(row.get::<_, String>(0)?);
            Ok(Candidate { id, name: row.get(1)?, cwd: row.get(2)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let inner = tx.state.live.presence.lock();
    Ok(candidates.into_iter().filter(|one| inner.is_live_or_arriving(&one.id)).collect())
}
