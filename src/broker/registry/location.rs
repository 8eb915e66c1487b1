//! Where a session works: as its server registered it, and as its hooks report it since.

use rusqlite::params;

use crate::broker::core::Tx;
use crate::broker::registry::client_sessions::peer_of_session;
use crate::broker::store::Fault;
use crate::protocol::hook::DirectoryChanged;
use crate::protocol::mailbox::Noted;
use crate::protocol::{ApiError, ErrorCode, PeerId};

/// Returns whether a session whose hook reports `cwd` is listed in another directory.
///
/// Always false for a relative path.
pub fn has_moved(tx: &Tx<'_>, peer: &PeerId, cwd: &str) -> Result<bool, Fault> {
    if !cwd.starts_with('/') {
        return Ok(false);
    }
    Ok(tx
        .db
        .prepare_cached("SELECT cwd <> ?2 FROM peers WHERE id = ?1")?
        .query_row([peer.as_str(), cwd], |row| row.get(0))?)
}

/// Sets the directory in which a session works now. Its name stays.
///
/// # Errors
///
/// [`ErrorCode::NotFound`] if the session has no peer.
pub fn set_working_directory(tx: &Tx<'_>, moved: &DirectoryChanged) -> Result<Noted, Fault> {
    let Some(peer) = peer_of_session(tx, &moved.session, moved.client.as_ref())? else {
        return Err(ApiError::new(ErrorCode::NotFound, "this session has no peer here").into());
    };
    let DirectoryChanged { cwd, directory, repo, worktree, .. } = moved;
    let noted = tx
        .db
        .prepare_cached(
            "UPDATE peers SET cwd = ?2, directory = ?3, repo = ?4, worktree = ?5 WHERE id = ?1",
        )?
        .execute(params![peer.as_str(), cwd, directory, repo, worktree])?;
    Ok(Noted { noted: noted as u64 })
}
