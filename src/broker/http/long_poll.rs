//! Calls that wait: they look at once, and again whenever the bell rings. No polling: the one timer
//! is the caller's limit.
//!
//! A call ends at once when its caller goes away, because its future is then dropped, and when
//! the broker stops: the caller asks the next one with the time that it has left.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::mailbox;
use crate::broker::mailbox::WaitingCall;
use crate::broker::shared::Shared;
use crate::protocol::mailbox::{MAX_WAIT, Wait};
use crate::protocol::{ApiError, MessageId, PeerId};

/// How long the broker expects the call that waits for an answer, after the message was sent.
const COMING: Duration = Duration::from_secs(5);

impl Wait {
    fn limit(self) -> Duration {
        Duration::from_secs(self.wait_seconds.min(MAX_WAIT))
    }
}

/// A call that waits. What it held is offered to others should it be dropped before its answer.
pub struct Waiting {
    shared: Arc<Shared>,
    call: WaitingCall,
    settled: bool,
}

impl Waiting {
    pub fn new(shared: &Arc<Shared>, call: WaitingCall) -> Self {
        Self { shared: Arc::clone(shared), call, settled: false }
    }

    /// Looks until there is something; once the time is over, `last` says what there is then.
    /// Either ends the waiter in the transaction that answers the call.
    pub async fn until<T, L, M>(
        mut self,
        wait: Wait,
        look: impl Fn(WaitingCall) -> L,
        last: impl FnOnce(WaitingCall) -> M,
    ) -> Result<T, ApiError>
    where
        L: Future<Output = Result<Option<T>, ApiError>>,
        M: Future<Output = Result<T, ApiError>>,
    {
        let over = Instant::now() + wait.limit();
        let mut signal = self.shared.live.signals.subscribe(&self.call.caller.peer);
        let found = loop {
            if let Some(found) = look(self.call.clone()).await? {
                break found;
            }
            tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => return Err(ApiError::stopping()),
                () = tokio::time::sleep_until(over) => break last(self.call.clone()).await?,
                () = signal.notified() => {}
            }
        };
        self.settled = true;
        Ok(found)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        self.shared.live.waiters.remove(self.call.waiter);
        // The next broker knows of no waiter.
        if !self.shared.stop.is_cancelled() {
            release(&self.shared, self.call.caller.peer.clone());
        }
    }
}

/// Offers to others what nobody waits for any more.
fn release(shared: &Arc<Shared>, peer: PeerId) {
    let (tasks, shared) = (shared.tasks.clone(), Arc::clone(shared));
    tasks.spawn(async move {
        if let Err(error) =
            shared.store.write(move |tx| mailbox::release_reservations(tx, &peer)).await
        {
            tracing::warn!("what a call waited for is not offered to others yet: {error}");
        }
    });
}

/// The caller said that it would wait for the answer to its message. If it does not come, the
/// answer is not kept for it.
pub fn expect(shared: &Arc<Shared>, peer: PeerId, question: MessageId) {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        tokio::time::sleep(COMING).await;
        if shared.live.waiters.stop_expecting(&question) {
            release(&shared, peer);
        }
    });
}
