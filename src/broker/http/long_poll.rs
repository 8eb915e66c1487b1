//! Long polls: calls that wait for mail or for a reply.
//!
//! A call looks at once, and again after each signal for its peer. Nothing is polled; the only timer is
//! the caller's limit. What a call gets, and what is reserved for it meanwhile, the mailbox decides.
//! Decided here is when a call is over, because only the connection tells: its future is dropped when
//! the caller goes away. A call also ends when the broker stops; the caller then asks the next broker
//! with the time that it has left.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::mailbox;
use crate::broker::mailbox::WaitingCall;
use crate::broker::shared::Shared;
use crate::protocol::mailbox::{MAX_WAIT, Wait};
use crate::protocol::{ApiError, MessageId, PeerId};

/// How long after a message the call that waits for its reply may come.
const EXPECTED_WAITER_TIMEOUT: Duration = Duration::from_secs(5);

impl Wait {
    fn limit(self) -> Duration {
        Duration::from_secs(self.wait_seconds.min(MAX_WAIT))
    }
}

/// A waiting call. If it is dropped before its answer, what was reserved for it is offered in other
/// ways.
pub struct LongPoll {
    shared: Arc<Shared>,
    call: WaitingCall,
    is_answered: bool,
}

impl LongPoll {
    pub fn new(shared: &Arc<Shared>, call: WaitingCall) -> Self {
        Self { shared: Arc::clone(shared), call, is_answered: false }
    }

    /// Calls `look` until it finds something, or `last` when the time is over. Either of them ends the
    /// waiter in the transaction that answers the call.
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
        self.is_answered = true;
        Ok(found)
    }
}

impl Drop for LongPoll {
    fn drop(&mut self) {
        if self.is_answered {
            return;
        }
        self.shared.live.waiters.remove(self.call.waiter);
        // A broker that stops need not release anything: the next one knows no waiters.
        if !self.shared.stop.is_cancelled() {
            release(&self.shared, self.call.caller.peer.clone());
        }
    }
}

/// Offers in other ways what was reserved for a call that has gone.
fn release(shared: &Arc<Shared>, peer: PeerId) {
    let (tasks, shared) = (shared.tasks.clone(), Arc::clone(shared));
    tasks.spawn(async move {
        if let Err(error) =
            shared.store.write(move |tx| mailbox::release_reservations(tx, &peer)).await
        {
            tracing::warn!(
                "messages that were reserved for a waiting call cannot be offered yet: {error}"
            );
        }
    });
}

/// Ends the reservation for a caller that announced to wait for the reply to its message, if its call
/// does not come in time.
pub fn expect(shared: &Arc<Shared>, peer: PeerId, question: MessageId) {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        tokio::time::sleep(EXPECTED_WAITER_TIMEOUT).await;
        if shared.live.waiters.stop_expecting(&question) {
            release(&shared, peer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_waits_no_longer_than_the_longest_wait() {
        let limit = |wait_seconds| Wait { wait_seconds }.limit().as_secs();
        assert_eq!((limit(5), limit(u64::MAX)), (5, MAX_WAIT));
    }
}
