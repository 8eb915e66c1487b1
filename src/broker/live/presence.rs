//! Who is live: the open event streams, and how much each may be sent.
//!
//! A peer is live exactly as long as one of its streams is open. A stream that ends is gone from
//! here at once, before anything is written to the database.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};

use crate::protocol::peers::Channel;
use crate::protocol::stream::{ByeReason, Event};
use crate::protocol::{InstanceId, PeerId};

/// How many pushes may be on their way to one receiver that it has not yet written to its
/// client. It bounds what a client that reads nothing can cost the broker.
pub const WINDOW: usize = 64;

/// How long a registration without a stream still counts as somebody who is coming.
const ARRIVING: Duration = Duration::from_secs(5);

/// What is known of a stream as it opens.
#[derive(Debug, Clone)]
pub struct Opening {
    pub peer: PeerId,
    pub channel: Channel,
    pub window: Window,
}

/// Which window's server a stream belongs to.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// The client's process in its text form, as the server or the client's hooks named it.
    pub client: Option<String>,
    /// The client is Claude Code, whose hooks may say that it shows another session.
    pub is_claude: bool,
    /// The server was told no session.
    pub is_untold: bool,
    /// It may have taken a wrapper for its client, and nobody has said otherwise yet.
    pub is_guess: bool,
    /// The server's own pid, where the kernel tells.
    pub server: Option<u32>,
}

/// One open stream.
#[derive(Debug)]
pub struct Stream {
    pub peer: PeerId,
    pub channel: Channel,
    pub window: Window,
    /// Told when the stream becomes another peer's.
    pub moved: Arc<Notify>,
    /// Tells this stream from an earlier one of the same instance.
    pub generation: u64,
    /// Pushed and not yet reported as written, by their place in the order of messages.
    pub in_flight: BTreeSet<i64>,
    /// All messages up to this one have been considered for this stream.
    pub cursor: i64,
    /// There may be more beyond the cursor, in the database.
    pub behind: bool,
    events: mpsc::UnboundedSender<Event>,
}

impl Stream {
    /// Puts an event on its way. A stream that is about to end loses it, which is no harm: what
    /// was not reported as written is offered again.
    pub fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

#[derive(Debug, Default)]
pub struct Inner {
    streams: HashMap<InstanceId, Stream>,
    arriving: HashMap<PeerId, Instant>,
    generations: u64,
}

/// The register of open streams, shared by the HTTP side and the database's thread.
#[derive(Debug, Clone)]
pub struct Presence {
    inner: Arc<Mutex<Inner>>,
    live: Arc<watch::Sender<usize>>,
}

impl Default for Presence {
    fn default() -> Self {
        Self { inner: Arc::default(), live: Arc::new(watch::Sender::new(0)) }
    }
}

impl Presence {
    /// Exclusive access. Never held across an await or a database call that can block long.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves the maps whole: every change to them is a single step.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that tells the next stream from all before it.
    #[must_use]
    pub fn next_generation(&self) -> u64 {
        let mut inner = self.lock();
        inner.generations += 1;
        inner.generations
    }

    /// Opens a stream; an older one of the same instance is told to end. One whose other end was
    /// dropped already is not opened: its [`Presence::close`] has been called, or will be.
    pub fn open(
        &self,
        instance: &InstanceId,
        generation: u64,
        opening: Opening,
        events: mpsc::UnboundedSender<Event>,
    ) {
        let mut inner = self.lock();
        inner.arriving.remove(&opening.peer);
        if events.is_closed() {
            return;
        }
        let stream = Stream {
            peer: opening.peer,
            channel: opening.channel,
            window: opening.window,
            moved: Arc::default(),
            generation,
            in_flight: BTreeSet::new(),
            cursor: 0,
            behind: true,
            events,
        };
        if let Some(old) = inner.streams.insert(instance.clone(), stream) {
            old.send(Event::Bye { reason: ByeReason::Replaced });
        }
        self.live.send_replace(inner.streams.len());
    }

