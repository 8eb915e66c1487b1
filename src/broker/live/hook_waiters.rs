//! The `Stop` hooks that wait on the broker to wake an idle session: one for each client process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::protocol::PeerId;

/// The waiting hooks, by client process. Each clone is the same.
#[derive(Debug, Clone, Default)]
pub struct HookWaiters(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    by_client: HashMap<String, HookWaiter>,
    generations: u64,
}

#[derive(Debug)]
struct HookWaiter {
    peer: PeerId,
    generation: u64,
    /// Cancels the wait when the entry is removed or replaced.
    _replaced: DropGuard,
}

impl HookWaiters {
    /// Whether a hook waits to wake this peer.
    #[must_use]
    pub fn has(&self, peer: &PeerId) -> bool {
        self.lock().by_client.values().any(|waiter| waiter.peer == *peer)
    }

    /// Ends the wait of this client's hook, unless it waits for `peer`: the client shows the
    /// session of `peer` now.
    pub fn retain_peer(&self, client: &str, peer: &PeerId) {
        let mut inner = self.lock();
        if inner.by_client.get(client).is_some_and(|waiter| waiter.peer != *peer) {
            inner.by_client.remove(client);
        }
    }

    /// Registers a waiting hook in the place of an earlier one of the same client.
    ///
    /// Returns its generation, for [`HookWaiters::unregister`], and the token that is cancelled
    /// when it is replaced.
    pub fn register(&self, client: String, peer: PeerId) -> (u64, CancellationToken) {
        let mut inner = self.lock();
        inner.generations += 1;
        let generation = inner.generations;
        let replaced = CancellationToken::new();
        let waiter = HookWaiter { peer, generation, _replaced: replaced.clone().drop_guard() };
        inner.by_client.insert(client, waiter);
        (generation, replaced)
    }

    /// Removes a waiting hook, unless a later one has taken its place.
    pub fn unregister(&self, client: &str, generation: u64) {
        let mut inner = self.lock();
        if inner.by_client.get(client).is_some_and(|waiter| waiter.generation == generation) {
            inner.by_client.remove(client);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
