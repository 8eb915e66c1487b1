//! The MCP stdio server: one per session, a thin client of the broker.
//!
//! It answers `initialize` and `tools/list` by itself, so a client never waits for the broker.
//! It must never panic, never exit on a bad line, and never outlive its client: a client does not
//! restart a server that died, and a server that stays behind is shown as a peer.

mod error_text;
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
use crate::sys::process::ParentProcess;
use crate::sys::signals;
pub use tools::ToolName;
#[cfg(feature = "fuzzing")]
pub use transport::fuzzing as transport_fuzzing;
use transport::{SentCallbacks, Stdio};

/// How long answers under way may take once the client has gone or has told us to stop. Claude Code
/// sends SIGTERM 100 ms after SIGINT.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(80);

/// Serves one session on standard input and output until its client goes.
///
/// If the configuration cannot be read, the tools report it to the model. A server that refused to
/// start would leave the person without an explanation.
pub async fn run(config: Result<Config, ConfigError>) {
    let stop = CancellationToken::new();
    let parent = ParentProcess::now();
    let callbacks = SentCallbacks::default();
    let transport = Stdio::open(callbacks.clone(), stop.clone());
    let server = server::Server::new(config, callbacks, transport.pushes());
    let serve = async {
        // An error means that the client went before the handshake, which is nothing to report.
        if let Ok(running) = server.serve_with_ct(transport, stop.clone()).await {
            // For whatever reason it ended, there is nothing left to do.
            let _ = running.waiting().await;
        }
    };
    let stopped = async {
        tokio::select! {
            () = terminated() => {}
            () = parent.exited() => {}
            () = stop.cancelled() => {}
        }
        stop.cancel();
        tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
    };
    tokio::select! {
        () = serve => {}
        () = stopped => {}
    }
}

/// Returns when a signal tells us to stop: from the client, or because the terminal closed, unless
/// the client was started to outlive its terminal (`nohup`).
async fn terminated() {
    let received = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    // Where that is not known, a hangup is a reason to stop.
    let outlives_terminal = signals::hangup_is_ignored().unwrap_or(false);
    tokio::select! {
        () = received(SignalKind::interrupt()) => {}
        () = received(SignalKind::terminate()) => {}
        () = received(SignalKind::hangup()), if !outlives_terminal => {}
    }
}
