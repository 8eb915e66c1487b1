//! Hook events that have nothing to say, which are most of them: no message is unread, and nothing has
//! changed that the database must know. They are answered without a transaction.

use rusqlite::OptionalExtension as _;

use crate::broker::core::Tx;
use crate::broker::mailbox::hook;
use crate::broker::registry;
use crate::broker::registry::{HookReport, ShownPeer};
use crate::broker::store::Fault;
use crate::protocol::PeerId;
use crate::protocol::hook::{HookEvent, HookEventName, HookMail};

/// Answers a hook event for which nothing is to be written. `title` is what the session is called in
/// its client.
///
/// Returns `None` for any other event, which has then changed nothing.
pub fn quiet_hook(
    tx: &mut Tx<'_>,
    request: &HookEvent,
    title: Option<&str>,
) -> Result<Option<HookMail>, Fault> {
    // A session that begins or ends is written down.
    let is_within =
        !matches!(request.event, HookEventName::SessionStart | HookEventName::SessionEnd);
    if !is_within || !request.seen.is_empty() || registry::is_hook_to_be_recorded(tx) {
        return Ok(None);
    }
    let report = request.client.as_ref().map(|client| HookReport {
        session: &request.session,
        client,
        source: &request.source,
        at: tx.now,
    });
    let shown = match &report {
        Some(report) => registry::known_peer_for_hook(tx, report)?,
        None => registry::peer_of_session(tx, &request.session, None)?
            .map_or(Some(ShownPeer::NoPeer), |peer| Some(ShownPeer::Peer(peer))),
    };
    let peer = match shown {
        Some(ShownPeer::Peer(peer)) => Some(peer),
        Some(ShownPeer::NoPeer) => None,
        Some(ShownPeer::Changes { .. }) | None => return Ok(None),
    };
    if let Some(peer) = &peer
        && !has_nothing_to_write(tx, peer, title)?
    {
        return Ok(None);
    }
    if let Some(report) = &report {
        registry::note_hook(tx, report);
    }
    match peer {
        Some(peer) => hook::answer(tx, &peer, request, HookMail::default()).map(Some),
        None => Ok(Some(HookMail::default())),
    }
}

/// Whether no message of the peer is unread, it was not woken since it was last active, and its title
/// is known.
///
/// Only an unread message can be shown, confirmed, or leased to a hook.
fn has_nothing_to_write(tx: &Tx<'_>, peer: &PeerId, title: Option<&str>) -> Result<bool, Fault> {
    let found = tx
        .db
        .prepare_cached(
            "SELECT woken_at IS NULL AND (?2 IS NULL OR client_title IS ?2)
                    AND NOT EXISTS (SELECT 1 FROM messages INDEXED BY messages_unread
                                    WHERE recipient = ?1 AND state IN ('queued', 'offered'))
             FROM peers WHERE id = ?1",
        )?
        .query_row((peer.as_str(), title), |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(false))
}
