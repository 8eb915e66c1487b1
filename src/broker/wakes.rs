//! Waking a session whose mail would otherwise lie until its person comes back.
//!
//! There are two ways to wake one: a hook of its client that waits here ([`await_wake`]), and its
//! MCP server, which is told over its stream ([`follow`]). The hook is the better one, being
//! documented; while it waits the server keeps still. When it is time is decided in the
//! transaction ([`mailbox::wake`]), so one batch of mail is one wake over both.
//!
//! Nothing is polled: a bell says that mail came, and a timer runs only while mail waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

use super::Shared;
use super::bells::Listener;
use super::mailbox::{self, When};
use crate::protocol::stream::Event;
use crate::protocol::wake::{Reason, Wake};
use crate::protocol::{ApiError, InstanceId, PeerId};

/// How long after the database failed it is asked again whether a session is to be woken.
const AFTER_A_FAILURE: Duration = Duration::from_secs(30);

/// The hooks that wait, by the client whose they are.
#[derive(Debug, Clone, Default)]
pub struct Waiters(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    by_client: HashMap<String, Waiter>,
    generations: u64,
}

#[derive(Debug)]
struct Waiter {
    peer: PeerId,
    generation: u64,
    /// Dropped with the entry: that ends the wait.
    _replaced: DropGuard,
}

impl Waiters {
    /// Whether a hook waits to wake this peer.
    pub fn has(&self, peer: &PeerId) -> bool {
        self.lock().by_client.values().any(|waiter| waiter.peer == *peer)
    }

    /// The client shows the session of `peer` now: one that waits for another has had its time.
    pub fn keep_only(&self, client: &str, peer: &PeerId) {
        let mut inner = self.lock();
        if inner.by_client.get(client).is_some_and(|waiter| waiter.peer != *peer) {
            inner.by_client.remove(client);
        }
    }

    fn enter(&self, client: String, peer: PeerId) -> (u64, CancellationToken) {
        let mut inner = self.lock();
        inner.generations += 1;
        let generation = inner.generations;
        let replaced = CancellationToken::new();
        let waiter = Waiter { peer, generation, _replaced: replaced.clone().drop_guard() };
        inner.by_client.insert(client, waiter);
        (generation, replaced)
    }

    fn leave(&self, client: &str, generation: u64) {
        let mut inner = self.lock();
        if inner.by_client.get(client).is_some_and(|waiter| waiter.generation == generation) {
            inner.by_client.remove(client);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the waiters. It is left when the wait ends, for whatever reason, and the
/// session's MCP server looks again: waking is its business now.
struct Place<'a> {
    shared: &'a Shared,
    client: String,
    peer: PeerId,
    generation: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.shared.connected.waiters.leave(&self.client, self.generation);
        self.shared.connected.bells.ring(&self.peer);
    }
}

/// Waits until the peer is to be woken by the hook that calls.
///
/// # Errors
///
/// If the broker stops, or the database fails.
pub async fn await_wake(shared: &Shared, client: String, peer: PeerId) -> Result<Wake, ApiError> {
    let (generation, replaced) = shared.connected.waiters.enter(client.clone(), peer.clone());
    let place = Place { shared, client, peer: peer.clone(), generation };
    let mut bell = shared.connected.bells.listen(&peer);
    let woken = tokio::select! {
        () = replaced.cancelled() => Ok(Wake::Replaced),
        () = shared.stop.cancelled() => Err(ApiError::stopping()),
        reason = until_time(shared, &peer, &mut bell, || true) => reason.map(Wake::Mail),
    };
    drop(place);
    woken
}

/// Tells a session's MCP server when to wake it, as long as its stream is open. A window that
/// shows another session is another peer's from then on.
pub async fn follow(shared: &Shared, instance: &InstanceId, generation: u64) {
    let now = || {
        let inner = shared.connected.presence.lock();
        let stream = inner.stream(instance).filter(|stream| stream.generation == generation)?;
        Some((stream.peer.clone(), Arc::clone(&stream.moved)))
    };
    while let Some((peer, moved)) = now() {
        tokio::select! {
            () = moved.notified() => {}
            () = follow_peer(shared, instance, generation, &peer) => {}
        }
    }
}

async fn follow_peer(shared: &Shared, instance: &InstanceId, generation: u64, peer: &PeerId) {
    let mut bell = shared.connected.bells.listen(peer);
    let is_mine = || !shared.connected.waiters.has(peer);
    loop {
        match until_time(shared, peer, &mut bell, is_mine).await {
            Ok(reason) => {
                if let Some(stream) = shared.connected.presence.lock().stream(instance)
                    && (stream.generation, &stream.peer) == (generation, peer)
                {
                    stream.send(Event::Wake { reason });
                }
            }
            Err(error) => {
                tracing::warn!("a session is not woken yet: {error}");
                tokio::select! {
                    () = tokio::time::sleep(AFTER_A_FAILURE) => {}
                    () = bell.rung() => {}
                }
            }
        }
    }
}

/// Returns when it is time for a wake, which is then for the caller to give. It looks first, and
/// again whenever the bell has rung.
async fn until_time(
    shared: &Shared,
    peer: &PeerId,
    bell: &mut Listener,
    is_mine: impl Fn() -> bool,
) -> Result<Reason, ApiError> {
    loop {
        let asked = peer.clone();
        let when = if is_mine() {
            shared.store.read(move |tx| mailbox::wake_when(tx, &asked)).await?
        } else {
            When::OnceItRings
        };
        match when {
            When::Now(reason) => return Ok(reason),
            When::OnceItRings => bell.rung().await,
            When::In(time) => tokio::select! {
                () = tokio::time::sleep(time) => {}
                () = bell.rung() => {}
            },
        }
    }
}
