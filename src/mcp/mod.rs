//! The MCP stdio server: one per session, a thin client of the broker.
//!
//! It answers `initialize` and `tools/list` by itself, so a client never waits for the broker.
//! It must never panic, never end on a bad line, and never outlive its client: a server that
//! dies stays dead for the session, and one that stays is a ghost.

mod instructions;
mod server;
mod session;
pub mod summary;
mod tools;
mod transport;

use std::time::Duration;

use rmcp::ServiceExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, ConfigError};
use crate::sys::process::Parent;
use crate::sys::signals;
pub use tools::NAMES as TOOLS;
use transport::Watched;

/// How long answers under way may take once the client is gone or told us to go. Claude Code
/// sends SIGTERM 100 ms after SIGINT.
const LEAVE: Duration = Duration::from_millis(80);

/// Serves one session on standard input and output until its client goes.
///
/// A configuration that cannot be read is told to the model by the tools: a server that refused
/// to start would leave the person without a word.
pub async fn run(config: Result<Config, ConfigError>) {
    let leave = CancellationToken::new();
    let parent = Parent::now();
    let server = server::Server::new(config);
    let transport = Watched::stdio(server.sent_hooks(), leave.clone());
    let serve = async {
        // An end before the handshake is an ordinary end.
        if let Ok(running) = server.serve_with_ct(transport, leave.clone()).await {
            // How it ended makes no difference to us.
            let _ = running.waiting().await;
        }
    };
    let told_to_leave = async {
        tokio::select! {
            () = terminated() => {}
            () = parent.gone() => {}
            () = leave.cancelled() => {}
        }
        leave.cancel();
        tokio::time::sleep(LEAVE).await;
    };
    tokio::select! {
        () = serve => {}
        () = told_to_leave => {}
    }
}

/// Returns when we are told to go: by the client, or by a terminal that closes, unless the client
/// was started to outlive it (`nohup`).
async fn terminated() {
    let heard = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    // Where the system does not tell, a hangup is one.
    let outlives_terminal = signals::hangup_is_ignored().unwrap_or(false);
    tokio::select! {
        () = heard(SignalKind::interrupt()) => {}
        () = heard(SignalKind::terminate()) => {}
        () = heard(SignalKind::hangup()), if !outlives_terminal => {}
    }
}
