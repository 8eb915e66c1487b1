//! Notifications to the service manager (`sd_notify(3)`): that the broker is ready, its status, that
//! it is alive, that it stops. Where no manager listens nothing of this runs.
//!
//! Nothing is polled. The status is determined again only after a change, and only the watchdog,
//! where one is set, has a timer.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::broker::registry;
use crate::broker::shared::Shared;
use crate::protocol::ErrorCode;
use crate::sys::subprocess::run_in_background;

/// Debounce of the status line: for so long changes are coalesced into one notification, so that a
/// burst of messages does not cause thousands.
const STATUS_DEBOUNCE: Duration = Duration::from_millis(250);

/// Timeout for one notification that the broker waits for: READY, RELOADING or STOPPING.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(1);

/// Sends `states` to the service manager, and gives up after `NOTIFY_TIMEOUT`.
pub async fn send(shared: &Shared, states: &[NotifyState<'_>]) {
    if !is_listening(shared) {
        return;
    }
    if tokio::time::timeout(NOTIFY_TIMEOUT, send_without_timeout(states)).await.is_err() {
        tracing::warn!("the service manager does not accept notifications");
    }
}

/// Sends `states` to the service manager, however long that takes.
///
/// A manager that does not read for a while lets the queue of its socket fill up, and the next
/// sender blocks. So the notification is sent from a thread of its own.
async fn send_without_timeout(states: &[NotifyState<'_>]) {
    let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
    let text = lines.join("\n");
    let send = move || sd_notify::notify(&[NotifyState::Custom(&text)]);
    let result = run_in_background("notify", send).await.and_then(|sent| sent);
    if let Err(error) = result {
        tracing::warn!("the service manager cannot be notified: {error}");
    }
}

/// Extends the service manager's start timeout by a minute, with `reason` as the status.
///
/// Blocks while the manager's queue is full.
pub fn extend_start_timeout(reason: &str) {
    let more_time = NotifyState::Custom("EXTEND_TIMEOUT_USEC=60000000");
    // An error means that no manager listens.
    let _ = sd_notify::notify(&[more_time, NotifyState::Status(&one_line(reason))]);
}

/// Makes the service manager show why the broker did not start. It is called on the way out, so it
/// may block.
pub fn report_failure(error: &dyn std::error::Error) {
    // An error means that no manager listens.
    let _ = sd_notify::notify(&[NotifyState::Status(&one_line(&error.to_string()))]);
}

/// Returns `text` on one line, as a status and a log need it.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a service manager listens. `NOTIFY_SOCKET` is an interface between the manager and the
/// notification library, and not a setting.
fn is_listening(shared: &Shared) -> bool {
    shared.config.environment.get("NOTIFY_SOCKET").is_some()
}

/// Starts the tasks that keep the service manager informed until the broker stops. `sent` is the
/// status that it was sent already.
pub fn start(shared: &Arc<Shared>, sent: String) {
    if is_listening(shared) {
        tokio::spawn(keep_status(Arc::clone(shared), sent));
    }
    if let Some(limit) = sd_notify::watchdog_enabled() {
        tokio::spawn(keep_watchdog(Arc::clone(shared), limit));
    }
}

/// Returns the status line, which `systemctl status` shows.
pub async fn status(shared: &Shared) -> String {
    let mut parts = vec![match shared.store.inspect(registry::live_and_backlog).await {
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

/// Sends each change of the status line since `sent`.
async fn keep_status(shared: Arc<Shared>, mut sent: String) {
    let mut streams = shared.live.presence.watch();
    loop {
        tokio::select! {
            () = shared.changes.notified() => {}
            changed = streams.changed() => if changed.is_err() { return },
            () = shared.stop.cancelled() => return,
        }
        tokio::time::sleep(STATUS_DEBOUNCE).await;
        streams.mark_unchanged();
        let now = status(&shared).await;
        if shared.stop.is_cancelled() {
            return;
        }
        if now != sent {
            send_without_timeout(&[NotifyState::Status(&now)]).await;
            sent = now;
        }
    }
}

/// Notifies the watchdog twice in each `limit`.
///
/// Each notification waits until the database can be written, because a broker whose disk hangs is as
/// dead as one in an endless loop. An empty transaction writes nothing.
async fn keep_watchdog(shared: Arc<Shared>, limit: Duration) {
    let mut ticks = tokio::time::interval(limit / 2);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let answer = shared.store.write(|_| Ok(())).await;
        // Then the broker stops by itself. A database that refuses has answered.
        if answer.is_err_and(|error| error.code == ErrorCode::ShuttingDown) {
            return;
        }
        send_without_timeout(&[NotifyState::Watchdog]).await;
    }
}
