//! A window's servers: whose receivers they are, and how they become another peer's.

use rusqlite::{OptionalExtension as _, params};

use crate::broker::core::Tx;
use crate::broker::live::presence::{ServerOrigin, StreamOptions};
use crate::broker::registry::names;
use crate::broker::store::Fault;
use crate::protocol::peers::{CLAUDE_CODE, Channel};
use crate::protocol::{Around, InstanceId, PeerId, ProcessId};

/// How young a peer must be, in milliseconds, to count as made by mistake: a client that continues
/// a session gives its server another id, and its hook, which knows better, may speak a moment
/// later.
const JUST_MADE: i64 = 30_000;

/// How far back messages are looked at, in their number: far more than can be sent meanwhile.
const RECENT: i64 = 10_000;

/// What the stream of a registered receiver is to be opened with; not its server's pid.
///
/// # Errors
///
/// If the database fails, or there is no such receiver.
pub fn opening(tx: &Tx<'_>, instance: &InstanceId) -> Result<StreamOptions, Fault> {
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

/// Makes the receivers that `from` has in the window of `client` those of `to`, and `to` the peer
/// that works there. `from` is away from then on, like a session that has ended.
///
/// # Errors
///
/// If the database fails.
pub fn hand_over(
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
        // What it was handed for the other conversation it may not show in this one.
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
    // One that is known by its process only ends with it; a session is nobody's until it is
    // resumed.
    tx.db
        .prepare_cached(
            "UPDATE peers SET seen_at = ?2,
                 client_process = CASE WHEN kind = 'session' THEN NULL ELSE client_process END
             WHERE id = ?1",
        )?
        .execute(params![from.as_str(), tx.now.millis()])?;
    Ok(instances)
}

/// Removes every trace of a peer that was made for a window a moment ago, if it has not spoken:
/// its keys, its mail and a name that its person chose are those of `to`, whom the window shows.
///
/// # Errors
///
/// If the database fails.
pub fn absorb(tx: &mut Tx<'_>, from: &PeerId, to: &PeerId) -> Result<(), Fault> {
    if !is_blank(tx, from)? {
        return Ok(());
    }
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
    // A row is never deleted, because its id must not be used again. No listing shows this kind.
    tx.db
        .prepare_cached(
            "UPDATE peers SET kind = 'absorbed', name = NULL, name_source = NULL, client_named = 0,
                              client_process = NULL WHERE id = ?1",
        )?
        .execute([from.as_str()])?;
    if let Some(name) = chosen {
        names::assign_at_registration(tx, to, Some(&name), &Around::default(), &mut Vec::new())?;
    }
    Ok(())
}

/// Whether a peer is new, has sent nothing, and has not said who it is.
fn is_blank(tx: &Tx<'_>, peer: &PeerId) -> Result<bool, Fault> {
    Ok(tx
        .db
        .prepare_cached(
            "SELECT created_at > ?2 AND summary_source <> 'session'
                    AND (coalesce(name_source, '') <> 'tool' OR client_named)
                    AND NOT EXISTS (SELECT 1 FROM (SELECT sender FROM messages ORDER BY seq DESC LIMIT ?3)
                                    WHERE sender = ?1)
             FROM peers WHERE id = ?1",
        )?
        .query_row(params![peer.as_str(), tx.now.millis() - JUST_MADE, RECENT], |row| row.get(0))?)
}
