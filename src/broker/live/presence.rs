//! Presence: the open event streams, and how much each may be sent.
//!
//! A peer is live exactly as long as one of its streams is open. A stream that ends is removed at
//! once, before anything is written to the database.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch};

use crate::broker::live::push_state::PushState;
use crate::broker::sources::Clock;
use crate::protocol::peers::Channel;
use crate::protocol::stream::{ByeReason, Event};
use crate::protocol::{InstanceId, PeerId};

/// How long after its registration a server without a stream counts as about to open one.
const ARRIVAL_GRACE: Duration = Duration::from_secs(5);

/// What a stream is opened with.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    pub peer: PeerId,
    pub channel: Channel,
    pub origin: ServerOrigin,
}

/// Which client process a stream's server belongs to.
#[derive(Debug, Clone, Default)]
pub struct ServerOrigin {
    /// The client's process in its text form, as the server or the client's hooks named it.
    pub client: Option<String>,
    /// Whether the client is Claude Code, whose hooks may report that it shows another session.
    pub is_claude: bool,
    /// Whether the server was given no session id.
    pub without_session_id: bool,
    /// Whether `client` may be a wrapper that the server took for its client.
    pub is_unverified: bool,
    /// The server's own pid, where the kernel reports it.
    pub server_pid: Option<u32>,
}

/// One open stream.
#[derive(Debug)]
pub struct Stream {
    pub peer: PeerId,
    pub origin: ServerOrigin,
    pub push: PushState,
    /// Notified when the stream is attached to another peer.
    pub reattached: Arc<Notify>,
    /// Distinguishes this stream from an earlier one of the same instance.
    pub generation: u64,
    events: mpsc::UnboundedSender<Event>,
}

impl Stream {
    /// Sends an event. If the stream is about to end the event is lost, which does no harm: a push
    /// without a receipt is offered again.
    pub fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

/// The open streams and the servers that are about to open one.
#[derive(Debug, Default)]
pub struct Streams {
    open: HashMap<InstanceId, Stream>,
    /// The instances of `open` by the peers to which their streams are attached.
    by_peer: HashMap<PeerId, Vec<InstanceId>>,
    /// The instances of `open` by the client processes to which their servers belong.
    by_client: HashMap<String, Vec<InstanceId>>,
    /// Those whose client process is unverified.
    unverified: HashSet<InstanceId>,
    arriving: HashMap<PeerId, Instant>,
    generations: u64,
    /// How many streams of client processes were looked at.
    #[cfg(test)]
    looked_at: std::cell::Cell<u64>,
    clock: Clock,
}

/// The register of open streams. Each clone is the same.
#[derive(Debug, Clone)]
pub struct Presence {
    inner: Arc<Mutex<Streams>>,
    live: Arc<watch::Sender<usize>>,
}

impl Default for Presence {
    fn default() -> Self {
        Self::new(Clock::default())
    }
}

impl Presence {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let inner = Streams { clock, ..Streams::default() };
        Self { inner: Arc::new(Mutex::new(inner)), live: Arc::new(watch::Sender::new(0)) }
    }

    /// Locks the register. Never hold the lock across an await or a slow database call.
    pub fn lock(&self) -> MutexGuard<'_, Streams> {
        // A panic elsewhere leaves the maps consistent: every change to them is a single step.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a number that distinguishes the next stream from all before it.
    #[must_use]
    pub fn next_generation(&self) -> u64 {
        let mut inner = self.lock();
        inner.generations += 1;
        inner.generations
    }

