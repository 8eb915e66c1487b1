//! The directory: a peer as others see it, and who is here.

use rusqlite::{OptionalExtension as _, Row, params};

use crate::broker::core::{Caller, Tx};
use crate::broker::registry::place_names::Place;
use crate::broker::registry::{client_sessions, ended, keys};
use crate::broker::store::Fault;
use crate::protocol::peers::{Channel, ListPeers, Peer, PeerKind, PeerList, Reachability};
use crate::protocol::scope::Scope;
use crate::protocol::{ApiError, ErrorCode, PeerId, Timestamp};

pub(super) const COLUMNS: &str =
    "id, name, kind, seen_at, summary, cwd, repo, client_name, client_version, one_shot,
    unread, directory, name_source IN ('environment', 'reserved') OR client_named,
    EXISTS (SELECT 1 FROM clients c WHERE c.process = peers.client_process)";

/// A row of the directory, before it is known whether it is live and what waits for it.
pub(super) struct Entry {
    pub peer: Peer,
    /// Messages without evidence of having been read, also those on their way.
    pub unread: u64,
    pub directory: Option<String>,
    /// The person chose its name, so that it may be called back by it.
    pub explicit: bool,
    pub seen_at: i64,
    /// Hooks of ours have spoken in the client that holds it.
    pub hooked: bool,
}

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let seen_at: i64 = row.get(3)?;
    let peer = Peer {
        id: PeerId::from_text(row.get::<_, String>(0)?),
        name: row.get(1)?,
        kind: PeerKind::from_word(&row.get::<_, String>(2)?),
        live: false,
        reach: Reachability::Away,
        since: Timestamp::from_millis(seen_at),
        summary: row.get(4)?,
        cwd: row.get(5)?,
        repo: row.get(6)?,
        client_name: row.get(7)?,
        client_version: row.get(8)?,
        one_shot: row.get(9)?,
        unread: 0,
        oldest_unread: None,
    };
    Ok(Entry {
        peer,
        unread: u64::try_from(row.get::<_, i64>(10)?).unwrap_or(0),
        directory: row.get(11)?,
        explicit: row.get::<_, Option<bool>>(12)?.unwrap_or(false),
        seen_at,
        hooked: row.get(13)?,
    })
}

/// Adds what only memory and the mailbox know.
fn complete(tx: &Tx<'_>, mut entry: Entry) -> Result<Entry, Fault> {
    look_for(tx, &mut entry)?;
    if entry.unread > 0 {
        count_mail(tx, &mut entry.peer)?;
    }
    Ok(entry)
}

/// Adds whether it is live, and how it is reached.
pub(super) fn look_for(tx: &Tx<'_>, entry: &mut Entry) -> Result<(), Fault> {
    let (live, id) = (&tx.state.live, &entry.peer.id);
    let channel = live.presence.lock().channel(id);
    // Its server has ended, and its hooks have not.
    let by_hooks = channel.is_none() && live.client_processes.has_open_client(id);
    entry.peer.live = channel.is_some() || by_hooks;
    let hooked = entry.hooked
        && !live.client_processes.hooks_are_off(id)
        && client_sessions::speak_for(tx, id)?;
    entry.peer.reach = match channel {
        None if by_hooks => Reachability::Hooks,
        None if entry.peer.kind == PeerKind::Cli => Reachability::Inbox,
        None if entry.peer.kind == PeerKind::Client && keys::cannot_return(tx, &entry.peer.id)? => {
            Reachability::Ended
        }
        None => Reachability::Away,
        Some(Channel::Proven) => Reachability::ChannelProven,
        // Better than a push that may not be shown.
        Some(_) if hooked => Reachability::Hooks,
        Some(Channel::Presumed) => Reachability::ChannelPresumed,
        Some(Channel::Absent) => Reachability::Tools,
    };
    Ok(())
}

/// Adds what waits for it.
pub(super) fn count_mail(tx: &Tx<'_>, peer: &mut Peer) -> Result<(), Fault> {
    peer.unread = backlog(tx, &peer.id)?;
    if peer.unread > 0 {
        let oldest: Option<i64> = tx
            .db
            .prepare_cached(
                "SELECT sent_at FROM messages
                 WHERE recipient = ?1 AND state IN ('queued', 'offered') AND sender <> 'broker'
                 ORDER BY seq LIMIT 1",
            )?
            .query_row([peer.id.as_str()], |row| row.get(0))
            .optional()?;
        peer.oldest_unread = oldest.map(Timestamp::from_millis);
    }
    Ok(())
}

fn load(tx: &Tx<'_>, id: &PeerId) -> Result<Entry, Fault> {
    let found = tx
        .db
        .prepare_cached(&format!("SELECT {COLUMNS} FROM peers WHERE id = ?1"))?
        .query_row([id.as_str()], entry)?;
    complete(tx, found)
}

/// A peer, by its id.
///
/// # Errors
///
/// If the database fails or has no such peer.
pub fn peer(tx: &Tx<'_>, id: &PeerId) -> Result<Peer, Fault> {
    Ok(load(tx, id)?.peer)
}

/// The peers that are live, each once.
fn live_ids(tx: &Tx<'_>) -> Vec<PeerId> {
    let presence = tx.state.live.presence.lock();
    let with_server = presence.live_ids();
    let mut live = tx.state.live.client_processes.live_by_hooks(&with_server);
    live.extend(with_server.into_iter().cloned());
    live
}

