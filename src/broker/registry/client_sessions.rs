//! Which peer a hook event belongs to: a hook knows the session that its client process shows now.
//!
//! A client process shows one session at a time. Its server learns the first session only, so the
//! hooks decide to which peer the server's receiver belongs. A client process that resumes a session
//! which no other running process shows becomes that session's peer.

use std::collections::BTreeSet;

use rusqlite::OptionalExtension as _;

use crate::broker::core::Tx;
use crate::broker::live::presence::Stream;
use crate::broker::registry::hook_reports::{HookReport, record_hook_report};
use crate::broker::registry::keys::{
    bind_key, client_process_of, create_peer, is_live_or_arriving, last_of_process, peer_of_key,
    session_key, session_of,
};
use crate::broker::registry::windows;
use crate::broker::store::Fault;
use crate::claude_code::client_process;
use crate::protocol::peers::PeerKind;
use crate::protocol::{InstanceId, PeerId, ProcessId};
use crate::sys::process;
use crate::sys::process::ancestors;

/// The source of a `SessionStart` event that continues an earlier session.
const RESUME: &str = "resume";

/// The peer of the session that a client process shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShownPeer {
    /// The client process has no peer here.
    NoPeer,
    /// The client process shows the session of this peer.
    Peer(PeerId),
    /// The client process belonged to `from` until now, and belongs to `to` from now on.
    Changes {
        from: PeerId,
        to: PeerId,
        /// `from` was created for this client process before its first hook event.
        just_made: bool,
    },
}

/// Returns the peer of the session that a client process shows, and records the hook's report.
///
/// The report is recorded even if there is no peer yet: a server that registers later finds its
/// session by it.
pub fn peer_for_hook(tx: &mut Tx<'_>, report: &HookReport<'_>) -> Result<ShownPeer, Fault> {
    let before = session_of(tx, report.client)?;
    record_hook_report(tx, report)?;
    let process = client_process_peers(tx, report.client)?;
    let key = session_key(report.session);
    let changes = before.as_deref() != Some(report.session);
    let own = process.before_event(tx, before.as_deref(), report.source)?;
    Ok(match (windows::peer_for(tx.db, report.session, Some(report.client))?, own) {
        (Some(known), _) if process.peers.contains(&known) => ShownPeer::Peer(known),
        (Some(known), Some(from)) if changes && from != known && is_free(tx, &known, report)? => {
            ShownPeer::Changes { from, to: known, just_made: before.is_none() }
        }
        (Some(known), _) => of_two_processes(tx, known, report.client, &process)?,
        // A resumed session that has no peer yet is another conversation.
        (None, Some(from)) if report.source == RESUME && changes && before.is_some() => {
            let to = create_peer(tx, PeerKind::Session)?;
            bind_key(tx, &key, &to)?;
            ShownPeer::Changes { from, to, just_made: false }
        }
        // After /clear the client process shows a new session. The peer is the same.
        (None, own) => match own.or(process.last) {
            Some(own) => {
                bind_key(tx, &key, &own)?;
                make_session(tx, &own)?;
                ShownPeer::Peer(own)
            }
            None => ShownPeer::NoPeer,
        },
    })
}

/// Returns what [`peer_for_hook`] would, if the report changes nothing that is written; `None`
/// otherwise.
pub fn known_peer_for_hook(
    tx: &Tx<'_>,
    report: &HookReport<'_>,
) -> Result<Option<ShownPeer>, Fault> {
    if !tx.state.hook_reports.shows(report.client, report.session) {
        return Ok(None);
    }
    let peers = live_under(tx, &report.client.to_string());
    // One of them may belong to this client process.
    if peers.is_empty() && tx.state.live.presence.lock().unverified().next().is_some() {
        return Ok(None);
    }
    match windows::peer_for(tx.db, report.session, Some(report.client))? {
        Some(known) if peers.contains(&known) => Ok(Some(ShownPeer::Peer(known))),
        Some(known) => {
            let process = ClientProcessPeers { peers, last: last_of_process(tx, report.client)? };
            of_two_processes(tx, known, report.client, &process).map(Some)
        }
        None if peers.is_empty() && last_of_process(tx, report.client)?.is_none() => {
            Ok(Some(ShownPeer::NoPeer))
        }
        // The session becomes that of a peer.
        None => Ok(None),
    }
}

