//! Health, shutdown, and the order to begin with an empty database.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};

use crate::broker::http::request::{EmptyBody, Refusal, Transport, WriteRequest};
use crate::broker::registry;
use crate::broker::shared::Shared;
use crate::config::Config;
use crate::protocol::health::{Detail, FreshDatabase, Health, Setting, Stopping};
use crate::sys::process;

/// Describes the broker. Over TCP, where no token is needed for this route, only that it is up.
pub async fn health(
    State(shared): State<Arc<Shared>>,
    Extension(transport): Extension<Transport>,
) -> Result<Json<Health>, Refusal> {
    let mut health = Health { status: "ok".to_owned(), protocol: shared.protocol, detail: None };
    if transport != Transport::Tcp {
        let (peers, backlog) = shared.store.inspect(registry::live_and_backlog).await?;
        let hooks_spoke_at = shared.store.inspect(registry::last_hook_at).await?;
        let settings = Arc::clone(&shared.settings.borrow());
        health.detail = Some(Detail {
            version: crate::VERSION.to_owned(),
            pid: std::process::id(),
            process: Some(process::own()),
            started: shared.started,
            started_at: shared.started_at,
            uptime_seconds: shared.running_since.elapsed().as_secs(),
            peers,
            backlog,
            socket: shared.config.paths.socket.display().to_string(),
            socket_inherited: shared.socket_inherited,
            database: shared.config.database_path().display().to_string(),
            database_moved_to: shared.database.moved_to().map(|path| path.display().to_string()),
            database_note: shared.database.note(),
            database_problem: shared.database.problem(),
            tcp: shared.tcp.borrow().clone(),
            hooks_spoke_at,
            idle_exit_seconds: settings.idle_exit.as_secs(),
            token_file: shared.config.paths.token.display().to_string(),
            config_file: settings.paths.config_file.display().to_string(),
            settings_problem: shared.settings_problem.borrow().clone(),
            settings: effective_settings(&settings),
        });
    }
    Ok(Json(health))
}

/// Returns those of the broker's settings that are in effect.
fn effective_settings(settings: &Config) -> Vec<Setting> {
    let all = settings.effective().into_iter().filter(|found| found.setting.is_of_broker());
    all.map(|found| Setting {
        name: found.name().to_owned(),
        value: found.value,
        source: found.source.to_string(),
    })
    .collect()
}

/// Stops the broker. It answers before it stops.
pub async fn shutdown(
    State(shared): State<Arc<Shared>>,
    _: WriteRequest<EmptyBody>,
) -> Json<Stopping> {
    shared.stop.cancel();
    Json(Stopping { pid: std::process::id() })
}

/// Serves a person who has removed the database file in order to begin with an empty one.
pub async fn start_fresh_database(
    State(shared): State<Arc<Shared>>,
    _: WriteRequest<EmptyBody>,
) -> Result<Json<FreshDatabase>, Refusal> {
    let saved = shared.store.start_fresh_database().await?;
    Ok(Json(FreshDatabase { saved_in: saved.map(|path| path.display().to_string()) }))
}
