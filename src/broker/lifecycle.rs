//! From ready to stopped: the service manager is told, signals are heard, idleness is noticed.
//!
//! While peers are live no timer runs. Only a broker without any starts one, for its idle exit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Shared;

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

/// Tells the service manager that we serve. Without one this does nothing.
pub fn announce(shared: &Shared) {
    let state = [NotifyState::Ready, NotifyState::Status("serving")];
    if let Err(error) = sd_notify::notify(&state) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
    tracing::info!(
        event = "started",
        "claude-peers {} serves {} and {}, database {}",
        crate::VERSION,
        shared.config.paths.socket.display(),
        match &shared.tcp.problem {
            None => format!("127.0.0.1:{}", shared.tcp.port),
            Some(problem) => format!("no TCP port ({problem})"),
        },
        shared.config.database_path().display(),
    );
}

/// Waits for a signal, an order to stop, the end of a long idleness, or of the database's thread.
pub async fn until_stop(shared: &Arc<Shared>, store_ended: &CancellationToken) {
    tokio::select! {
        () = shared.stop.cancelled() => {}
        () = store_ended.cancelled() => {}
        () = terminated() => {}
        () = idle(shared) => tracing::info!(event = "idle_exit", "nobody is here: until the next call"),
    }
    if let Err(error) = sd_notify::notify(&[NotifyState::Stopping]) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
    shared.stop.cancel();
}

async fn terminated() {
    let listen = |kind| match signal(kind) {
        Ok(signal) => Some(signal),
        Err(error) => {
            tracing::error!("signals cannot be heard: {error}");
            None
        }
    };
    let (Some(mut term), Some(mut int), Some(mut hup)) = (
        listen(SignalKind::terminate()),
        listen(SignalKind::interrupt()),
        listen(SignalKind::hangup()),
    ) else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = term.recv() => return,
            _ = int.recv() => return,
            // A closing terminal must not take the broker along.
            _ = hup.recv() => tracing::info!("SIGHUP: going on"),
        }
    }
}

/// Returns once nobody has been live and nobody has called for the time that is set.
async fn idle(shared: &Arc<Shared>) {
    let limit = shared.config.idle_exit;
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
                return;
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
