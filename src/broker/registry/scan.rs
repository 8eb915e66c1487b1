//! The peers that can be listed: found in one pass, and read whole only where they are shown.

use std::collections::{HashMap, HashSet};

use crate::broker::core::Tx;
use crate::broker::registry::listing::{ListedPeer, LivePeers, entry, peer_columns};
use crate::broker::store::Fault;
use crate::protocol::PeerId;

/// Returns all peers that can be listed, without their backlog: live ones, and away ones with mail or a
/// name that the person chose.
pub(super) fn all_listed(tx: &Tx<'_>) -> Result<Vec<ListedPeer>, Fault> {
    let live = LivePeers::read(tx);
    let mut ids = Vec::new();
    scan(tx, &live, |peer| {
        ids.push((peer.created_at, PeerId::from_text(peer.id)));
        Ok(())
    })?;
    ids.sort_unstable();
    let ids: Vec<PeerId> = ids.into_iter().map(|(_, id)| id).collect();
    let mut found = entries(tx, &ids)?;
    found.retain(|entry| {
        entry.explicit || entry.unread > 0 || live.contains(entry.peer.id.as_str())
    });
    found.iter_mut().try_for_each(|entry| live.add_presence(tx, entry))?;
    Ok(found)
}

/// What decides about the place of a peer in the list.
pub(super) struct ScannedPeer<'a> {
    pub id: &'a str,
    pub name: Option<&'a str>,
    pub directory: Option<&'a str>,
    pub repo: Option<&'a str>,
    /// When its presence last began or ended.
    pub seen_at: i64,
    pub created_at: i64,
    pub client_process: Option<&'a str>,
    pub is_live: bool,
}

/// Reads all peers that may be listed, in no order.
///
/// A peer that is not live and whose name no person chose is listed only if it has unread messages; it
/// may have notices alone.
pub(super) fn scan(
    tx: &Tx<'_>,
    live: &LivePeers,
    mut read: impl FnMut(&ScannedPeer<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let waiting = recipients(tx)?;
    let mut statement = tx.db.prepare_cached(
        "SELECT id, name, directory, repo, seen_at, created_at, client_process,
                name_source = 'environment' OR client_named
         FROM peers WHERE kind IN ('session', 'client')",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text = |column: usize| -> rusqlite::Result<Option<&str>> {
            Ok(row.get_ref(column)?.as_str_or_null()?)
        };
        let id = text(0)?.unwrap_or_default();
        let is_live = live.contains(id);
        let is_named = || row.get::<_, Option<bool>>(7).map(|named| named == Some(true));
        if is_live || waiting.contains(id) || is_named()? {
            read(&ScannedPeer {
                id,
                name: text(1)?,
                directory: text(2)?,
                repo: text(3)?,
                seen_at: row.get(4)?,
                created_at: row.get(5)?,
                client_process: text(6)?,
                is_live,
            })?;
        }
    }
    Ok(())
}

/// Returns the peers that have unread messages or notices.
fn recipients(tx: &Tx<'_>) -> Result<HashSet<String>, Fault> {
    // Each is found by one step in the index, however many messages it has.
    let mut statement = tx.db.prepare_cached(
        "WITH RECURSIVE waiting (recipient) AS (
             SELECT min(recipient) FROM messages INDEXED BY messages_unread
             WHERE state IN ('queued', 'offered')
             UNION ALL
             SELECT (SELECT min(m.recipient) FROM messages m INDEXED BY messages_unread
                     WHERE m.state IN ('queued', 'offered') AND m.recipient > waiting.recipient)
             FROM waiting WHERE waiting.recipient IS NOT NULL)
         SELECT recipient FROM waiting WHERE recipient IS NOT NULL",
    )?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns peers by their ids, in the same order.
pub(super) fn entries(tx: &Tx<'_>, ids: &[PeerId]) -> Result<Vec<ListedPeer>, Fault> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut statement = tx.db.prepare_cached(concat!(
        "SELECT ",
        peer_columns!(),
        " FROM json_each(?1) JOIN peers ON peers.id = json_each.value ORDER BY json_each.key"
    ))?;
    // Serialising plain strings cannot fail.
    let rows = statement.query_map([serde_json::to_string(ids).unwrap_or_default()], entry)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Returns when each client process, in its text form, had its last hook event.
pub(super) fn hook_events(tx: &Tx<'_>) -> Result<HashMap<String, i64>, Fault> {
    let mut statement = tx.db.prepare_cached("SELECT process, said_at FROM clients")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut events: HashMap<String, i64> = rows.collect::<rusqlite::Result<_>>()?;
    for (client, last) in tx.state.hook_reports.unwritten() {
        events.insert(client.to_string(), last.at.millis());
    }
    Ok(events)
}

/// Returns how many messages under a running lease each mailbox has, without notices.
pub(super) fn leased(tx: &Tx<'_>) -> Result<HashMap<PeerId, u64>, Fault> {
    let mut statement = tx.db.prepare_cached(
        "SELECT recipient, count(*) FROM messages
         WHERE lease_until > ?1 AND sender <> 'broker' GROUP BY recipient",
    )?;
    let rows = statement.query_map([tx.now.millis()], |row| {
        let count: i64 = row.get(1)?;
        Ok((PeerId::from_text(row.get::<_, String>(0)?), u64::try_from(count).unwrap_or(0)))
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}
