//! Which peer a hook speaks for: it knows the session that its client shows now.
//!
//! A window (a client's process) shows one session at a time. Its server is told the first one and
//! no other, so what its hooks say decides whose receiver the server is: a window that resumes a
//! session which is open nowhere else *is* that session's peer from then on.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension as _, params};

use crate::broker::core::Tx;
use crate::broker::live::presence::Stream;
use crate::broker::registry::keys::{
    bind_key, create_peer, is_live_or_arriving, last_of_process, peer_of_key, session_key,
    session_of, still_runs,
};
use crate::broker::store::Fault;
use crate::claude_code::client_process;
use crate::protocol::peers::PeerKind;
use crate::protocol::{InstanceId, PeerId, ProcessId, Timestamp};
use crate::sys::process;
use crate::sys::process::ancestors;

/// The client's word for the beginning of a session that goes on.
const RESUME: &str = "resume";

/// What a hook says of its window.
pub struct Said<'a> {
    /// The session that the client shows.
    pub session: &'a str,
    pub client: &'a ProcessId,
    /// What began the session, in the client's word; empty if this is not its beginning.
    pub source: &'a str,
    pub at: Timestamp,
}

/// The peer of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// It has none of ours.
    Nobody,
    Peer(PeerId),
    /// It was `from` until now, and is `to` from now on.
    Moves {
        from: PeerId,
        to: PeerId,
        /// `from` was made for this very window before its hooks had said a word.
        just_made: bool,
    },
}

/// The peer of the session that a window shows. What the hook says is remembered, also where there
/// is no peer yet: a server that registers later finds its session by it.
///
/// # Errors
///
/// If the database fails.
pub fn shown(tx: &Tx<'_>, said: &Said<'_>) -> Result<Shown, Fault> {
    let before = session_of(tx, said.client)?;
    remember(tx, said)?;
    let window = window(tx, said.client)?;
    let key = session_key(said.session);
    let changes = before.as_deref() != Some(said.session);
    let own = window.shown(tx, before.as_deref(), said.source)?;
    Ok(match (peer_of_key(tx.db, &key)?, own) {
        (Some(known), _) if window.peers.contains(&known) => Shown::Peer(known),
        (Some(known), Some(from)) if changes && from != known && is_free(tx, &known, said)? => {
            Shown::Moves { from, to: known, just_made: before.is_none() }
        }
        (Some(known), _) => of_two_windows(tx, known, said.client, &window)?,
        // Another conversation, of which nobody has heard.
        (None, Some(from)) if said.source == RESUME && changes && before.is_some() => {
            let to = create_peer(tx, PeerKind::Session)?;
            bind_key(tx, &key, &to)?;
            Shown::Moves { from, to, just_made: false }
        }
        // After /clear the window shows a new session. The peer is the same.
        (None, own) => match own.or(window.last) {
            Some(own) => {
                bind_key(tx, &key, &own)?;
                make_session(tx, &own)?;
                Shown::Peer(own)
            }
            None => Shown::Nobody,
        },
    })
}

/// The peer that hooks of this session speak for, by what is known already: nothing is remembered,
/// and nothing moves.
///
/// # Errors
///
/// If the database fails.
pub fn peer_of_session(
    tx: &Tx<'_>,
    session: &str,
    client: Option<&ProcessId>,
) -> Result<Option<PeerId>, Fault> {
    let known = peer_of_key(tx.db, &session_key(session))?;
    let (Some(known), Some(client)) = (known.clone(), client) else { return Ok(known) };
    let window = window(tx, client)?;
    if window.peers.contains(&known) {
        return Ok(Some(known));
    }
    match of_two_windows(tx, known, client, &window)? {
        Shown::Peer(peer) => Ok(Some(peer)),
        Shown::Nobody | Shown::Moves { .. } => Ok(None),
    }
}

