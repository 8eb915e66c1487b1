//! Health and shutdown.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};

use crate::broker::daemon::listener::Transport;
use crate::broker::http::caller::Write;
use crate::broker::http::errors::Refusal;
use crate::broker::{Shared, registry};
use crate::config::Config;
use crate::protocol::health::{Afresh, Detail, Health, Setting, Stopping};
use crate::sys::process::Process;

pub async fn health(
    State(shared): State<Arc<Shared>>,
    Extension(transport): Extension<Transport>,
) -> Result<Json<Health>, Refusal> {
    let mut health = Health { status: "ok".to_owned(), protocol: shared.protocol, detail: None };
    if transport != Transport::Tcp {
        let (peers, backlog) = shared.store.read(|tx| registry::live_and_backlog(tx)).await?;
        let hooks_spoke_at = shared.store.read(|tx| registry::hooks_spoke_at(tx)).await?;
        let settings = Arc::clone(&shared.settings.borrow());
        health.detail = Some(Detail {
            version: crate::VERSION.to_owned(),
            pid: std::process::id(),
            process: Some(Process::own()),
            started: shared.started,
            started_at: shared.started_at,
            uptime_seconds: shared.since.elapsed().as_secs(),
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
            settings: in_force(&shared.config, &settings),
        });
    }
    Ok(Json(health))
}

/// What a running broker cannot change is as it was at its start.
fn in_force(at_start: &Config, now: &Config) -> Vec<Setting> {
    let of = |config: &Config, fixed: bool| -> Vec<Setting> {
        let all = config.in_force.iter().filter(|setting| setting.of_broker);
        all.filter(|setting| setting.is_fixed() == fixed)
            .map(|setting| Setting {
                name: setting.name().to_owned(),
                value: setting.value.clone(),
                source: setting.source.to_string(),
            })
            .collect()
    };
    [of(at_start, true), of(now, false)].concat()
}

/// Nothing to say, but JSON all the same.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

pub async fn shutdown(State(shared): State<Arc<Shared>>, _: Write<Nothing>) -> Json<Stopping> {
    shared.stop.cancel();
    Json(Stopping { pid: std::process::id() })
}

/// For a person who has removed the database under us in order to begin afresh.
pub async fn begin_afresh(
    State(shared): State<Arc<Shared>>,
    _: Write<Nothing>,
) -> Result<Json<Afresh>, Refusal> {
    let saved = shared.store.begin_afresh().await?;
    Ok(Json(Afresh { saved_in: saved.map(|path| path.display().to_string()) }))
}
