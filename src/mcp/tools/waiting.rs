//! Tool calls that wait: how long clients allow it, and progress notifications meanwhile.

use std::pin::pin;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::ProgressNotificationParam;
use rmcp::service::RequestContext;
use tokio::time::{Instant, interval};

use crate::protocol::peers::CLAUDE_CODE;

/// Claude Code moves a call into the background after two minutes.
const CLAUDE_CODE_MAX_WAIT: Duration = Duration::from_secs(110);

/// Many other clients give up a call after one minute, even if it reports progress.
const OTHER_MAX_WAIT: Duration = Duration::from_secs(50);

const PROGRESS_INTERVAL: Duration = Duration::from_secs(15);

/// Returns how long a call waits that asks for `seconds`: not longer than its client allows.
pub fn limit(seconds: Option<u64>, context: &RequestContext<RoleServer>) -> Duration {
    let client = context.peer.peer_info();
    let is_claude = client.is_some_and(|client| client.client_info.name == CLAUDE_CODE);
    let most = if is_claude { CLAUDE_CODE_MAX_WAIT } else { OTHER_MAX_WAIT };
    Duration::from_secs(seconds.unwrap_or(0)).min(most)
}

/// Does `work`, which may take up to `limit`, and sends progress notifications to a client that asked
/// for them.
pub async fn with_progress<T>(
    context: &RequestContext<RoleServer>,
    limit: Duration,
    what: &str,
    work: impl Future<Output = T>,
) -> T {
    let Some(token) = context.meta.get_progress_token() else { return work.await };
    let mut work = pin!(work);
    let since = Instant::now();
    // The first tick comes at once.
    let mut ticks = interval(PROGRESS_INTERVAL);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = ticks.tick() => {}
        }
        let progress = since.elapsed().as_secs_f64();
        let notification = ProgressNotificationParam::new(token.clone(), progress)
            .with_total(limit.as_secs_f64())
            .with_message(what);
        // If the client is gone, the call ends anyway.
        let _ = context.peer.notify_progress(notification).await;
    }
}