    /// Opens a stream. An older one of the same instance is told to end.
    ///
    /// A stream whose other end was dropped already is not opened: its [`Presence::close`] has been
    /// called, or will be.
    pub fn open(
        &self,
        instance: &InstanceId,
        generation: u64,
        options: StreamOptions,
        events: mpsc::UnboundedSender<Event>,
    ) {
        let mut inner = self.lock();
        inner.arriving.remove(&options.peer);
        if events.is_closed() {
            return;
        }
        let stream = Stream {
            peer: options.peer,
            push: PushState::new(options.channel),
            origin: options.origin,
            reattached: Arc::default(),
            generation,
            events,
        };
        if let Some(old) = inner.insert(instance, stream) {
            old.send(Event::Bye { reason: ByeReason::Replaced });
        }
        self.live.send_replace(inner.open.len());
    }

    /// Closes a stream, unless a newer one of the same instance took its place, and returns the peer
    /// to which it was attached.
    pub fn close(&self, instance: &InstanceId, generation: u64) -> Option<PeerId> {
        let mut inner = self.lock();
        inner.open.get(instance).filter(|stream| stream.generation == generation)?;
        let closed = inner.remove(instance)?;
        self.live.send_replace(inner.open.len());
        Some(closed.peer)
    }

    /// Closes all streams. Their instances will reconnect.
    pub fn close_all(&self) {
        let mut inner = self.lock();
        for stream in inner.open.values() {
            stream.send(Event::Bye { reason: ByeReason::Reconnect });
        }
        inner.open.clear();
        inner.by_peer.clear();
        inner.by_client.clear();
        inner.unverified.clear();
        self.live.send_replace(0);
    }

    /// Watches the number of open streams.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<usize> {
        self.live.subscribe()
    }
}

impl Streams {
    fn insert(&mut self, instance: &InstanceId, stream: Stream) -> Option<Stream> {
        let old = self.remove(instance);
        self.by_peer.entry(stream.peer.clone()).or_default().push(instance.clone());
        if let Some(client) = &stream.origin.client {
            self.by_client.entry(client.clone()).or_default().push(instance.clone());
        }
        if stream.origin.is_unverified {
            self.unverified.insert(instance.clone());
        }
        self.open.insert(instance.clone(), stream);
        old
    }

    fn remove(&mut self, instance: &InstanceId) -> Option<Stream> {
        let stream = self.open.remove(instance)?;
        forget(&mut self.by_peer, &stream.peer, instance);
        if let Some(client) = &stream.origin.client {
            forget(&mut self.by_client, client, instance);
        }
        self.unverified.remove(instance);
        Some(stream)
    }

    #[must_use]
    pub fn stream(&self, instance: &InstanceId) -> Option<&Stream> {
        self.open.get(instance)
    }

    pub fn stream_mut(&mut self, instance: &InstanceId) -> Option<&mut Stream> {
        self.open.get_mut(instance)
    }

    /// Whether messages may wait for room in a stream's push window.
    #[must_use]
    pub fn is_any_waiting_for_window(&self) -> bool {
        // Nothing is ever pushed to a stream without a channel.
        self.open
            .values()
            .any(|stream| stream.push.has_more && stream.push.channel != Channel::Absent)
    }

    /// Whether the peer has an open stream.
    #[must_use]
    pub fn is_live(&self, peer: &PeerId) -> bool {
        self.by_peer.contains_key(peer)
    }

    /// Returns the live peers, each once.
    #[must_use]
    pub fn live_ids(&self) -> BTreeSet<&PeerId> {
        self.by_peer.keys().collect()
    }

    /// Whether the peer is live, or registered a moment ago and is about to open its stream.
    #[must_use]
    pub fn is_live_or_arriving(&self, peer: &PeerId) -> bool {
        let is_arriving = |at: &Instant| self.clock.elapsed(*at) < ARRIVAL_GRACE;
        self.is_live(peer) || self.arriving.get(peer).is_some_and(is_arriving)
    }

    /// Records a registration whose stream is not open yet. Returns when there was one before.
    pub fn note_arriving(&mut self, peer: &PeerId) -> Option<Instant> {
        let clock = &self.clock;
        self.arriving.retain(|_, at| clock.elapsed(*at) < ARRIVAL_GRACE);
        self.arriving.insert(peer.clone(), clock.instant())
    }

