//! What the service manager is told (`sd_notify(3)`): that the broker serves, whom, that it is
//! alive, that it stops. Without a manager that listens nothing of this runs.
//!
//! Nothing is polled. The status is looked at again after something has changed, and only the
//! watchdog, where one is set, has a timer.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::broker::{Shared, registry};
use crate::sys::subprocess::in_background;

/// How long changes gather before the status is looked at again, so that a burst of messages
/// makes a few status lines and not thousands.
const GATHER: Duration = Duration::from_millis(250);

/// How long a turn of the broker's life waits for the service manager to accept the word of it.
const ACCEPT: Duration = Duration::from_secs(1);

/// Tells the service manager of a turn in the broker's life: ready, reloading, stopping. Without
/// a manager this does nothing.
pub async fn tell(states: &[NotifyState<'_>]) {
    if tokio::time::timeout(ACCEPT, tell_patiently(states)).await.is_err() {
        tracing::warn!("the service manager does not listen");
    }
}

/// Tells the service manager, however long it takes. One that does not listen for a while has its
/// queue filled, and whoever then sends must wait: not the thread that serves.
async fn tell_patiently(states: &[NotifyState<'_>]) {
    if !is_told() {
        return;
    }
    let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
    let text = lines.join("\n");
    let send = move || sd_notify::notify(&[NotifyState::Custom(&text)]);
    let result = in_background("notify", send).await.and_then(|sent| sent);
    if let Err(error) = result {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}

/// Has the service manager wait longer for a start, because something is under way that we wait
/// for or do.
pub fn tell_waiting(what: &str) {
    let more_time = NotifyState::Custom("EXTEND_TIMEOUT_USEC=60000000");
    // Whoever does not listen needs not be told.
    let _ = sd_notify::notify(&[more_time, NotifyState::Status(&one_line(what))]);
}

/// Has the service manager show why there is no broker. For the way out: it may wait.
pub fn tell_failure(error: &dyn std::error::Error) {
    // There is nobody left to tell that it failed.
    let _ = sd_notify::notify(&[NotifyState::Status(&one_line(&error.to_string()))]);
}

/// A text as one line, as a status and a log want it.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether anybody is told. `NOTIFY_SOCKET` is the manager's word to the notifying library, not a
/// setting of ours.
fn is_told() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some()
}

/// Starts what keeps the service manager informed for the rest of the broker's life.
pub fn start(shared: &Arc<Shared>, said: String) {
    if is_told() {
        tokio::spawn(keep_status(Arc::clone(shared), said));
    }
    if let Some(limit) = sd_notify::watchdog_enabled() {
        tokio::spawn(keep_watchdog(Arc::clone(shared), limit));
    }
}

/// The status line: what `systemctl status` shows.
pub async fn status(shared: &Shared) -> String {
    let mut parts = vec![match shared.store.read(|tx| registry::live_and_backlog(tx)).await {
        Ok((1, unread)) => format!("serving 1 peer, {unread} unread"),
        Ok((peers, unread)) => format!("serving {peers} peers, {unread} unread"),
        Err(error) => format!("serving, but {}", error.message),
    }];
    {
        let tcp = shared.tcp.borrow();
        if let Some(problem) = &tcp.problem {
            parts.push(format!("no TCP on port {} ({problem})", tcp.port));
        }
    }
    if let Some(moved) = shared.database.moved_to() {
        parts.push(format!("a damaged database was moved to {}", moved.display()));
    }
    parts.extend(shared.database.problem().or_else(|| shared.database.note()));
    parts.extend(shared.settings_problem.borrow().clone());
    one_line(&parts.join("; "))
}

/// Tells each change of the status line, after `said`.
async fn keep_status(shared: Arc<Shared>, mut said: String) {
    let mut streams = shared.live.presence.watch();
    loop {
        tokio::select! {
            () = shared.changes.notified() => {}
            changed = streams.changed() => if changed.is_err() { return },
            () = shared.stop.cancelled() => return,
        }
        tokio::time::sleep(GATHER).await;
        streams.mark_unchanged();
        let now = status(&shared).await;
        if shared.stop.is_cancelled() {
            return;
        }
        if now != said {
            tell_patiently(&[NotifyState::Status(&now)]).await;
            said = now;
        }
    }
}

/// Says twice in each `limit` that we are alive, which means: this runtime runs, and the
/// database's thread answers. A broker whose disk hangs is as dead as one that loops.
async fn keep_watchdog(shared: Arc<Shared>, limit: Duration) {
    let mut ticks = tokio::time::interval(limit / 2);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // An error means that the thread has ended: the broker stops by itself.
        if shared.store.read(|_| Ok(())).await.is_err() {
            return;
        }
        tell_patiently(&[NotifyState::Watchdog]).await;
    }
}
