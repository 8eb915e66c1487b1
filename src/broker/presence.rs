//! Who is live: the open event streams, and how much each may be sent.
//!
//! A peer is live exactly as long as one of its streams is open. A stream that ends is gone from
//! here at once, before anything is written to the database.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};

use crate::protocol::peers::Channel;
use crate::protocol::stream::{ByeReason, Event};
use crate::protocol::{InstanceId, PeerId};

/// How many pushes may be on their way to one receiver that it has not yet written to its
/// client. It bounds what a client that reads nothing can cost the broker.
pub const WINDOW: usize = 64;

/// How long a registration without a stream still counts as somebody who is coming.
const ARRIVING: Duration = Duration::from_secs(5);

/// One open stream.
#[derive(Debug)]
pub struct Stream {
    pub peer: PeerId,
    pub channel: Channel,
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
        peer: &PeerId,
        channel: Channel,
        events: mpsc::UnboundedSender<Event>,
    ) {
        let mut inner = self.lock();
        inner.arriving.remove(peer);
        if events.is_closed() {
            return;
        }
        let stream = Stream {
            peer: peer.clone(),
            channel,
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

    /// Ends a stream, unless a newer one of the same instance took its place.
    pub fn close(&self, instance: &InstanceId, generation: u64) -> bool {
        let mut inner = self.lock();
        let ours = inner.streams.get(instance).is_some_and(|s| s.generation == generation);
        if ours {
            inner.streams.remove(instance);
            self.live.send_replace(inner.streams.len());
        }
        ours
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
