//! Where a session works: what its server said first, and its hooks say since.

use rusqlite::params;

use crate::broker::core::Tx;
use crate::broker::registry::client_sessions::peer_of_session;
use crate::broker::store::Fault;
use crate::protocol::hook::HookMoved;
use crate::protocol::mailbox::Noted;
use crate::protocol::{ApiError, ErrorCode, PeerId};

/// Whether a session that works in `cwd`, as its hook says, is listed elsewhere.
///
/// # Errors
///
/// If the database fails.
pub fn is_elsewhere(tx: &Tx<'_>, peer: &PeerId, cwd: &str) -> Result<bool, Fault> {
    if !cwd.starts_with('/') {
        return Ok(false);
    }
    Ok(tx
        .db
        .prepare_cached("SELECT cwd <> ?2 FROM peers WHERE id = ?1")?
        .query_row([peer.as_str(), cwd], |row| row.get(0))?)
}

/// A session works elsewhere now: it is listed and addressed there. A name that it has it keeps.
///
/// # Errors
///
/// [`ErrorCode::NotFound`] if nobody knows the session.
pub fn note_place(tx: &Tx<'_>, moved: &HookMoved) -> Result<Noted, Fault> {
    let Some(peer) = peer_of_session(tx, &moved.session, moved.client.as_ref())? else {
        return Err(ApiError::new(ErrorCode::NotFound, "this session has no peer here").into());
    };
    let HookMoved { cwd, directory, repo, worktree, .. } = moved;
    let noted = tx
        .db
        .prepare_cached(
            "UPDATE peers SET cwd = ?2, directory = ?3, repo = ?4, worktree = ?5 WHERE id = ?1",
        )?
        .execute(params![peer.as_str(), cwd, directory, repo, worktree])?;
    Ok(Noted { noted: noted as u64 })
}
