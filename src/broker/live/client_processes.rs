//! The client processes whose hooks have spoken, and the peer whose session each of them shows.
//!
//! A session's server can end while the session goes on. Its hooks still show it its messages, so it
//! is live by hooks as long as its client process runs. A process that cannot be seen from here (in
//! another pid namespace) is never live by hooks alone.
//!
//! Hooks can be switched off while a session goes on. A hook follows each result of a tool at once;
//! where none follows, hooks no longer reach this session.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::broker::sources::Clock;
use crate::protocol::{PeerId, ProcessId};
use crate::sys::process;
use crate::sys::process::ProcessStatus;

/// How long a server that still runs may take to reopen its stream.
const RECONNECT_GRACE: Duration = Duration::from_secs(3);

/// How long a server may take to open its first stream, after the client's first hook or this
/// broker's start: a client gives a server 30 s to start, and a server that waits for a broker pauses
/// for up to a minute.
const FIRST_CONNECT_GRACE: Duration = Duration::from_secs(90);

/// How long after a tool's result its hook may come.
const HOOK_AFTER_TOOL_GRACE: Duration = Duration::from_secs(5);

/// The client processes whose hooks have spoken to this broker. Each clone is the same.
#[derive(Debug, Clone, Default)]
pub struct ClientProcesses(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    by_peer: HashMap<PeerId, ClientEntry>,
    /// New clients, whose exit is to be watched.
    new: Vec<ProcessId>,
    clock: Clock,
}

#[derive(Debug)]
struct ClientEntry {
    client: ProcessId,
    since: Instant,
    server: Server,
    /// Whether the person was told that the server is gone.
    told: bool,
    /// When a tool returned a result that no hook has followed yet.
    answered_at: Option<Instant>,
}

/// What is known of the session's MCP server.
#[derive(Debug)]
enum Server {
    /// No stream of it was open since this broker started.
    Unseen,
    /// Its stream is open.
    Here,
    /// Its last stream was closed at this time. Its process, if that is known.
    Left { at: Instant, process: Option<ProcessId> },
}

impl Server {
    fn is_gone(&self, since: Instant, clock: &Clock) -> bool {
        match self {
            Self::Here => false,
            Self::Unseen => clock.elapsed(since) > FIRST_CONNECT_GRACE,
            Self::Left { at, process } => {
                process
                    .as_ref()
                    .is_some_and(|process| process::status(process) == ProcessStatus::Gone)
                    || clock.elapsed(*at) > RECONNECT_GRACE
            }
        }
    }
}