    /// Undoes [`Streams::note_arriving`], of which this is the result.
    pub fn restore_arriving(&mut self, peer: &PeerId, before: Option<Instant>) {
        match before {
            Some(at) => self.arriving.insert(peer.clone(), at),
            None => self.arriving.remove(peer),
        };
    }

    /// Forgets such a registration. Returns whether there was one.
    pub fn forget_arriving(&mut self, peer: &PeerId) -> bool {
        self.arriving.remove(peer).is_some()
    }

    /// Returns the streams of Claude Code's servers that belong to this client process.
    pub fn of_client<'a>(
        &'a self,
        client: &'a str,
    ) -> impl Iterator<Item = (&'a InstanceId, &'a Stream)> {
        let instances = self.by_client.get(client).into_iter().flatten();
        let streams = instances.filter_map(|instance| self.open.get_key_value(instance));
        #[cfg(test)]
        let streams = streams.inspect(|_| self.looked_at.set(self.looked_at.get() + 1));
        streams.filter(|(_, stream)| stream.origin.is_claude)
    }

    /// Returns how many streams [`Streams::of_client`] has looked at.
    #[cfg(test)]
    #[must_use]
    pub fn looked_at(&self) -> u64 {
        self.looked_at.get()
    }

    /// Returns the streams whose client process is unverified.
    pub fn unverified(&self) -> impl Iterator<Item = (&InstanceId, &Stream)> {
        self.unverified.iter().filter_map(|instance| self.open.get_key_value(instance))
    }

    /// Records that the server of a stream belongs to this client process, which is certain.
    pub fn set_client(&mut self, instance: &InstanceId, client: &str) {
        if let Some(mut stream) = self.remove(instance) {
            stream.origin.client = Some(client.to_owned());
            stream.origin.is_unverified = false;
            self.insert(instance, stream);
        }
    }

    /// Attaches a stream to another peer.
    pub fn set_peer(&mut self, instance: &InstanceId, peer: &PeerId) {
        if let Some(mut stream) = self.remove(instance) {
            stream.peer = peer.clone();
            self.insert(instance, stream);
        }
    }

    /// Returns the streams that are attached to a peer.
    pub fn of_peer<'a>(
        &'a self,
        peer: &'a PeerId,
    ) -> impl Iterator<Item = (&'a InstanceId, &'a Stream)> {
        let instances = self.by_peer.get(peer).into_iter().flatten();
        instances.filter_map(|instance| self.open.get_key_value(instance))
    }

    /// Returns the channel over which this peer is pushed to; `None` if it is not live.
    #[must_use]
    pub fn channel(&self, peer: &PeerId) -> Option<Channel> {
        self.of_peer(peer).map(|(_, stream)| stream.push.channel).max_by_key(|c| certainty(*c))
    }

    /// Returns the same for all live peers at once.
    #[must_use]
    pub fn channels(&self) -> HashMap<&PeerId, Channel> {
        let mut channels = HashMap::with_capacity(self.open.len());
        for stream in self.open.values() {
            let best = channels.entry(&stream.peer).or_insert(stream.push.channel);
            *best = std::cmp::max_by_key(*best, stream.push.channel, |c| certainty(*c));
        }
        channels
    }
}

/// Removes an instance from those of a key.
fn forget<K: Eq + Hash>(all: &mut HashMap<K, Vec<InstanceId>>, key: &K, instance: &InstanceId) {
    if let Some(instances) = all.get_mut(key) {
        instances.retain(|one| one != instance);
        if instances.is_empty() {
            all.remove(key);
        }
    }
}

/// Returns a number that is greater for a channel that is more certain.
const fn certainty(channel: Channel) -> u8 {
    match channel {
        Channel::Absent => 0,
        Channel::Presumed => 1,
        Channel::Proven => 2,
    }
}
