//! Registration, the list of peers, and the profile of a peer.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};

use crate::broker::core::idempotency::run_once;
use crate::broker::http::activity;
use crate::broker::http::identity::Identity;
use crate::broker::http::large_answers;
use crate::broker::http::request::{EmptyBody, Query, Refusal, Transport, WriteRequest};
use crate::broker::shared::Shared;
use crate::broker::{mailbox, registry};
use crate::endpoint::hook_spool;
use crate::protocol::peers::{
    ListPeers, ProfileSet, Register, Registered, SetProfile, Unregistered,
};
use crate::protocol::{ApiError, CallerContext};

/// How often, and after which pauses, the hook spool is tried again while a hook appends to it, which
/// takes microseconds. A hook that is suspended in between delays a registration by 50 ms, and its event
/// comes with the next one.
const SPOOL_RETRIES: u32 = 10;
const SPOOL_PAUSE: Duration = Duration::from_millis(5);

/// Registers a server. No idempotency key is needed: the instance id is one.
pub async fn register(
    State(shared): State<Arc<Shared>>,
    Extension(transport): Extension<Transport>,
    Extension(around): Extension<CallerContext>,
    WriteRequest { mut body, .. }: WriteRequest<Register>,
) -> Result<Json<Registered>, Refusal> {
    body.client =
        registry::client_of_session(transport.pid(), body.client, body.session.as_deref())?;
    apply_hook_spool(&shared).await?;
    let registered = shared.store.write(move |tx| {
        registry::check_new_peer(tx, transport.pid(), &body)?;
        registry::register(tx, &body, &around)
    });
    Ok(Json(registered.await?))
}

/// Applies what hooks reported while no broker ran: only they know which session a client process
/// shows, and a registration goes by that.
///
/// The events have a transaction of their own, so that a registration that is refused does not undo
/// them, and are deleted after its commit. A crash in between has them applied once more, which has
/// no effect.
async fn apply_hook_spool(shared: &Shared) -> Result<(), ApiError> {
    let _one_at_a_time = shared.hook_spool.lock().await;
    let mut retries = SPOOL_RETRIES;
    loop {
        let drained = match hook_spool::drain(&shared.config.paths) {
            Ok(Some(drained)) => drained,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && retries > 0 => {
                retries -= 1;
                tokio::time::sleep(SPOOL_PAUSE).await;
                continue;
            }
            Err(error) => {
                tracing::warn!("the events that hooks left for the broker cannot be read: {error}");
                return Ok(());
            }
        };
        failpoint!("broker.spool.read");
        let events = drained.events.clone();
        shared.store.write(move |tx| mailbox::apply_spooled(tx, &events)).await?;
        failpoint!("broker.spool.applied");
        if let Err(error) = drained.delete() {
            tracing::warn!("the events that hooks left for the broker cannot be deleted: {error}");
            return Ok(());
        }
        failpoint!("broker.spool.deleted");
    }
}

/// Unregisters a probe. No idempotency key is needed: a probe that is gone cannot call.
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

/// Lists the peers.
pub async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(transport): Extension<Transport>,
    Extension(identity): Extension<Identity>,
    Query(query): Query<ListPeers>,
) -> Result<Response, Refusal> {
    let list = async {
        let found = shared.store.inspect(move |tx| {
            let caller = identity.authenticate(tx)?;
            let list = registry::list(tx, &caller, &query)?;
            let clients = activity::clients_to_ask(tx, &list.peers)?;
            Ok((list, clients))
        });
        let (mut list, clients) = found.await?;
        activity::add(&shared, clients, &mut list.peers).await;
        Ok(list)
    };
    large_answers::answer(&shared, transport, list).await
}

/// Sets the summary or the name of the calling session.
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
