//! The observer's stream: what happens, for people who look.
//!
//! A task for each observer reads what it shows when it hears that something has changed, and only as fast
//! as the observer takes it. Several changes of one message or peer meanwhile are one event.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures_core::Stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::broker::http::activity;
use crate::broker::http::branches::Branches;
use crate::broker::http::identity::Identity;
use crate::broker::http::request::{Query, Refusal};
use crate::broker::http::stream::append;
use crate::broker::live::observers::{MAX_OBSERVERS, Observer};
use crate::broker::shared::Shared;
use crate::broker::{mailbox, registry};
use crate::protocol::events::{MAX_RECENT, Observe, Observed};
use crate::protocol::messages::{ListMessages, Message};
use crate::protocol::peers::{Activity, ListPeers, Peer};
use crate::protocol::stream::ByeReason;
use crate::protocol::{ApiError, ErrorCode, MessageId, PeerId};

/// How long changes are gathered, so that those that come together are read together.
const GATHER_TIME: Duration = Duration::from_millis(30);

/// The least time between two looks at all peers.
const PEERS_PAUSE: Duration = Duration::from_millis(250);

/// When peers are looked at again while one of them is busy: only its client's own record tells that a
/// turn was interrupted, or that a dialog is open.
const WHILE_BUSY: Duration = Duration::from_secs(2);

/// When peers are looked at again after the last change: leases have ended by then, so backlogs may have
/// grown, and a turn without a word may not count any more.
const AFTER_CHANGE: Duration = Duration::from_secs(61);

/// From this size on, in bytes, events are sent as a chunk.
const CHUNK: usize = 64 * 1024;

/// Bytes of text in a snapshot.
const SNAPSHOT_BYTES: usize = 1024 * 1024;

/// How many told messages are remembered.
const MAX_TOLD: usize = 1_000;

/// How many messages are read at once.
const READ_AT_ONCE: usize = 64;

/// Opens an observer's stream.
pub async fn observe(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Query(query): Query<Observe>,
) -> Result<Response, Refusal> {
    let who = identity.clone();
    shared.store.inspect(move |tx| who.authenticate(tx).map(drop)).await?;
    let Some(observer) = shared.live.observers.add() else {
        let error = ApiError::new(
            ErrorCode::RateLimited,
            format!("{MAX_OBSERVERS} observers are connected already"),
        );
        return Err(error.hint("Close one of the live views or pages.").into());
    };
    let (chunks, receiver) = mpsc::channel(1);
    let feed = Feed {
        observer,
        identity,
        recent: query.recent.min(MAX_RECENT),
        known: HashMap::new(),
        told: HashMap::new(),
        branches: Branches::new(&shared.config),
        chunk: Vec::new(),
        chunks,
        peers_at: Instant::now(),
        busy_at: None,
        settles_at: None,
        shared: Arc::clone(&shared),
    };
    shared.tasks.spawn(feed.run());
    let body = Body::from_stream(Chunks(receiver));
    Ok(([(CONTENT_TYPE, "text/event-stream")], body).into_response())
}

/// The body of the response.
struct Chunks(mpsc::Receiver<Bytes>);

impl Stream for Chunks {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(Ok))
    }
}

/// Why a stream ends.
enum End {
    /// The observer has gone.
    Gone,
    /// The broker stops, or its database cannot be read.
    Bye(ByeReason),
}

impl From<ApiError> for End {
    fn from(_: ApiError) -> Self {
        Self::Bye(ByeReason::Reconnect)
    }
}

/// What one observer is told, and what it knows.
struct Feed {
    shared: Arc<Shared>,
    observer: Observer,
    identity: Identity,
    recent: u32,
    /// The peers that it knows, by a hash of what it was told of them.
    known: HashMap<PeerId, u64>,
    /// The messages that it was told lately, by a hash of the last event.
    told: HashMap<MessageId, u64>,
    branches: Branches,
    chunk: Vec<u8>,
    chunks: mpsc::Sender<Bytes>,
    /// When peers may be looked at again.
    peers_at: Instant,
    /// When they must be looked at again because one of them is busy, …
    busy_at: Option<Instant>,
    /// … and because something has changed that has later effects.
    settles_at: Option<Instant>,
}

impl Feed {
    async fn run(mut self) {
        let ended = self.follow().await;
        if let Err(End::Bye(reason)) = ended {
            append(&mut self.chunk, &Observed::Bye { reason });
            let rest = std::mem::take(&mut self.chunk);
            // An observer that does not read is not waited for.
            let _ = self.chunks.try_send(rest.into());
        }
    }

