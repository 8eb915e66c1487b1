//! Registration, the directory, and what a peer says of itself.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};

use crate::broker::core::idempotency::run_once;
use crate::broker::http::identity::Identity;
use crate::broker::http::request::{EmptyBody, Query, Refusal, Transport, WriteRequest};
use crate::broker::shared::Shared;
use crate::broker::{mailbox, registry};
use crate::endpoint::hook_spool;
use crate::protocol::Around;
use crate::protocol::peers::{
    ListPeers, PeerList, ProfileSet, Register, Registered, SetProfile, Unregistered,
};

/// Registration needs no idempotency key: the instance is one.
pub async fn register(
    State(shared): State<Arc<Shared>>,
    Extension(transport): Extension<Transport>,
    Extension(around): Extension<Around>,
    WriteRequest { mut body, .. }: WriteRequest<Register>,
) -> Result<Json<Registered>, Refusal> {
    body.client =
        registry::client_of_session(transport.pid(), body.client, body.session.as_deref())?;
    let paths = shared.config.paths.clone();
    let registered = shared.store.write(move |tx| {
        match hook_spool::take(&paths) {
            Ok(words) => mailbox::apply_spooled(tx, &words)?,
            Err(error) => tracing::warn!("what hooks said before this broker ran is lost: {error}"),
        }
        registry::register(tx, &body, &around)
    });
    Ok(Json(registered.await?))
}

/// No idempotency key: whoever is gone already cannot call.
pub async fn unregister(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    _: WriteRequest<EmptyBody>,
) -> Result<Json<Unregistered>, Refusal> {
    let gone = shared.store.write(move |tx| {
        let (caller, instance) = identity.authenticate_session(tx)?;
        registry::unregister(tx, &caller, &instance)
    });
    Ok(Json(gone.await?))
}

pub async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Query(query): Query<ListPeers>,
) -> Result<Json<PeerList>, Refusal> {
    let list = shared.store.inspect(move |tx| {
        let caller = identity.authenticate(tx)?;
        registry::list(tx, &caller, &query)
    });
    Ok(Json(list.await?))
}

pub async fn set_profile(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    WriteRequest { body, key }: WriteRequest<SetProfile>,
) -> Result<Json<ProfileSet>, Refusal> {
    let set = shared.store.write(move |tx| {
        let (caller, _) = identity.authenticate_session(tx)?;
        run_once(tx, &caller.receiver(), key.as_ref(), |tx| {
            registry::set_profile(tx, &caller, &body)
        })
    });
    Ok(Json(set.await?))
}
