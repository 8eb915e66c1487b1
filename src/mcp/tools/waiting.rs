//! Calls that wait: for how long a client stands it, and its signs of life meanwhile.

use std::pin::pin;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::ProgressNotificationParam;
use rmcp::service::RequestContext;
use tokio::time::{Instant, interval};

use crate::protocol::peers::CLAUDE_CODE;

/// Claude Code puts a call into the background after two minutes.
const CLAUDE_CODE_LIMIT: Duration = Duration::from_secs(110);

/// Many other clients give a call up after one minute, progress or not.
const OTHER_LIMIT: Duration = Duration::from_secs(50);

/// How often a waiting call says that it lives.
const PROGRESS: Duration = Duration::from_secs(15);

/// For how long a call waits that asks for so many seconds; it ends before its client gives it up.
pub fn limit(seconds: Option<u64>, context: &RequestContext<RoleServer>) -> Duration {
    let client = context.peer.peer_info();
    let is_claude = client.is_some_and(|client| client.client_info.name == CLAUDE_CODE);
    let most = if is_claude { CLAUDE_CODE_LIMIT } else { OTHER_LIMIT };
    Duration::from_secs(seconds.unwrap_or(0)).min(most)
}

/// Does `work`, which may take up to `limit`, and tells a client that asked for it how it goes on.
pub async fn with_progress<T>(
    context: &RequestContext<RoleServer>,
    limit: Duration,
    what: &str,
    work: impl Future<Output = T>,
) -> T {
    let Some(token) = context.meta.get_progress_token() else { return work.await };
    let mut work = pin!(work);
    let since = Instant::now();
    // The first tick is at once.
    let mut ticks = interval(PROGRESS);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            _ = ticks.tick() => {}
        }
        let progress = since.elapsed().as_secs_f64();
        let sign = ProgressNotificationParam::new(token.clone(), progress)
            .with_total(limit.as_secs_f64())
            .with_message(what);
        // A client that is gone ends the call by itself.
        let _ = context.peer.notify_progress(sign).await;
    }
}
