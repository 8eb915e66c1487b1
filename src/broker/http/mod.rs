//! The broker's HTTP API: one file per noun, and `request` for what all requests have in common.
//!
//! A handler reads its request, calls the mailbox or the registry in a transaction, and answers. What
//! happens to peers and messages is decided there. Decided here is what only the connection knows:
//!
//! * which requests are accepted at all (`request`);
//! * how long a call waits, and that a call whose client has gone reserves no message any longer
//!   (`long_poll`, and the tasks in `messages` and `stream` that outlive their request);
//! * when a file may be deleted: the hook spool, after the commit (`peers`).

mod activity;
mod branches;
mod brief;
mod events;
mod health;
pub(in crate::broker) mod history;
mod hook;
pub(in crate::broker) mod identity;
pub(in crate::broker) mod large_answers;
mod long_poll;
mod mailbox;
mod messages;
mod over_tcp;
mod page;
mod peers;
pub mod request;
mod stream;
mod wake;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};

use crate::broker::shared::Shared;
use crate::protocol::route;

/// Returns all routes, behind the check of the request.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(route::HEALTH, get(health::health))
        .route(route::SHUTDOWN, post(health::shutdown))
        .route(route::FRESH_DATABASE, post(health::start_fresh_database))
        .route(route::REGISTER, post(peers::register))
        .route(route::UNREGISTER, post(peers::unregister))
        .route(route::PEERS, get(peers::list))
        .route(route::PROFILE, post(peers::set_profile))
        .route(route::MESSAGES, post(messages::send).get(history::list))
        .route(route::BATCH, post(messages::send_batch).layer(body_limit(route::BATCH)))
        .route(route::SCOPE, post(messages::send_to_scope))
        .route(route::TAKE, post(mailbox::take))
        .route(route::ANSWER, post(mailbox::answer))
        .route(route::CONFIRM, post(mailbox::confirm))
        .route(route::WRITTEN, post(mailbox::written))
        .route(route::HOOK, post(hook::hook))
        .route(route::HOOK_MOVED, post(hook::directory_changed))
        .route(route::HOOK_WRITTEN, post(hook::written))
        .route(route::TOOL_ANSWERED, post(hook::tool_answered))
        .route(route::WAKE, post(hook::await_wake))
        .route(route::WAKE_GIVEN, post(hook::wake_given))
        .route(route::WAKE_LOOKED, post(hook::idle_checked))
        .route(route::STREAM, get(stream::open))
        .route(route::PRUNE, post(history::prune))
        .route(route::BRIEF, get(brief::brief))
        .route(route::EVENTS, get(events::observe))
        .route(route::PAGE, get(page::show))
        .route(route::PAGE_LINK, post(page::link))
        .route(route::PAGE_VISIT, post(page::await_visit))
        .route(route::PAGE_OPEN, post(page::open))
        .route(route::PAGE_PROOF, post(page::prove))
        .fallback(request::no_route)
        .method_not_allowed_fallback(request::no_method)
        .layer(body_limit(route::MESSAGES))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), request::check))
        .with_state(shared)
}

fn body_limit(path: &str) -> DefaultBodyLimit {
    DefaultBodyLimit::max(request::max_body(path))
}
