//! The list of peers, and a peer as other peers see it.

use rusqlite::{OptionalExtension as _, Row, params};

use crate::broker::core::{Caller, Tx};
use crate::broker::registry::place_names::WorkingPlace;
use crate::broker::registry::{client_sessions, ended, keys};
use crate::broker::store::Fault;
use crate::protocol::peers::{Channel, ListPeers, Peer, PeerKind, PeerList, Reachability};
use crate::protocol::scope::Scope;
use crate::protocol::{ApiError, ErrorCode, PeerId, Timestamp};

pub(super) const COLUMNS: &str =
    "id, name, kind, seen_at, summary, cwd, repo, client_name, client_version, one_shot,
    unread, directory, name_source IN ('environment', 'reserved') OR client_named,
    EXISTS (SELECT 1 FROM clients c WHERE c.process = peers.client_process)";

/// A peer as the database has it; [`complete`] adds whether it is live, and its backlog.
pub(super) struct ListedPeer {
    pub peer: Peer,
    /// The number of unread messages, including those under a running lease.
    pub unread: u64,
    pub directory: Option<String>,
    /// The person chose the name, so a session may be resumed by it.
    pub explicit: bool,
    pub seen_at: i64,
    /// The client process of this peer has had hook events.
    pub hooked: bool,
}

pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<ListedPeer> {
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
    Ok(ListedPeer {
        peer,
        unread: u64::try_from(row.get::<_, i64>(10)?).unwrap_or(0),
        directory: row.get(11)?,
        explicit: row.get::<_, Option<bool>>(12)?.unwrap_or(false),
        seen_at,
        hooked: row.get(13)?,
    })
}

/// Adds the presence and the backlog, which are not part of the row.
fn complete(tx: &Tx<'_>, mut entry: ListedPeer) -> Result<ListedPeer, Fault> {
    add_presence(tx, &mut entry)?;
    if entry.unread > 0 {
        count_mail(tx, &mut entry.peer)?;
    }
    Ok(entry)
}

/// Adds whether the peer is live, and how it can be reached.
pub(super) fn add_presence(tx: &Tx<'_>, entry: &mut ListedPeer) -> Result<(), Fault> {
    let (live, id) = (&tx.state.live, &entry.peer.id);
    let channel = live.presence.lock().channel(id);
    // Its server has ended, and its client process goes on.
    let by_hooks = channel.is_none() && live.client_processes.has_open_client(id);
    entry.peer.live = channel.is_some() || by_hooks;
    let hooked = entry.hooked
        && !live.client_processes.hooks_are_off(id)
        && client_sessions::has_hooks_for(tx, id)?;
    entry.peer.reach = match channel {
        None if by_hooks => Reachability::Hooks,
        None if entry.peer.kind == PeerKind::Cli => Reachability::Inbox,
        None if entry.peer.kind == PeerKind::Client && keys::cannot_return(tx, &entry.peer.id)? => {
            Reachability::Ended
        }
        None => Reachability::Away,
        Some(Channel::Proven) => Reachability::ChannelProven,
        // Hooks are more reliable than a push that may not be shown.
        Some(_) if hooked => Reachability::Hooks,
        Some(Channel::Presumed) => Reachability::ChannelPresumed,
        Some(Channel::Absent) => Reachability::Tools,
    };
    Ok(())
}

/// Adds the peer's backlog.
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

fn load(tx: &Tx<'_>, id: &PeerId) -> Result<ListedPeer, Fault> {
    let found = tx
        .db
        .prepare_cached(&format!("SELECT {COLUMNS} FROM peers WHERE id = ?1"))?
        .query_row([id.as_str()], entry)?;
    complete(tx, found)
}

/// Returns a peer by its id.
///
/// # Errors
///
/// If there is no such peer.
pub fn peer(tx: &Tx<'_>, id: &PeerId) -> Result<Peer, Fault> {
    Ok(load(tx, id)?.peer)
}

/// Returns the live peers, each once.
fn live_ids(tx: &Tx<'_>) -> Vec<PeerId> {
    let presence = tx.state.live.presence.lock();
    let with_server = presence.live_ids();
    let mut live = tx.state.live.client_processes.live_by_hooks(&with_server);
    live.extend(with_server.into_iter().cloned());
    live
}

/// Returns all peers that can be listed: live ones, and away ones with mail or a name that the
/// person chose.
pub(super) fn all_listed(tx: &Tx<'_>) -> Result<Vec<ListedPeer>, Fault> {
    // Serialising plain strings cannot fail.
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

/// Returns the peers in a scope, as `caller` sees them.
///
/// # Errors
///
/// [`ErrorCode::BadRequest`] for the scope `repo` of a caller that is in no repository.
pub fn list(tx: &Tx<'_>, caller: &Caller, request: &ListPeers) -> Result<PeerList, Fault> {
    let is_session = caller.instance.is_some() || caller.by_command_line;
    let me = is_session.then(|| load(tx, &caller.peer)).transpose()?;
    let (directory, repo) = match &me {
        Some(me) if !caller.by_command_line => (me.directory.clone(), me.peer.repo.clone()),
        // A shell may be in another directory than its session.
        _ => (request.directory.clone(), request.repo.clone()),
    };
    let in_scope = |candidate: &ListedPeer| match request.scope {
        Scope::Machine => true,
        Scope::Directory => directory.is_some() && candidate.directory == directory,
        Scope::Repo => repo.is_some() && candidate.peer.repo == repo,
    };
    if request.scope == Scope::Repo && repo.is_none() {
        return Err(ApiError::new(ErrorCode::BadRequest, "this is not inside a git repository")
            .hint("Use the scope directory or machine.")
            .into());
    }
    let mut peers: Vec<Peer> = all_listed(tx)?
        .into_iter()
        .filter(|candidate| candidate.peer.id != caller.peer && in_scope(candidate))
        .map(|candidate| candidate.peer)
        .collect();
    let (mut away, mut away_unread) = (0, None);
    let (mut ended, mut more_ended) = (Vec::new(), false);
    if request.all {
        let in_scope = |place: &WorkingPlace| match request.scope {
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

/// Returns how many peers are live, and how many messages are unread in all mailboxes.
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

/// Returns the number of unread messages of a peer, without notices.
pub fn unread(tx: &Tx<'_>, peer: &PeerId) -> Result<u64, Fault> {
    let unread: i64 = tx
        .db
        .prepare_cached("SELECT unread FROM peers WHERE id = ?1")?
        .query_row([peer.as_str()], |row| row.get(0))?;
    Ok(u64::try_from(unread).unwrap_or(0))
}

/// Returns a peer's backlog: its unread messages without a running lease.
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

/// Returns the backlog of a peer, and the notices for it without a running lease.
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