/// Returns the peer to which hooks of this session belong, by what is known already.
///
/// Records nothing, and moves no receiver.
pub fn peer_of_session(
    tx: &Tx<'_>,
    session: &str,
    client: Option<&ProcessId>,
) -> Result<Option<PeerId>, Fault> {
    let known = windows::peer_for(tx.db, session, client)?;
    let (Some(known), Some(client)) = (known.clone(), client) else { return Ok(known) };
    let process = client_process_peers(tx, client)?;
    if process.peers.contains(&known) {
        return Ok(Some(known));
    }
    match of_two_processes(tx, known, client, &process)? {
        ShownPeer::Peer(peer) => Ok(Some(peer)),
        ShownPeer::NoPeer | ShownPeer::Changes { .. } => Ok(None),
    }
}

/// Returns whether the hooks of a client process have since reported another session.
///
/// Always false for a session that has no peer.
pub fn has_moved_on(tx: &Tx<'_>, session: &str, client: &ProcessId) -> Result<bool, Fault> {
    let shows = session_of(tx, client)?;
    let known = peer_of_key(tx.db, &session_key(session))?.is_some();
    Ok(known && shows.is_some_and(|shows| shows != session))
}

/// Returns whether the client process of this peer has hooks, and they belong to this peer.
pub fn has_hooks_for(tx: &Tx<'_>, peer: &PeerId) -> Result<bool, Fault> {
    let known: Option<(String, String)> = tx
        .db
        .prepare_cached(
            "SELECT p.client_process, coalesce(k.peer, '')
             FROM peers p JOIN clients c ON c.process = p.client_process
             LEFT JOIN keys k ON k.key = 'session:' || c.session
             WHERE p.id = ?1",
        )?
        .query_row([peer.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(known.is_some_and(|(client, shows)| are_hooks_of(tx, &client, &shows, peer)))
}

/// Returns whether the hooks of the client process of `peer` belong to this peer. By its hooks the
/// client process shows the session of the peer `shows`.
pub fn are_hooks_of(tx: &Tx<'_>, client: &str, shows: &str, peer: &PeerId) -> bool {
    shows == peer.as_str() || live_under(tx, client).into_iter().eq([peer.clone()])
}

/// Returns the client process of a hook that does not know it, by the hook's pid.
///
/// That is the nearest process above the hook which the servers of exactly one live session named
/// as their client, if these servers have no session id either.
#[must_use]
pub fn client_of_hook_pid(tx: &Tx<'_>, hook: u32) -> Option<ProcessId> {
    let above: Vec<ProcessId> = ancestors(hook).into_iter().filter_map(process::of_pid).collect();
    above.into_iter().find(|process| {
        let client = process.to_string();
        let inner = tx.state.live.presence.lock();
        let without_id =
            inner.of_client(&client).any(|(_, stream)| stream.origin.without_session_id);
        drop(inner);
        without_id && live_under(tx, &client).len() == 1
    })
}

/// Returns the live peers whose servers run under a client process.
fn live_under(tx: &Tx<'_>, client: &str) -> BTreeSet<PeerId> {
    let inner = tx.state.live.presence.lock();
    inner.of_client(client).map(|(_, stream)| stream.peer.clone()).collect()
}

/// Holds the peers whose servers run under one client process.
struct ClientProcessPeers {
    /// The live peers.
    peers: BTreeSet<PeerId>,
    /// The last peer of this client process. If none is live, its server may be about to reconnect to a
    /// new broker.
    last: Option<PeerId>,
}

impl ClientProcessPeers {
    /// Returns the peer of the client process before this hook event: that of the session which it
    /// showed `before`, as far as is known.
    fn before_event(
        &self,
        tx: &Tx<'_>,
        before: Option<&str>,
        source: &str,
    ) -> Result<Option<PeerId>, Fault> {
        let before = before.map(|before| peer_of_key(tx.db, &session_key(before))).transpose()?;
        if let Some(before) = before.flatten().filter(|before| self.peers.contains(before)) {
            return Ok(Some(before));
        }
        let last =
            || self.last.clone().filter(|last| source == RESUME && self.peers.contains(last));
        Ok(self.own().or_else(last))
    }

    /// Returns the only peer of the client process.
    ///
    /// `None` for a process that serves several peers at once: nothing of it is moved unless a hook
    /// reports which one.
    fn own(&self) -> Option<PeerId> {
        match self.peers.len() {
            0 => self.last.clone(),
            1 => self.peers.first().cloned(),
            _ => None,
        }
    }
}

/// Returns whether the client process may become this peer.
///
/// It may not while another client process that has the peer still runs. A peer whose server ended
/// under this same client process is still shown by its hooks. It takes the place of another server's
/// peer only if the hook reports a resume.
fn is_free(tx: &Tx<'_>, known: &PeerId, report: &HookReport<'_>) -> Result<bool, Fault> {
    let owner = client_process_of(tx, known)?;
    let here = owner.as_deref() == Some(report.client.to_string().as_str());
    let elsewhere = owner.is_some_and(|owner| windows::runs_beside(&owner, Some(report.client)));
    Ok(!elsewhere && !is_live_or_arriving(tx, known) && (!here || report.source == RESUME))
}

fn client_process_peers(tx: &Tx<'_>, client: &ProcessId) -> Result<ClientProcessPeers, Fault> {
    let text = client.to_string();
    let mut peers = live_under(tx, &text);
    if peers.is_empty() && assign_unverified(tx, client)? {
        peers = live_under(tx, &text);
    }
    Ok(ClientProcessPeers { peers, last: last_of_process(tx, client)? })
}

/// Assigns servers with an unverified client process to this client, and returns whether there were
/// any.
///
/// A server without a session id may have taken a wrapper for its client. If the server descends from
/// this client, and no other Claude Code process is between them, it belongs to this client.
fn assign_unverified(tx: &Tx<'_>, client: &ProcessId) -> Result<bool, Fault> {
    let unverified: Vec<(InstanceId, PeerId, u32)> = {
        let inner = tx.state.live.presence.lock();
        let of = |(instance, stream): (&InstanceId, &Stream)| {
            Some((instance.clone(), stream.peer.clone(), stream.origin.server_pid?))
        };
        inner.unverified().filter_map(of).collect()
    };
    if unverified.is_empty() || !process::is_alive(client) {
        return Ok(false);
    }
    let mut found = false;
    for (instance, peer, server) in unverified {
        let above = ancestors(server);
        let nearest =
            above.iter().find(|pid| **pid == client.pid || client_process::is_claude(**pid));
        if nearest == Some(&client.pid) {
            place(tx, &instance, &peer, client)?;
            found = true;
        }
    }
    Ok(found)
}

/// Records that the server of `instance` runs under this client process.
fn place(
    tx: &Tx<'_>,
    instance: &InstanceId,
    peer: &PeerId,
    client: &ProcessId,
) -> Result<(), Fault> {
    let text = client.to_string();
    tx.db
        .prepare_cached("UPDATE receivers SET client_process = ?2 WHERE instance = ?1")?
        .execute([instance.as_str(), &text])?;
    tx.db
        .prepare_cached("UPDATE peers SET client_process = ?2 WHERE id = ?1")?
        .execute([peer.as_str(), &text])?;
    tx.state.live.presence.lock().set_client(instance, &text);
    Ok(())
}

/// Returns the peer of a client process that shows the session of `known`, a peer that does not run
/// under it.
///
/// A client process that resumes a session which is open in another one keeps a peer of its own, and
/// the mail stays with the first.
fn of_two_processes(
    tx: &Tx<'_>,
    known: PeerId,
    client: &ProcessId,
    process: &ClientProcessPeers,
) -> Result<ShownPeer, Fault> {
    let owner = client_process_of(tx, &known)?;
    let Some(owner) = owner.filter(|owner| *owner != client.to_string()) else {
        return Ok(ShownPeer::Peer(known));
    };
    if let Some(own) = process.own().filter(|own| is_live_or_arriving(tx, own)) {
        return Ok(ShownPeer::Peer(own));
    }
    // The server of this client process has not registered yet.
    let elsewhere = windows::runs_beside(&owner, Some(client));
    Ok(if elsewhere { ShownPeer::NoPeer } else { ShownPeer::Peer(known) })
}

/// Makes a peer that is known by its process a session, which can be resumed.
///
/// A server without a session id registers by its process; the hooks then report its session.
fn make_session(tx: &Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    tx.db
        .prepare_cached("UPDATE peers SET kind = 'session' WHERE id = ?1 AND kind = 'client'")?
        .execute([peer.as_str()])?;
    Ok(())
}
