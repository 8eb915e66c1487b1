//! Signals: a condition variable for each peer, which says that there may be something new for it.
//!
//! A signal carries nothing: a call that is notified looks into the database. It is sent after the
//! commit, so that what it is about can be found there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::protocol::PeerId;

/// The signals of all peers that have a subscription. Each clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Signals(Arc<Mutex<HashMap<PeerId, watch::Sender<()>>>>);

impl Signals {
    /// Subscribes to a peer's signal.
    ///
    /// Subscribe first and look into the database then, or a message may come between the two.
    #[must_use]
    pub fn subscribe(&self, peer: &PeerId) -> Subscription {
        let mut signals = self.lock();
        let signal = signals.entry(peer.clone()).or_default();
        Subscription { notices: signal.subscribe(), signals: self.clone(), peer: peer.clone() }
    }

    /// Notifies all subscriptions to a peer's signal.
    pub fn notify(&self, peer: &PeerId) {
        if let Some(signal) = self.lock().get(peer) {
            signal.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A subscription to one peer's signal.
#[derive(Debug)]
pub struct Subscription {
    notices: watch::Receiver<()>,
    signals: Signals,
    peer: PeerId,
}

impl Subscription {
    /// Returns once the peer was notified since the last call, or since the subscription began.
    pub async fn notified(&mut self) {
        if self.notices.changed().await.is_err() {
            // Cannot happen: the sender lives as long as its subscriptions.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut signals = self.signals.lock();
        if signals.get(&self.peer).is_some_and(|signal| signal.receiver_count() == 1) {
            signals.remove(&self.peer);
        }
    }
}
