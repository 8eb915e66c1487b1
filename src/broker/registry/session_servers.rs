//! The servers of a client process: to which peer their receivers belong, and how that changes.

use rusqlite::{OptionalExtension as _, params};

use crate::broker::core::Tx;
use crate::broker::live::presence::{ServerOrigin, StreamOptions};
use crate::broker::registry::names;
use crate::broker::store::Fault;
use crate::protocol::peers::{CLAUDE_CODE, Channel};
use crate::protocol::{CallerContext, InstanceId, PeerId, ProcessId};

/// The age, in milliseconds, up to which a peer may have been created by mistake.
///
/// A client that continues a session gives its server another session id; its hook, which reports the
/// right one, may come a moment later.
const NEW_PEER_MILLIS: i64 = 30_000;

/// Returns the options for the stream of a registered receiver, without its server's pid.
///
/// # Errors
///
/// If there is no such receiver.
pub fn stream_options(tx: &Tx<'_>, instance: &InstanceId) -> Result<StreamOptions, Fault> {
    Ok(tx
        .db
        .prepare_cached(
            "SELECT r.peer, r.channel, r.client_process, p.kind = 'session', p.client_name = ?2,
                    EXISTS (SELECT 1 FROM keys WHERE peer = p.id AND key LIKE 'process:%')
             FROM receivers r JOIN peers p ON p.id = r.peer WHERE r.instance = ?1",
        )?
        .query_row([instance.as_str(), CLAUDE_CODE], |row| {
            let (is_session, is_claude): (bool, bool) = (row.get(3)?, row.get(4)?);
            let origin = ServerOrigin {
                client: row.get(2)?,
                is_claude: is_session || is_claude,
                without_session_id: row.get(5)?,
                is_unverified: is_claude && !is_session,
                server_pid: None,
            };
            let channel: String = row.get(1)?;
            Ok(StreamOptions {
                peer: PeerId::from_text(row.get::<_, String>(0)?),
                channel: Channel::from_word(&channel),
                origin,
            })
        })?)
}

/// Attaches the receivers that `from` has under `client` to `to`, and returns their instances.
///
/// `to` takes over directory and client of `from`, which is away from then on, like a session that
/// has ended.
pub fn reattach_receivers(
    tx: &Tx<'_>,
    client: &ProcessId,
    from: &PeerId,
    to: &PeerId,
) -> Result<Vec<InstanceId>, Fault> {
    let text = client.to_string();
    let instances: Vec<InstanceId> = tx
        .db
        .prepare_cached("SELECT instance FROM receivers WHERE peer = ?1 AND client_process = ?2")?
        .query_map([from.as_str(), &text], |row| row.get::<_, String>(0))?
        .map(|instance| instance.map(InstanceId::from_text))
        .collect::<rusqlite::Result<_>>()?;
    for instance in &instances {
        tx.db
            .prepare_cached("UPDATE receivers SET peer = ?2 WHERE instance = ?1")?
            .execute([instance.as_str(), to.as_str()])?;
        // Messages offered to it for the former conversation may not be shown in this one.
        tx.db
            .prepare_cached(
                "UPDATE messages SET lease_until = NULL, lease_by = NULL
                 WHERE recipient = ?1 AND lease_until IS NOT NULL AND lease_by = ?2",
            )?
            .execute([from.as_str(), instance.as_str()])?;
    }
    tx.db
        .prepare_cached(
            "UPDATE peers SET
                 cwd = f.cwd, directory = f.directory, repo = f.repo, worktree = f.worktree, client_name = f.client_name,
                 client_version = f.client_version, one_shot = f.one_shot,
                 client_process = ?3, seen_at = ?4, kind = 'session'
             FROM (SELECT * FROM peers WHERE id = ?1) AS f WHERE peers.id = ?2",
        )?
        .execute(params![from.as_str(), to.as_str(), text, tx.now.millis()])?;
    // A peer that is known by its process only ends with it; a session has no client process until
    // it is resumed.
    tx.db
        .prepare_cached(
            "UPDATE peers SET seen_at = ?2,
                 client_process = CASE WHEN kind = 'session' THEN NULL ELSE client_process END
             WHERE id = ?1",
        )?
        .execute(params![from.as_str(), tx.now.millis()])?;
    Ok(instances)
}

/// Merges a new and unused peer into `to`, the peer that the client process shows.
///
/// The keys of `from`, its mail and a name that its person chose become those of `to`. Does nothing
/// if `from` is older than 30 s or has sent or set anything.
pub fn merge_new_peer(tx: &mut Tx<'_>, from: &PeerId, to: &PeerId) -> Result<(), Fault> {
    if !is_new_and_unused(tx, from)? {
        return Ok(());
    }
    // A window of another session is of no use for the one that the client process shows.
    tx.db
        .prepare_cached("DELETE FROM keys WHERE peer = ?1 AND key LIKE 'window:%'")?
        .execute([from.as_str()])?;
    for update in [
        "UPDATE keys SET peer = ?2 WHERE peer = ?1",
        "UPDATE receivers SET peer = ?2 WHERE peer = ?1",
        "UPDATE messages SET recipient = ?2 WHERE recipient = ?1 AND state IN ('queued', 'offered')",
    ] {
        tx.db.prepare_cached(update)?.execute([from.as_str(), to.as_str()])?;
    }
    let chosen: Option<String> = tx
        .db
        .prepare_cached("SELECT name FROM peers WHERE id = ?1 AND name_source = 'environment'")?
        .query_row([from.as_str()], |row| row.get(0))
        .optional()?;
    // The row stays, because its id must never be reused; peers of this kind are in no list.
    tx.db
        .prepare_cached(
            "UPDATE peers SET kind = 'absorbed', name = NULL, name_source = NULL, client_named = 0,
                              client_process = NULL WHERE id = ?1",
        )?
        .execute([from.as_str()])?;
    if let Some(name) = chosen {
        names::assign_at_registration(
            tx,
            to,
            Some(&name),
            &CallerContext::default(),
            &mut Vec::new(),
        )?;
    }
    Ok(())
}

/// Returns whether a peer is new, has sent nothing, and has set neither summary nor name.
fn is_new_and_unused(tx: &Tx<'_>, peer: &PeerId) -> Result<bool, Fault> {
    Ok(tx
        .db
        .prepare_cached(
            "SELECT created_at > ?2 AND summary_source <> 'session'
                    AND (coalesce(name_source, '') <> 'tool' OR client_named)
                    AND NOT EXISTS (SELECT 1 FROM messages INDEXED BY messages_unread
                                    WHERE sender = ?1 AND state IN ('queued', 'offered'))
                    AND NOT EXISTS (SELECT 1 FROM messages
                                    WHERE sender = ?1 AND state NOT IN ('queued', 'offered'))
             FROM peers WHERE id = ?1",
        )?
        .query_row(params![peer.as_str(), tx.now.millis() - NEW_PEER_MILLIS], |row| row.get(0))?)
}
