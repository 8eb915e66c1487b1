//! The broker's HTTP API: one file per noun, and one for who is calling.
//!
//! A handler reads its request, calls the mailbox or the registry on the database's thread, and
//! answers. It decides nothing by itself.

mod caller;
mod clients;
mod control;
mod errors;
mod hook;
mod identity;
mod long_poll;
mod mailbox;
mod messages;
mod peers;
mod stream;
mod wake;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};

use crate::broker::Shared;
use crate::config::MAX_MESSAGE_BYTES;
use crate::protocol::route;

/// The largest body: a message of the largest size, each byte escaped as `\u0000`, and the rest.
const MAX_BODY: usize = MAX_MESSAGE_BYTES as usize * 6 + 64 * 1024;

/// All routes, behind the check of who calls.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(route::HEALTH, get(control::health))
        .route(route::SHUTDOWN, post(control::shutdown))
        .route(route::AFRESH, post(control::begin_afresh))
        .route(route::REGISTER, post(peers::register))
        .route(route::UNREGISTER, post(peers::unregister))
        .route(route::PEERS, get(peers::list))
        .route(route::PROFILE, post(peers::set_profile))
        .route(route::MESSAGES, post(messages::send).get(messages::list))
        .route(route::SCOPE, post(messages::send_to_scope))
        .route(route::TAKE, post(mailbox::take))
        .route(route::ANSWER, post(mailbox::answer))
        .route(route::CONFIRM, post(mailbox::confirm))
        .route(route::WRITTEN, post(mailbox::written))
        .route(route::HOOK, post(hook::hook))
        .route(route::HOOK_MOVED, post(hook::moved))
        .route(route::HOOK_WRITTEN, post(hook::written))
        .route(route::TOOL_ANSWERED, post(hook::tool_answered))
        .route(route::WAKE, post(hook::wake))
        .route(route::WAKE_GIVEN, post(hook::wake_given))
        .route(route::WAKE_LOOKED, post(hook::looked))
        .route(route::STREAM, get(stream::open))
        .fallback(errors::no_route)
        .method_not_allowed_fallback(errors::no_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), caller::check))
        .with_state(shared)
}