/// All that could be listed: live, or away with something to come back to.
pub(super) fn listed(tx: &Tx<'_>) -> Result<Vec<Entry>, Fault> {
    // Plain strings, which always serialise.
    let live = serde_json::to_string(&live_ids(tx)).unwrap_or_default();
    let mut statement = tx.db.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM peers
         WHERE kind IN ('session', 'client')
           AND (unread > 0 OR name_source = 'environment' OR client_named
                OR id IN (SELECT value FROM json_each(?1)))
         ORDER BY created_at, id"
    ))?;
    let mut found = Vec::new();
    let mut rows = statement.query([live])?;
    while let Some(row) = rows.next()? {
        found.push(complete(tx, entry(row)?)?);
    }
    Ok(found)
}

/// Who is here, as `caller` sees it.
///
/// # Errors
///
/// If the scope refers to a place that the caller does not have.
pub fn list(tx: &Tx<'_>, caller: &Caller, request: &ListPeers) -> Result<PeerList, Fault> {
    let is_session = caller.instance.is_some() || caller.by_command_line;
    let me = is_session.then(|| load(tx, &caller.peer)).transpose()?;
    let (directory, repo) = match &me {
        Some(me) if !caller.by_command_line => (me.directory.clone(), me.peer.repo.clone()),
        // A shell may stand elsewhere than its session works.
        _ => (request.directory.clone(), request.repo.clone()),
    };
    let in_scope = |candidate: &Entry| match request.scope {
        Scope::Machine => true,
        Scope::Directory => directory.is_some() && candidate.directory == directory,
        Scope::Repo => repo.is_some() && candidate.peer.repo == repo,
    };
    if request.scope == Scope::Repo && repo.is_none() {
        return Err(ApiError::new(ErrorCode::BadRequest, "this is not inside a git repository")
            .hint("Use the scope directory or machine.")
            .into());
    }
    let mut peers: Vec<Peer> = listed(tx)?
        .into_iter()
        .filter(|candidate| candidate.peer.id != caller.peer && in_scope(candidate))
        .map(|candidate| candidate.peer)
        .collect();
    let (mut away, mut away_unread) = (0, None);
    let (mut ended, mut more_ended) = (Vec::new(), false);
    if request.all {
        let in_scope = |place: &Place| match request.scope {
            Scope::Machine => true,
            Scope::Directory => directory.as_ref() == Some(&place.directory),
            Scope::Repo => repo.is_some() && place.repo == repo,
        };
        (ended, more_ended) = ended::list(tx, &caller.peer, &peers, in_scope)?;
    } else {
        let is_away = |peer: &&Peer| !peer.live && peer.reach != Reachability::Ended;
        let gone = || peers.iter().filter(is_away);
        away = gone().count() as u64;
        away_unread = Some(gone().map(|peer| peer.unread).sum());
        peers.retain(|peer| peer.live);
    }
    peers.sort_by_key(|peer| !peer.live);
    let (me, waiting) = (me.map(|me| me.peer), waiting(tx, &caller.peer)?);
    Ok(PeerList { me, peers, away, away_unread, ended, more_ended, waiting })
}

/// How many peers are live, and how many messages wait in all.
///
/// # Errors
///
/// If the database fails.
pub fn live_and_backlog(tx: &Tx<'_>) -> Result<(u64, u64), Fault> {
    let live = live_ids(tx).len() as u64;
    let backlog: i64 = tx
        .db
        .prepare_cached(
            "SELECT coalesce(sum(unread), 0) FROM peers WHERE kind IN ('session', 'client', 'cli')",
        )?
        .query_row(params![], |row| row.get(0))?;
    Ok((live, u64::try_from(backlog).unwrap_or(0)))
}

/// Messages of peers without evidence of having been read.
pub fn unread(tx: &Tx<'_>, peer: &PeerId) -> Result<u64, Fault> {
    let unread: i64 = tx
        .db
        .prepare_cached("SELECT unread FROM peers WHERE id = ?1")?
        .query_row([peer.as_str()], |row| row.get(0))?;
    Ok(u64::try_from(unread).unwrap_or(0))
}

/// A peer's backlog, as others see it: unread, and not on its way by a channel that works.
pub fn backlog(tx: &Tx<'_>, peer: &PeerId) -> Result<u64, Fault> {
    let leased: i64 = tx
        .db
        .prepare_cached(
            "SELECT count(*) FROM messages
             WHERE recipient = ?1 AND lease_until > ?2 AND sender <> 'broker'",
        )?
        .query_row(params![peer.as_str(), tx.now.millis()], |row| row.get(0))?;
    Ok(unread(tx, peer)?.saturating_sub(u64::try_from(leased).unwrap_or(0)))
}

/// The same, and what the broker has to tell it.
pub fn waiting(tx: &Tx<'_>, peer: &PeerId) -> Result<u64, Fault> {
    let notices: i64 = tx
        .db
        .prepare_cached(
            "SELECT count(*) FROM messages INDEXED BY messages_notices
             WHERE recipient = ?1 AND sender = 'broker' AND state IN ('queued', 'offered')
               AND (lease_until IS NULL OR lease_until <= ?2)",
        )?
        .query_row(params![peer.as_str(), tx.now.millis()], |row| row.get(0))?;
    Ok(backlog(tx, peer)?.saturating_add(u64::try_from(notices).unwrap_or(0)))
}
