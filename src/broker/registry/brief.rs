//! A session in a few numbers, for a status line.

use crate::broker::core::Tx;
use crate::broker::registry::listing::{LivePeers, load};
use crate::broker::store::Fault;
use crate::protocol::PeerId;
use crate::protocol::brief::BriefStatus;

/// Describes a peer, or the machine for one who has none.
///
/// # Errors
///
/// If the database fails.
pub fn brief(tx: &Tx<'_>, id: Option<&PeerId>) -> Result<BriefStatus, Fault> {
    let live = LivePeers::read(tx);
    let Some(id) = id else {
        return Ok(BriefStatus { id: None, name: None, live: live.len(), near: 0, unread: 0 });
    };
    let me = load(tx, id)?;
    // Serialising plain strings cannot fail.
    let others: Vec<&PeerId> = live.ids().filter(|other| *other != id).collect();
    let near: i64 = tx
        .db
        .prepare_cached(
            "SELECT count(*) FROM json_each(?1) JOIN peers ON peers.id = json_each.value
             WHERE peers.directory = ?2 OR peers.repo = ?3",
        )?
        .query_row(
            (serde_json::to_string(&others).unwrap_or_default(), &me.directory, &me.peer.repo),
            |row| row.get(0),
        )?;
    Ok(BriefStatus {
        id: Some(me.peer.id),
        name: me.peer.name,
        live: others.len() as u64,
        near: u64::try_from(near).unwrap_or(0),
        unread: me.peer.unread,
    })
}
