//! What is done when nothing else is: new messages are indexed for the search, and old ones deleted where
//! the person wants that.
//!
//! It begins some time after a change, and ends. A broker without messages does nothing of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::broker::http::history::prune_older;
use crate::broker::mailbox;
use crate::broker::shared::Shared;
use crate::protocol::ApiError;

/// How long no call has come when the upkeep begins.
const QUIET: Duration = Duration::from_secs(2);

/// How long it is put off at most while calls come.
const LONGEST_DELAY: Duration = Duration::from_secs(60);

/// The pause between two transactions of it, in which calls come first.
const PAUSE: Duration = Duration::from_millis(20);

/// How often old messages are deleted.
const PRUNE_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Starts the upkeep, which ends with the broker.
pub fn start(shared: &Arc<Shared>) {
    let following = Arc::clone(shared);
    shared.tasks.spawn(async move {
        tokio::select! {
            () = following.stop.cancelled() => {}
            () = follow(&following) => {}
        }
    });
}

async fn follow(shared: &Shared) {
    let mut pruned_at: Option<Instant> = None;
    loop {
        shared.live.written.notified().await;
        quiet(shared).await;
        if let Err(error) = index(shared).await {
            tracing::debug!("messages could not be indexed: {error}");
        }
        let keep_for = shared.settings.borrow().limits.keep_messages_for;
        let is_due = pruned_at.is_none_or(|at| at.elapsed() >= PRUNE_EVERY);
        if let Some(age) = keep_for.filter(|_| is_due) {
            pruned_at = Some(Instant::now());
            if let Err(error) = prune_older(shared, age, false).await {
                tracing::warn!("old messages could not be deleted: {error}");
            }
        }
    }
}

/// Returns once no call has come for a while, or too many have.
async fn quiet(shared: &Shared) {
    let began = Instant::now();
    loop {
        let left = QUIET.saturating_sub(shared.activity.last_at().elapsed());
        if left.is_zero() || began.elapsed() >= LONGEST_DELAY {
            return;
        }
        sleep(left).await;
    }
}

async fn index(shared: &Shared) -> Result<(), ApiError> {
    let mut left = shared.store.inspect(mailbox::index::left).await?;
    while left > 0 {
        left = shared.store.write(mailbox::index::advance).await?;
        sleep(PAUSE).await;
    }
    Ok(())
}
