//! From ready to stopped: signals are heard, idleness is noticed.
//!
//! While peers are live no timer runs. Only a broker without any starts one, for its idle exit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::broker::Shared;
use crate::broker::daemon::listener::Server;
use crate::broker::daemon::{notify, reload};

/// When the broker was last of use to anybody.
pub struct Activity {
    streams: watch::Receiver<usize>,
    last: Mutex<Instant>,
}

impl Activity {
    #[must_use]
    pub fn new(streams: watch::Receiver<usize>) -> Self {
        Self { streams, last: Mutex::new(Instant::now()) }
    }

    /// Somebody called.
    pub fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that we serve: to the service manager and in the log.
pub async fn announce(shared: &Shared, status: &str) {
    notify::tell(&[NotifyState::Ready, NotifyState::Status(status)]).await;
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

/// Waits for a signal, an order to stop, the end of a long idleness, or of the database's thread.
pub async fn until_stop(server: &Server, store_ended: &CancellationToken) {
    let shared = server.shared();
    let why = tokio::select! {
        // An order to stop also stops waiting for the database's thread.
        biased;
        () = shared.stop.cancelled() => "stopped by an order",
        () = store_ended.cancelled() => "stopped: the database's thread ended",
        () = terminated() => "stopped by a signal",
        () = reload_at_hangup(server) => "stopped",
        () = idle(shared) => {
            tracing::info!(event = "idle_exit", "nobody is here: until the next call");
            "nobody was here; the next call starts it"
        }
    };
    notify::tell(&[NotifyState::Stopping, NotifyState::Status(why)]).await;
    shared.stop.cancel();
}

fn listen(kind: SignalKind) -> Option<Signal> {
    let heard = signal(kind);
    if let Err(error) = &heard {
        tracing::error!("signals cannot be heard: {error}");
    }
    heard.ok()
}

async fn terminated() {
    let heard = (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    let (Some(mut term), Some(mut int)) = heard else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// SIGHUP is `systemctl --user reload`, or a terminal that closes, which must not take the broker
/// along. Never returns.
async fn reload_at_hangup(server: &Server) {
    let Some(mut hangup) = listen(SignalKind::hangup()) else {
        return std::future::pending().await;
    };
    while hangup.recv().await.is_some() {
        reload::reload(server).await;
    }
    std::future::pending::<()>().await;
}

/// Returns once nobody has been live and nobody has called for the time that is set.
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
    let mut streams = shared.activity.streams.clone();
    loop {
        // An error means that the sender is gone, and with it the broker.
        if streams.wait_for(|open| *open == 0).await.is_err() {
            return;
        }
        // The last stream's end counts as use.
        shared.activity.note();
        loop {
            let left = limit.saturating_sub(shared.activity.last().elapsed());
            if left.is_zero() {
                // Whoever waits for mail uses the broker, though nobody calls.
                if !shared.live.waiters.is_any() {
                    return;
                }
                shared.activity.note();
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
