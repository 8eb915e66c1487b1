//! The windows in which our hooks speak: a client process each, and the peer that it shows.
//!
//! A session's server can end while the session goes on. Its hooks then still show it its mail, so
//! it is live by them: as long as its client process runs, and no longer. What cannot be seen from
//! here (a process of another pid namespace) is never live by hooks alone.
//!
//! And hooks can be switched off while a session goes on. A tool's answer is followed by a hook at
//! once; where none follows, hooks are no way to this session any more.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::protocol::PeerId;
use crate::sys::process::{Process, Standing};

/// How long a server may take to come back to its stream, if it still runs.
const COMES_BACK: Duration = Duration::from_secs(3);

/// How long a server may take to come at all, behind the client's first hook or this broker's
/// start: a client gives a server 30 s, and a server that waits for a broker pauses for a minute.
const COMES: Duration = Duration::from_secs(90);

/// How long a hook may take behind a tool's answer.
const FOLLOWS: Duration = Duration::from_secs(5);

/// All windows whose hooks spoke to this broker. Each clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Windows(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    by_peer: HashMap<PeerId, Window>,
    /// Clients that are new, and whose end is to be watched for.
    new: Vec<Process>,
}

#[derive(Debug)]
struct Window {
    client: Process,
    since: Instant,
    server: Server,
    /// The person was told that the server is gone.
    told: bool,
    /// When a tool answered that no hook has followed yet.
    answered_at: Option<Instant>,
}

/// What is known of the window's MCP server.
#[derive(Debug)]
enum Server {
    /// It has not come, as far as this broker knows.
    Unseen,
    /// Its stream is open.
    Here,
    /// Its stream ended then. Its process, if that is known.
    Left { at: Instant, process: Option<Process> },
}

impl Server {
    fn is_gone(&self, since: Instant) -> bool {
        match self {
            Self::Here => false,
            Self::Unseen => since.elapsed() > COMES,
            Self::Left { at, process } => {
                process.as_ref().is_some_and(|process| process.standing() == Standing::Gone)
                    || at.elapsed() > COMES_BACK
            }
        }
    }
}

impl Windows {
    /// A hook of this client spoke for `peer`, which may have a server here.
    pub fn note(&self, peer: &PeerId, client: &Process, is_served: bool) {
        let mut inner = self.lock();
        if let Some(window) = inner.by_peer.get_mut(peer).filter(|w| w.client == *client) {
            window.answered_at = None;
            return;
        }
        let known = inner.by_peer.values().any(|window| window.client == *client);
        // It shows another session now.
        inner.by_peer.retain(|_, window| window.client != *client);
        if !known && client.is_alive() {
            inner.new.push(client.clone());
        }
        let server = if is_served { Server::Here } else { Server::Unseen };
        let (client, since) = (client.clone(), Instant::now());
        let window = Window { client, since, server, told: false, answered_at: None };
        inner.by_peer.insert(peer.clone(), window);
    }

    /// The clients that are new since the last call: for whoever watches for their end.
    #[must_use]
    pub fn new_clients(&self) -> Vec<Process> {
        std::mem::take(&mut self.lock().new)
    }

    /// The client shows no session any more. Gives the peers that it showed.
    pub fn end(&self, client: &Process) -> Vec<PeerId> {
        let mut inner = self.lock();
        let ended = inner.by_peer.extract_if(|_, window| window.client == *client);
        ended.map(|(peer, _)| peer).collect()
    }

    /// A server of this peer is here.
    pub fn served(&self, peer: &PeerId) {
        if let Some(window) = self.lock().by_peer.get_mut(peer) {
            (window.server, window.told) = (Server::Here, false);
        }
    }

    /// The last of its servers has left.
    pub fn left(&self, peer: &PeerId, process: Option<Process>) {
        let mut inner = self.lock();
        let Some(window) = inner.by_peer.get_mut(peer) else { return };
        window.server = Server::Left { at: Instant::now(), process };
        // Nobody would say when it ends.
        if !window.client.is_alive() {
            inner.by_peer.remove(peer);
        }
    }

