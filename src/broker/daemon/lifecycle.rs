//! From ready to stopped: signals, the order to stop, and the idle exit.
//!
//! While peers are live no timer runs. Only a broker without live peers starts one, for its idle
//! exit.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::broker::daemon::listener::Server;
use crate::broker::daemon::{notify, reload};
use crate::broker::shared::Shared;

/// Reports that the broker is ready, to the service manager and in the log.
pub async fn report_ready(shared: &Shared, status: &str) {
    notify::send(shared, &[NotifyState::Ready, NotifyState::Status(status)]).await;
    let tcp = shared.tcp.borrow();
    tracing::info!(
        event = "started",
        "claude-peers {} serves {} and {}, database {}",
        crate::VERSION,
        shared.config.paths.socket.display(),
        match &tcp.problem {
            None => format!("127.0.0.1:{}", tcp.port),
            Some(problem) => format!("no TCP port ({problem})"),
        },
        shared.config.database_path().display(),
    );
}

/// Returns when the broker is to stop: at a signal, at an order, after a long idle time, or when the
/// database thread has ended.
pub async fn run_until_stop(server: &Server, store_ended: &CancellationToken) {
    let shared = server.shared();
    let reason = tokio::select! {
        // An order to stop also cancels `store_ended`, so it is looked at first.
        biased;
        () = shared.stop.cancelled() => "stopped on request",
        () = store_ended.cancelled() => "stopped: the database thread ended",
        () = terminated() => "stopped by a signal",
        () = reload_at_hangup(server) => "stopped",
        () = idle(shared) => {
            tracing::info!(event = "idle_exit", "idle: the broker exits until the next call");
            "idle; the next call starts it"
        }
    };
    notify::send(shared, &[NotifyState::Stopping, NotifyState::Status(reason)]).await;
    shared.stop.cancel();
}

fn listen(kind: SignalKind) -> Option<Signal> {
    let stream = signal(kind);
    if let Err(error) = &stream {
        tracing::error!("cannot listen for signals: {error}");
    }
    stream.ok()
}

async fn terminated() {
    let signals = (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    let (Some(mut term), Some(mut int)) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Reloads the configuration at each SIGHUP. Never returns.
///
/// SIGHUP comes from `systemctl --user reload`, or from a terminal that closes, which must not end
/// the broker.
async fn reload_at_hangup(server: &Server) {
    let Some(mut hangup) = listen(SignalKind::hangup()) else {
        return std::future::pending().await;
    };
    while hangup.recv().await.is_some() {
        reload::reload(server).await;
    }
    std::future::pending::<()>().await;
}

/// Returns once no peer has been live and no call has come for the time that the setting
/// `idle_exit_seconds` allows.
async fn idle(shared: &Arc<Shared>) {
    let mut settings = shared.settings.subscribe();
    loop {
        let limit = settings.borrow_and_update().idle_exit;
        tokio::select! {
            () = idle_for(shared, limit) => return,
            // An error means that the sender is gone, and with it the broker.
            changed = settings.changed() => if changed.is_err() { return },
        }
    }
}

async fn idle_for(shared: &Arc<Shared>, limit: Duration) {
    if limit.is_zero() {
        return std::future::pending().await;
    }
    let mut streams = shared.activity.streams();
    loop {
        // An error means that the sender is gone, and with it the broker.
        if streams.wait_for(|open| *open == 0).await.is_err() {
            return;
        }
        // The end of the last stream counts as a use.
        shared.activity.record();
        loop {
            let left = limit.saturating_sub(shared.activity.last_at().elapsed());
            if left.is_zero() {
                // A waiting call uses the broker although no new call comes, and so does an observer.
                if !shared.live.waiters.is_any() && !shared.live.observers.is_any() {
                    return;
                }
                shared.activity.record();
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                changed = streams.changed() => {
                    if changed.is_err() { return; }
                    break;
                }
            }
        }
    }
}