/// Whether a window's hooks have said since that it shows another session than this one.
///
/// # Errors
///
/// If the database fails.
pub fn is_past(tx: &Tx<'_>, session: &str, client: &ProcessId) -> Result<bool, Fault> {
    let shows = session_of(tx, client)?;
    let known = peer_of_key(tx.db, &session_key(session))?.is_some();
    Ok(known && shows.is_some_and(|shows| shows != session))
}

/// Whether hooks have spoken in the window that holds this peer, and speak for it.
///
/// # Errors
///
/// If the database fails.
pub fn speak_for(tx: &Tx<'_>, peer: &PeerId) -> Result<bool, Fault> {
    let said: Option<(String, Option<String>)> = tx
        .db
        .prepare_cached(
            "SELECT p.client_process, k.peer
             FROM peers p JOIN clients c ON c.process = p.client_process
             LEFT JOIN keys k ON k.key = 'session:' || c.session
             WHERE p.id = ?1",
        )?
        .query_row([peer.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((client, shown)) = said else { return Ok(false) };
    if shown.as_deref() == Some(peer.as_str()) {
        return Ok(true);
    }
    Ok(live_in_window(tx, &client).into_iter().eq([peer.clone()]))
}

/// The client of a hook that does not know it: the nearest process above the hook that the servers
/// of one live session, which were told as little, named as theirs. `hook` is the hook's pid.
#[must_use]
pub fn client_above(tx: &Tx<'_>, hook: u32) -> Option<ProcessId> {
    let above: Vec<ProcessId> = ancestors(hook).into_iter().filter_map(process::of_pid).collect();
    above.into_iter().find(|process| {
        let client = process.to_string();
        let inner = tx.state.live.presence.lock();
        let untold = inner.of_client(&client).any(|(_, stream)| stream.origin.without_session_id);
        drop(inner);
        untold && live_in_window(tx, &client).len() == 1
    })
}

/// The live peers whose servers run in a client's window.
fn live_in_window(tx: &Tx<'_>, client: &str) -> BTreeSet<PeerId> {
    let inner = tx.state.live.presence.lock();
    inner.of_client(client).map(|(_, stream)| stream.peer.clone()).collect()
}

/// The peers whose servers run in a window.
struct Window {
    /// Those that are live.
    peers: BTreeSet<PeerId>,
    /// Whose it was last. Where none is live, its server may be on its way back to a new broker.
    last: Option<PeerId>,
}

impl Window {
    /// The peer that the window was until a hook spoke: that of the session which it showed
    /// `before`, as far as is known.
    fn shown(
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

    /// The peer that the window is. A process that serves several at once is no window as we know
    /// them, and nothing of it is moved without a word that says so.
    fn own(&self) -> Option<PeerId> {
        match self.peers.len() {
            0 => self.last.clone(),
            1 => self.peers.first().cloned(),
            _ => None,
        }
    }
}

/// Whether a window may become this peer. One whose server died in this very window is shown by
/// its hooks all the same, and takes no other server's place but where it is resumed in so many
/// words.
fn is_free(tx: &Tx<'_>, known: &PeerId, said: &Said<'_>) -> Result<bool, Fault> {
    let here: bool = tx
        .db
        .prepare_cached("SELECT client_process IS ?2 FROM peers WHERE id = ?1")?
        .query_row([known.as_str(), &said.client.to_string()], |row| row.get(0))?;
    Ok(!is_live_or_arriving(tx, known) && (!here || said.source == RESUME))
}

fn window(tx: &Tx<'_>, client: &ProcessId) -> Result<Window, Fault> {
    let text = client.to_string();
    let mut peers = live_in_window(tx, &text);
    if peers.is_empty() && find_guesses(tx, client)? {
        peers = live_in_window(tx, &text);
    }
    Ok(Window { peers, last: last_of_process(tx, client)? })
}

/// A server that was told nothing may have taken a wrapper for its client. If it descends from
/// this client, and no other Claude Code is between them, it is this window's.
fn find_guesses(tx: &Tx<'_>, client: &ProcessId) -> Result<bool, Fault> {
    let guesses: Vec<(InstanceId, PeerId, u32)> = {
        let inner = tx.state.live.presence.lock();
        let of = |(instance, stream): (&InstanceId, &Stream)| {
            Some((instance.clone(), stream.peer.clone(), stream.origin.server_pid?))
        };
        inner.unverified().filter_map(of).collect()
    };
    if guesses.is_empty() || !process::is_alive(client) {
        return Ok(false);
    }
    let mut found = false;
    for (instance, peer, server) in guesses {
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

/// The server of `instance` is in this client's window.
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
    if let Some(stream) = tx.state.live.presence.lock().stream_mut(instance) {
        stream.origin.client = Some(text);
        stream.origin.is_unverified = false;
    }
    Ok(())
}

/// The peer of a window that shows the session of `known`, which has not become its own. Who
/// resumes a session that is open in another window is a peer of its own, and the mail stays with
/// the first.
fn of_two_windows(
    tx: &Tx<'_>,
    known: PeerId,
    client: &ProcessId,
    window: &Window,
) -> Result<Shown, Fault> {
    let holder: Option<String> = tx
        .db
        .prepare_cached("SELECT client_process FROM peers WHERE id = ?1")?
        .query_row([known.as_str()], |row| row.get(0))?;
    let Some(holder) = holder.filter(|holder| *holder != client.to_string()) else {
        return Ok(Shown::Peer(known));
    };
    if let Some(own) = window.own().filter(|own| is_live_or_arriving(tx, own)) {
        return Ok(Shown::Peer(own));
    }
    // This window's own server is still to come. A server behind a wrapper may have named that one
    // as its client, and then it is this window's: so the holder must be Claude Code for certain.
    let elsewhere = is_claude(&holder) && still_runs(&holder) && is_live_or_arriving(tx, &known);
    Ok(if elsewhere { Shown::Nobody } else { Shown::Peer(known) })
}

/// Whether a process in its text form runs here, and goes by Claude Code's name.
fn is_claude(process: &str) -> bool {
    process.parse().is_ok_and(|process| process::runs_as(&process, "claude"))
}

/// A server that was told no session is known by its process; now that its session has a name it
/// can be resumed like any other.
fn make_session(tx: &Tx<'_>, peer: &PeerId) -> Result<(), Fault> {
    tx.db
        .prepare_cached("UPDATE peers SET kind = 'session' WHERE id = ?1 AND kind = 'client'")?
        .execute([peer.as_str()])?;
    Ok(())
}

/// Whether a client process has a newer hook event than the one at `said_at`, or that one is known
/// already.
///
/// # Errors
///
/// If the database fails.
pub fn has_spoken_since(
    tx: &Tx<'_>,
    client: &ProcessId,
    session: &str,
    said_at: Timestamp,
) -> Result<bool, Fault> {
    let event = params![client.to_string(), said_at.millis(), session];
    Ok(tx
        .db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM clients WHERE process = ?1
                 AND (said_at > ?2 OR (said_at = ?2 AND session = ?3)))",
        )?
        .query_row(event, |row| row.get(0))?)
}

fn remember(tx: &Tx<'_>, said: &Said<'_>) -> Result<(), Fault> {
    tx.db
        .prepare_cached(
            "INSERT INTO clients (process, session, said_at) VALUES (?1, ?2, ?3)
             ON CONFLICT (process) DO UPDATE SET session = excluded.session, said_at = excluded.said_at",
        )?
        .execute(params![said.client.to_string(), said.session, said.at.millis()])?;
    Ok(())
}

/// Clients that have ended say nothing more.
///
/// # Errors
///
/// If the database fails.
pub fn forget_ended_clients(tx: &Tx<'_>) -> Result<(), Fault> {
    let processes: Vec<String> = tx
        .db
        .prepare_cached("SELECT process FROM clients")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for process in processes.iter().filter(|process| !still_runs(process)) {
        tx.db.prepare_cached("DELETE FROM clients WHERE process = ?1")?.execute([process])?;
    }
    Ok(())
}
