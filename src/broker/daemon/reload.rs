//! SIGHUP: the configuration is read again.
//!
//! What can take effect at once does, for a broker under a service manager and for any other.
//! What cannot (where it serves, and from which database) is reported, and stays as it was. A
//! configuration with an error in it changes nothing.

use std::sync::Arc;

use sd_notify::NotifyState;

use crate::broker::Shared;
use crate::broker::daemon::listener::Server;
use crate::broker::daemon::notify;
use crate::config::Config;
use crate::sys::files::same_place;

/// Reads the configuration again.
pub async fn reload(server: &Server) {
    let shared = server.shared();
    // The manager takes us for reloading until the next READY=1. The time is for managers that
    // match it with their order to reload (Type=notify-reload).
    let now = NotifyState::monotonic_usec_now().unwrap_or(NotifyState::MonotonicUsec(0));
    notify::tell(&[NotifyState::Reloading, now]).await;
    let problem = match (shared.load)() {
        Ok(new) => apply(shared, new).await,
        Err(error) => {
            let (what, hint) = (notify::one_line(&error.to_string()), error.hint());
            tracing::error!(
                event = "reload_failed",
                "the configuration was not read again, and the settings stay as they were: {what} ({hint})"
            );
            Some(format!("the old settings hold: {what}"))
        }
    };
    shared.settings_problem.send_replace(problem);
    // A port that was taken may be free by now.
    if !shared.tcp.borrow().listening {
        server.bind_tcp();
    }
    let status = notify::status(shared).await;
    notify::tell(&[NotifyState::Ready, NotifyState::Status(&status)]).await;
}

/// Puts new settings in force; what they ask for in vain is returned.
async fn apply(shared: &Arc<Shared>, new: Config) -> Option<String> {
    let old = Arc::clone(&shared.settings.borrow());
    let in_vain = needs_restart(&shared.config, &new);
    let limits = new.limits.clone();
    // Not written, but done on the database's thread: the limits live there.
    let set = shared.store.read(move |tx| {
        tx.state.set_limits(limits);
        Ok(())
    });
    if let Err(error) = set.await {
        tracing::error!(event = "reload_failed", "the limits stay as they were: {error}");
        return Some(format!("the old settings hold: {}", error.message));
    }
    let place = &shared.config;
    let settings = Config {
        paths: place.paths.clone(),
        port: place.port.clone(),
        database: place.database.clone(),
        ..new
    };
    tracing::info!(
        event = "reloaded",
        "the configuration was read again: {}",
        changes(&old, &settings)
    );
    shared.settings.send_replace(Arc::new(settings));
    if in_vain.is_empty() {
        return None;
    }
    let in_vain = in_vain.join(", ");
    tracing::warn!(
        event = "restart_needed",
        "only a restart brings another {in_vain}: `claude-peers kill-broker`, and the next call starts one"
    );
    Some(format!("restart for another {in_vain}"))
}

/// What the new settings change that a running broker cannot.
fn needs_restart(now: &Config, new: &Config) -> Vec<String> {
    let mut all = Vec::new();
    if now.port.value != new.port.value {
        all.push(format!("port ({})", new.port.value));
    }
    if !same_place(&now.database.value, &new.database.value) {
        all.push(format!("database ({})", new.database.value.display()));
    }
    // It follows from the port and the login, unless it is set.
    let is_named = now.paths.socket_is_named || new.paths.socket_is_named;
    if is_named && !same_place(&now.paths.socket, &new.paths.socket) {
        all.push(format!("socket ({})", new.paths.socket.display()));
    }
    all
}

/// What of the broker's settings is new, in words.
fn changes(old: &Config, new: &Config) -> String {
    let changed: Vec<String> = old
        .in_force
        .iter()
        .zip(&new.in_force)
        .filter(|(old, new)| old.of_broker && !old.is_fixed() && old.value != new.value)
        .map(|(old, new)| {
            let name = old.name().trim_start_matches("limits.");
            format!("{name} {} is now {}", old.value, new.value)
        })
        .collect();
    if changed.is_empty() { "nothing is new".to_owned() } else { changed.join(", ") }
}