    /// Whether the window's person is to be told that its server is gone: once.
    pub fn must_tell(&self, peer: &PeerId) -> bool {
        self.lock().by_peer.get_mut(peer).is_some_and(|window| {
            let tell = !window.told && window.server.is_gone(window.since);
            window.told |= tell;
            tell
        })
    }

    /// A tool of this peer answered, and a hook is to follow.
    pub fn answered(&self, peer: &PeerId) {
        if let Some(window) = self.lock().by_peer.get_mut(peer) {
            window.answered_at.get_or_insert_with(Instant::now);
        }
    }

    /// Whether its hooks have spoken to this broker, and do so no more.
    #[must_use]
    pub fn is_silent(&self, peer: &PeerId) -> bool {
        self.lock().by_peer.get(peer).is_some_and(Window::is_silent)
    }

    /// Whether this peer is shown in a window that is known to be open, and its hooks speak there.
    #[must_use]
    pub fn shows(&self, peer: &PeerId) -> bool {
        self.lock().by_peer.get(peer).is_some_and(Window::is_open)
    }

    /// The peers that are, besides these. Few: the servers of all others are here.
    #[must_use]
    pub fn shown_besides(&self, live: &BTreeSet<&PeerId>) -> Vec<PeerId> {
        let inner = self.lock();
        let others = inner.by_peer.iter().filter(|(peer, _)| !live.contains(peer));
        others.filter(|(_, window)| window.is_open()).map(|(peer, _)| peer.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn is_silent(&self) -> bool {
        self.answered_at.is_some_and(|at| at.elapsed() > FOLLOWS)
    }

    fn is_open(&self) -> bool {
        !self.is_silent() && self.client.is_alive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str) -> PeerId {
        PeerId::from_text(name)
    }

    #[test]
    fn what_cannot_be_known_to_run_is_not_live_by_its_hooks() {
        let windows = Windows::default();
        let (one, mine) = (peer("a1"), Process::own());
        let foreign = Process { namespace: "4026539999".to_owned(), ..mine.clone() };
        let ended = Process { start: "0".to_owned(), ..mine.clone() };
        for client in [foreign, ended] {
            windows.note(&one, &client, true);
            assert!(!windows.shows(&one) && windows.new_clients().is_empty(), "{client}");
            windows.left(&one, None);
            assert!(windows.end(&client).is_empty(), "nothing is left of it");
        }
        windows.note(&one, &mine, true);
        assert!(windows.shows(&one));
        assert_eq!(windows.new_clients(), std::slice::from_ref(&mine));
        windows.note(&one, &mine, true);
        assert!(windows.new_clients().is_empty(), "its end is watched for once");
        windows.left(&one, None);
        assert!(windows.shows(&one), "its client runs");
        assert_eq!(windows.shown_besides(&BTreeSet::new()), std::slice::from_ref(&one));
        assert!(windows.shown_besides(&BTreeSet::from([&one])).is_empty());
        assert_eq!(windows.end(&mine), std::slice::from_ref(&one));
        assert!(!windows.shows(&one));
    }

    #[test]
    fn a_window_shows_one_session_at_a_time() {
        let windows = Windows::default();
        let (one, two, client) = (peer("a1"), peer("b2"), Process::own());
        windows.note(&one, &client, true);
        windows.note(&two, &client, false);
        assert!(!windows.shows(&one) && windows.shows(&two));
    }

    #[test]
    fn a_person_is_told_once_of_each_server_that_is_gone_and_not_of_one_that_comes_back() {
        let windows = Windows::default();
        let (one, mine) = (peer("a1"), Process::own());
        windows.note(&one, &mine, true);
        assert!(!windows.must_tell(&one), "it is here");
        // It runs, and only its stream ended.
        windows.left(&one, Some(mine.clone()));
        assert!(!windows.must_tell(&one));
        let dead = Process { start: "0".to_owned(), ..mine };
        windows.left(&one, Some(dead.clone()));
        assert!(windows.must_tell(&one) && !windows.must_tell(&one));
        windows.served(&one);
        assert!(!windows.must_tell(&one));
        windows.left(&one, Some(dead));
        assert!(windows.must_tell(&one));
    }
}