impl ClientProcesses {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Mutex::new(Inner { clock, ..Inner::default() })))
    }

    /// Records that a hook of this client spoke for `peer`. `is_served` says whether the peer has an
    /// open stream.
    pub fn record_hook(&self, peer: &PeerId, client: &ProcessId, is_served: bool) {
        let mut inner = self.lock();
        if let Some(entry) = inner.by_peer.get_mut(peer).filter(|w| w.client == *client) {
            entry.answered_at = None;
            return;
        }
        let known = inner.by_peer.values().any(|entry| entry.client == *client);
        // The client shows another session now.
        inner.by_peer.retain(|_, entry| entry.client != *client);
        if !known && process::is_alive(client) {
            inner.new.push(client.clone());
        }
        let server = if is_served { Server::Here } else { Server::Unseen };
        let (client, since) = (client.clone(), inner.clock.instant());
        let entry = ClientEntry { client, since, server, told: false, answered_at: None };
        inner.by_peer.insert(peer.clone(), entry);
    }

    /// Returns the clients that are new since the last call, so that their exit can be watched.
    #[must_use]
    pub fn new_clients(&self) -> Vec<ProcessId> {
        std::mem::take(&mut self.lock().new)
    }

    /// Removes a client that shows no session any more, and returns the peers that it showed.
    pub fn end(&self, client: &ProcessId) -> Vec<PeerId> {
        let mut inner = self.lock();
        let ended = inner.by_peer.extract_if(|_, entry| entry.client == *client);
        ended.map(|(peer, _)| peer).collect()
    }

    /// Records that a server of this peer has opened a stream.
    pub fn server_connected(&self, peer: &PeerId) {
        if let Some(entry) = self.lock().by_peer.get_mut(peer) {
            (entry.server, entry.told) = (Server::Here, false);
        }
    }

    /// Records that the last stream of this peer was closed.
    pub fn server_disconnected(&self, peer: &PeerId, process: Option<ProcessId>) {
        let mut inner = self.lock();
        let at = inner.clock.instant();
        let Some(entry) = inner.by_peer.get_mut(peer) else { return };
        entry.server = Server::Left { at, process };
        // Its exit could not be noticed.
        if !process::is_alive(&entry.client) {
            inner.by_peer.remove(peer);
        }
    }

    /// Whether the person is to be told that the session's server is gone. True once for each server.
    pub fn take_server_gone_notice(&self, peer: &PeerId) -> bool {
        let Inner { by_peer, clock, .. } = &mut *self.lock();
        by_peer.get_mut(peer).is_some_and(|entry| {
            let tell = !entry.told && entry.server.is_gone(entry.since, clock);
            entry.told |= tell;
            tell
        })
    }

    /// Records that a tool of this peer returned a result, which a hook is to follow.
    pub fn tool_answered(&self, peer: &PeerId) {
        let Inner { by_peer, clock, .. } = &mut *self.lock();
        if let Some(entry) = by_peer.get_mut(peer) {
            entry.answered_at.get_or_insert_with(|| clock.instant());
        }
    }

    /// Whether hooks of this peer have spoken to this broker but no longer run.
    #[must_use]
    pub fn hooks_are_off(&self, peer: &PeerId) -> bool {
        let inner = self.lock();
        inner.by_peer.get(peer).is_some_and(|entry| entry.hooks_are_off(&inner.clock))
    }

    /// Whether a client process that is known to run shows this peer, and its hooks run.
    #[must_use]
    pub fn has_open_client(&self, peer: &PeerId) -> bool {
        let inner = self.lock();
        inner.by_peer.get(peer).is_some_and(|entry| entry.is_open(&inner.clock))
    }

    /// Returns the peers that are live by their hooks, without those in `live`.
    #[must_use]
    pub fn live_by_hooks(&self, live: &BTreeSet<&PeerId>) -> Vec<PeerId> {
        let inner = self.lock();
        let others = inner.by_peer.iter().filter(|(peer, _)| !live.contains(peer));
        let open = others.filter(|(_, entry)| entry.is_open(&inner.clock));
        open.map(|(peer, _)| peer.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientEntry {
    fn hooks_are_off(&self, clock: &Clock) -> bool {
        self.answered_at.is_some_and(|at| clock.elapsed(at) > HOOK_AFTER_TOOL_GRACE)
    }

    fn is_open(&self, clock: &Clock) -> bool {
        !self.hooks_are_off(clock) && process::is_alive(&self.client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> PeerId {
        PeerId::from_text(name)
    }

    #[test]
    fn a_process_that_cannot_be_seen_is_not_live_by_its_hooks() {
        let clients = ClientProcesses::default();
        let (one, mine) = (peer("a1"), process::own());
        let foreign = ProcessId { namespace: "4026539999".to_owned(), ..mine.clone() };
        let ended = ProcessId { start: "0".to_owned(), ..mine.clone() };
        for client in [foreign, ended] {
            clients.record_hook(&one, &client, true);
            assert!(!clients.has_open_client(&one) && clients.new_clients().is_empty(), "{client}");
            clients.server_disconnected(&one, None);
            assert!(clients.end(&client).is_empty(), "nothing is left of it");
        }
        clients.record_hook(&one, &mine, true);
        assert!(clients.has_open_client(&one));
        assert_eq!(clients.new_clients(), std::slice::from_ref(&mine));
        clients.record_hook(&one, &mine, true);
        assert!(clients.new_clients().is_empty(), "its exit is watched once");
        clients.server_disconnected(&one, None);
        assert!(clients.has_open_client(&one), "its client runs");
        assert_eq!(clients.live_by_hooks(&BTreeSet::new()), std::slice::from_ref(&one));
        assert!(clients.live_by_hooks(&BTreeSet::from([&one])).is_empty());
        assert_eq!(clients.end(&mine), std::slice::from_ref(&one));
        assert!(!clients.has_open_client(&one));
    }

    #[test]
    fn a_client_shows_one_session_at_a_time() {
        let clients = ClientProcesses::default();
        let (one, two, client) = (peer("a1"), peer("b2"), process::own());
        clients.record_hook(&one, &client, true);
        clients.record_hook(&two, &client, false);
        assert!(!clients.has_open_client(&one) && clients.has_open_client(&two));
    }

    #[test]
    fn a_person_is_told_once_of_each_server_that_is_gone_and_not_of_one_that_reconnects() {
        let clients = ClientProcesses::default();
        let (one, mine) = (peer("a1"), process::own());
        clients.record_hook(&one, &mine, true);
        assert!(!clients.take_server_gone_notice(&one), "its stream is open");
        // It runs, and only its stream was closed.
        clients.server_disconnected(&one, Some(mine.clone()));
        assert!(!clients.take_server_gone_notice(&one));
        let dead = ProcessId { start: "0".to_owned(), ..mine };
        clients.server_disconnected(&one, Some(dead.clone()));
        assert!(clients.take_server_gone_notice(&one) && !clients.take_server_gone_notice(&one));
        clients.server_connected(&one);
        assert!(!clients.take_server_gone_notice(&one));
        clients.server_disconnected(&one, Some(dead));
        assert!(clients.take_server_gone_notice(&one));
    }
}