    async fn follow(&mut self) -> Result<(), End> {
        self.snapshot().await?;
        let mut peers_changed = false;
        loop {
            let again_at = self.busy_at.into_iter().chain(self.settles_at).min();
            let peers_due = peers_changed.then_some(self.peers_at).or(again_at);
            tokio::select! {
                () = self.shared.stop.cancelled() => return Err(End::Bye(ByeReason::Stopping)),
                () = self.chunks.closed() => return Err(End::Gone),
                () = self.observer.changed() => sleep(GATHER_TIME).await,
                () = at(peers_due) => {
                    peers_changed = false;
                    self.peers().await?;
                    self.flush().await?;
                    continue;
                }
            }
            let changes = self.observer.take();
            self.settles_at = Some(Instant::now() + AFTER_CHANGE);
            if changes.everything {
                self.snapshot().await?;
                continue;
            }
            peers_changed |= changes.peers;
            let seqs: Vec<i64> = changes.messages.into_iter().collect();
            for seqs in seqs.chunks(READ_AT_ONCE) {
                self.messages(seqs.to_vec()).await?;
            }
            self.flush().await?;
        }
    }

    /// Tells everything anew.
    async fn snapshot(&mut self) -> Result<(), End> {
        let peers = self.listed().await?;
        self.known = peers.iter().map(|peer| (peer.id.clone(), hash(peer))).collect();
        let mut messages = Vec::new();
        if self.recent > 0 {
            let (identity, limit) = (self.identity.clone(), self.recent);
            let newest = self.shared.store.inspect(move |tx| {
                let caller = identity.authenticate(tx)?;
                let request = ListMessages { limit, ..ListMessages::default() };
                mailbox::list_messages(tx, &caller, &request)
            });
            messages = within(newest.await?.messages, SNAPSHOT_BYTES);
        }
        append(&mut self.chunk, &Observed::Snapshot { peers, messages });
        self.flush().await
    }

    /// Tells these messages.
    async fn messages(&mut self, seqs: Vec<i64>) -> Result<(), End> {
        let found = self.shared.store.inspect(move |tx| mailbox::messages_by_seq(tx, &seqs));
        for message in found.await? {
            // A receipt of a push changes the row and nothing that is shown.
            if self.told.len() >= MAX_TOLD {
                self.told.clear();
            }
            let now = hash(&message);
            if self.told.insert(message.id.clone(), now) == Some(now) {
                continue;
            }
            append(&mut self.chunk, &Observed::Message { message: Box::new(message) });
            if self.chunk.len() > CHUNK {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Tells what has changed of the peers.
    async fn peers(&mut self) -> Result<(), End> {
        let mut gone = std::mem::take(&mut self.known);
        for peer in self.listed().await? {
            let now = hash(&peer);
            if gone.remove(&peer.id) != Some(now) {
                append(&mut self.chunk, &Observed::Peer { peer: Box::new(peer.clone()) });
            }
            self.known.insert(peer.id, now);
            if self.chunk.len() > CHUNK {
                self.flush().await?;
            }
        }
        for id in gone.into_keys() {
            append(&mut self.chunk, &Observed::PeerGone { id });
        }
        Ok(())
    }

    /// Returns all peers, and the observer's own.
    async fn listed(&mut self) -> Result<Vec<Peer>, End> {
        let identity = self.identity.clone();
        let found = self.shared.store.inspect(move |tx| {
            let caller = identity.authenticate(tx)?;
            let request = ListPeers { all: true, ..ListPeers::default() };
            let mut peers = registry::list(tx, &caller, &request)?.peers;
            peers.push(registry::peer(tx, &caller.peer)?);
            let clients = activity::clients_to_ask(tx, &peers)?;
            Ok((peers, clients))
        });
        let (mut peers, clients) = found.await?;
        activity::add(&self.shared, clients, &mut peers).await;
        self.branches.add(&mut peers).await;
        let now = Instant::now();
        self.peers_at = now + PEERS_PAUSE;
        let is_at_work = |peer: &Peer| matches!(peer.activity, Activity::Busy | Activity::Waiting);
        self.busy_at = peers.iter().any(is_at_work).then_some(now + WHILE_BUSY);
        self.settles_at = self.settles_at.filter(|at| *at > now);
        Ok(peers)
    }

    /// Sends what is appended, as soon as the observer has taken what came before.
    async fn flush(&mut self) -> Result<(), End> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.chunk);
        tokio::select! {
            sent = self.chunks.send(chunk.into()) => sent.map_err(|_| End::Gone),
            () = self.shared.stop.cancelled() => Err(End::Bye(ByeReason::Stopping)),
        }
    }
}

/// Returns at this moment, or never.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Returns a number that differs where anything of a peer or message does.
fn hash(shown: &impl Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    // Serialising plain data cannot fail.
    serde_json::to_vec(shown).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

/// Returns the newest messages, of so many bytes of text.
fn within(messages: Vec<Message>, most: usize) -> Vec<Message> {
    let mut bytes = 0;
    let fits = messages.iter().rev().take_while(|message| {
        bytes += message.text.len();
        bytes <= most
    });
    let left_out = messages.len() - fits.count();
    messages.into_iter().skip(left_out).collect()
}
