//! Bells: whoever waits for a peer's mail is told when there may be some.
//!
//! A bell says nothing of the mail itself: who hears it looks. It rings after the commit, so what
//! it is about can be found.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::protocol::PeerId;

/// The bells of all peers that somebody listens for.
#[derive(Debug, Clone, Default)]
pub struct Bells(Arc<Mutex<HashMap<PeerId, watch::Sender<()>>>>);

impl Bells {
    /// Hears every ring from now on. Listen first and look then, or mail comes between the two.
    #[must_use]
    pub fn listen(&self, peer: &PeerId) -> Listener {
        let mut bells = self.lock();
        let bell = bells.entry(peer.clone()).or_default();
        Listener { rings: bell.subscribe(), bells: self.clone(), peer: peer.clone() }
    }

    pub fn ring(&self, peer: &PeerId) {
        if let Some(bell) = self.lock().get(peer) {
            bell.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that listens for a peer's bell.
#[derive(Debug)]
pub struct Listener {
    rings: watch::Receiver<()>,
    bells: Bells,
    peer: PeerId,
}

impl Listener {
    /// Returns once it has rung since the last call, or since the listener was made.
    pub async fn rung(&mut self) {
        if self.rings.changed().await.is_err() {
            // The bell lives as long as its listeners do.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut bells = self.bells.lock();
        if bells.get(&self.peer).is_some_and(|bell| bell.receiver_count() == 1) {
            bells.remove(&self.peer);
        }
    }
}
