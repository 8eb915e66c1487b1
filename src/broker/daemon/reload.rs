//! SIGHUP: the configuration is read again.
//!
//! Settings that can change while the broker runs take effect at once, with or without a service
//! manager. The others (socket, port and database) stay as they are, and the difference is reported.
//! A configuration file with an error changes nothing.

use std::sync::Arc;

use sd_notify::NotifyState;

use crate::broker::core::Effect;
use crate::broker::daemon::listener::Server;
use crate::broker::daemon::notify;
use crate::broker::shared::Shared;
use crate::config::{Config, Reader};
use crate::sys::files::same_place;

/// Reads the configuration again and applies what can be applied.
pub async fn reload(server: &Server) {
    let shared = server.shared();
    // The manager shows the state "reloading" until the next READY=1. The time is for units of
    // Type=notify-reload, whose manager matches it with its order to reload.
    let now = NotifyState::monotonic_usec_now().unwrap_or(NotifyState::MonotonicUsec(0));
    notify::send(shared, &[NotifyState::Reloading, now]).await;
    let problem = match Config::load(&shared.config.environment) {
        Ok(new) => apply(shared, new).await,
        Err(error) => {
            let (what, hint) = (notify::one_line(&error.to_string()), error.hint());
            tracing::error!(
                event = "reload_failed",
                "the configuration could not be reloaded, and the settings stay as they were: {what} ({hint})"
            );
            Some(format!("the old settings stay in effect: {what}"))
        }
    };
    shared.settings_problem.send_replace(problem);
    // A port that was in use may be free by now.
    if !shared.tcp.borrow().listening {
        server.bind_tcp();
    }
    let status = notify::status(shared).await;
    notify::send(shared, &[NotifyState::Ready, NotifyState::Status(&status)]).await;
}

/// Makes the new settings effective. Returns a text about those that need a restart, if any changed.
async fn apply(shared: &Arc<Shared>, new: Config) -> Option<String> {
    let old = Arc::clone(&shared.settings.borrow());
    let unapplied = needs_restart(&shared.config, &new);
    let limits = new.limits.clone();
    // Nothing is written, but the limits change between two transactions like all of the in-memory
    // state.
    let set = shared.store.update(move |tx| {
        tx.state.effects.push(Effect::SetLimits(Box::new(limits)));
        Ok(())
    });
    if let Err(error) = set.await {
        tracing::error!(event = "reload_failed", "the limits stay as they were: {error}");
        return Some(format!("the old settings stay in effect: {}", error.message));
    }
    let settings = new.in_place_of(&shared.config);
    tracing::info!(
        event = "reloaded",
        "the configuration was reloaded: {}",
        changes(&old, &settings)
    );
    shared.settings.send_replace(Arc::new(settings));
    if unapplied.is_empty() {
        return None;
    }
    let unapplied = unapplied.join(", ");
    tracing::warn!(
        event = "restart_needed",
        "a change of {unapplied} takes effect only after a restart: run `claude-peers kill-broker`; the next call starts a new broker"
    );
    Some(format!("restart the broker to apply the new {unapplied}"))
}

/// Returns the settings that differ in `new` and that a running broker cannot change.
fn needs_restart(now: &Config, new: &Config) -> Vec<String> {
    let mut all = Vec::new();
    if now.port != new.port {
        all.push(format!("port ({})", new.port));
    }
    if !same_place(&now.database, &new.database) {
        all.push(format!("database ({})", new.database.display()));
    }
    // Unless it is set, the socket's path follows from the port and the login.
    let is_named = now.paths.socket_is_named || new.paths.socket_is_named;
    if is_named && !same_place(&now.paths.socket, &new.paths.socket) {
        all.push(format!("socket ({})", new.paths.socket.display()));
    }
    all
}

/// Describes which of the broker's settings have changed.
fn changes(old: &Config, new: &Config) -> String {
    let changed: Vec<String> = old
        .effective()
        .iter()
        .zip(new.effective())
        .filter(|(old, new)| old.setting.reader == Reader::Broker && old.value != new.value)
        .map(|(old, new)| {
            let name = old.name().trim_start_matches("limits.");
            format!("{name} {} is now {}", old.value, new.value)
        })
        .collect();
    if changed.is_empty() { "no setting changed".to_owned() } else { changed.join(", ") }
}