    /// Ends a stream, unless a newer one of the same instance took its place. Gives the peer
    /// whose it was in the end.
    pub fn close(&self, instance: &InstanceId, generation: u64) -> Option<PeerId> {
        let mut inner = self.lock();
        inner.streams.get(instance).filter(|stream| stream.generation == generation)?;
        let closed = inner.streams.remove(instance)?;
        self.live.send_replace(inner.streams.len());
        Some(closed.peer)
    }

    /// Ends all streams; their instances will come back.
    pub fn close_all(&self) {
        let mut inner = self.lock();
        for stream in inner.streams.values() {
            stream.send(Event::Bye { reason: ByeReason::Reconnect });
        }
        inner.streams.clear();
        self.live.send_replace(0);
    }

    /// Follows the number of open streams.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.live.subscribe()
    }
}

impl Inner {
    #[must_use]
    pub fn stream(&self, instance: &InstanceId) -> Option<&Stream> {
        self.streams.get(instance)
    }

    pub fn stream_mut(&mut self, instance: &InstanceId) -> Option<&mut Stream> {
        self.streams.get_mut(instance)
    }

    /// Whether messages may wait for room in some stream's window.
    #[must_use]
    pub fn is_any_behind(&self) -> bool {
        // One without a channel has no window: nothing is ever pushed to it.
        self.streams.values().any(|stream| stream.behind && stream.channel != Channel::Absent)
    }

    #[must_use]
    pub fn is_live(&self, peer: &PeerId) -> bool {
        self.streams.values().any(|stream| stream.peer == *peer)
    }

    /// The peers that are live, each once.
    #[must_use]
    pub fn live_ids(&self) -> BTreeSet<&PeerId> {
        self.streams.values().map(|stream| &stream.peer).collect()
    }

    /// Live, or registered a moment ago and about to open its stream.
    #[must_use]
    pub fn is_claimed(&self, peer: &PeerId) -> bool {
        self.is_live(peer) || self.arriving.get(peer).is_some_and(|at| at.elapsed() < ARRIVING)
    }

    /// Notes a registration whose stream is still to come.
    pub fn expect(&mut self, peer: &PeerId) {
        self.arriving.retain(|_, at| at.elapsed() < ARRIVING);
        self.arriving.insert(peer.clone(), Instant::now());
    }

    /// Nobody is coming under this peer any more.
    pub fn stop_expecting(&mut self, peer: &PeerId) -> bool {
        self.arriving.remove(peer).is_some()
    }

    /// The streams of Claude Code's servers in the window of this client.
    pub fn in_window<'a>(
        &'a self,
        client: &'a str,
    ) -> impl Iterator<Item = (&'a InstanceId, &'a Stream)> {
        self.streams.iter().filter(move |(_, stream)| {
            stream.window.is_claude && stream.window.client.as_deref() == Some(client)
        })
    }

    /// The streams whose servers only guessed which window they belong to.
    pub fn guesses(&self) -> impl Iterator<Item = (&InstanceId, &Stream)> {
        self.streams.iter().filter(|(_, stream)| stream.window.is_guess)
    }

    /// Makes a stream another peer's. What was under way to the former is that one's no more; what
    /// waits for the other is looked for anew.
    pub fn give(&mut self, instance: &InstanceId, peer: &PeerId) {
        if let Some(stream) = self.streams.get_mut(instance) {
            stream.peer = peer.clone();
            stream.in_flight.clear();
            stream.cursor = 0;
            stream.behind = true;
            stream.moved.notify_one();
        }
    }

    /// The best belief about pushes to this peer; `None` if it is not live.
    #[must_use]
    pub fn channel(&self, peer: &PeerId) -> Option<Channel> {
        self.receiver(peer)
            .and_then(|i| self.streams.get(i))
            .map(|s| s.channel)
            .or_else(|| self.is_live(peer).then_some(Channel::Absent))
    }

    /// The one instance of a peer that is pushed to: the proven one, else the newest that has a
    /// channel.
    #[must_use]
    pub fn receiver(&self, peer: &PeerId) -> Option<&InstanceId> {
        self.streams
            .iter()
            .filter(|(_, s)| s.peer == *peer && s.channel != Channel::Absent)
            .max_by_key(|(_, s)| (s.channel == Channel::Proven, s.generation))
            .map(|(instance, _)| instance)
    }
}
