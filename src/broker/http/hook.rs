//! Hooks: their events, and the waiting hook that wakes its session.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};

use crate::broker::core::Tx;
use crate::broker::http::identity::Identity;
use crate::broker::http::request::{EmptyBody, Query, Refusal, Transport, WriteRequest};
use crate::broker::http::wake;
use crate::broker::shared::Shared;
use crate::broker::store::Fault;
use crate::broker::{mailbox, registry};
use crate::protocol::hook::{DirectoryChanged, HookEvent, HookEventName, HookMail, HookWritten};
use crate::protocol::mailbox::Noted;
use crate::protocol::wake::{AwaitWake, IdleCheckResult, Wake, WakeGiven, WakeOptions};
use crate::protocol::{ApiError, CallerContext, ErrorCode, PeerId, ProcessId};
use crate::sys::process;

/// Takes a hook event, and answers with the unread messages to show.
///
/// A hook calls once and never again, so no idempotency key is needed. It has no session token: it acts
/// for the owner of all sessions.
pub async fn hook(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Extension(transport): Extension<Transport>,
    Extension(around): Extension<CallerContext>,
    WriteRequest { mut body, .. }: WriteRequest<HookEvent>,
) -> Result<Json<HookMail>, Refusal> {
    only_owner(&identity)?;
    body.client = registry::client_of_hook(transport.pid(), body.client, &body.session);
    let title = around.title;
    let quiet = shared.store.update(move |tx| {
        body.client = client_or_ancestor(tx, transport, body.client);
        let mail = mailbox::quiet_hook(tx, &body, title.as_deref())?;
        Ok(mail.ok_or((body, title)))
    });
    let mail = match quiet.await? {
        Ok(mail) => mail,
        Err((body, title)) => {
            let mail = shared.store.write(move |tx| {
                let mail = mailbox::hook(tx, &body)?;
                if let Some(title) = &title {
                    registry::adopt_session_title(tx, &body.session, body.client.as_ref(), title)?;
                }
                Ok(mail)
            });
            mail.await?
        }
    };
    watch_new_clients(&shared);
    Ok(Json(mail))
}

/// Returns the client that the hook names, or else an ancestor of the hook that a server named as its
/// client.
fn client_or_ancestor(
    tx: &Tx<'_>,
    transport: Transport,
    named: Option<ProcessId>,
) -> Option<ProcessId> {
    named.or_else(|| registry::client_of_hook_pid(tx, transport.pid()?))
}

/// Takes the working directory of a session, for which the answer to its last hook event asked.
pub async fn directory_changed(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Extension(transport): Extension<Transport>,
    WriteRequest { mut body, .. }: WriteRequest<DirectoryChanged>,
) -> Result<Json<Noted>, Refusal> {
    only_owner(&identity)?;
    body.client = registry::client_of_hook(transport.pid(), body.client, &body.session);
    let noted = shared.store.write(move |tx| {
        body.client = client_or_ancestor(tx, transport, body.client);
        registry::set_working_directory(tx, &body)
    });
    Ok(Json(noted.await?))
}

/// Takes the receipt of a hook: the messages are in its output.
pub async fn written(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    WriteRequest { body, .. }: WriteRequest<HookWritten>,
) -> Result<Json<Noted>, Refusal> {
    only_owner(&identity)?;
    let noted = shared.store.write_unsynced(move |tx| mailbox::hook_written(tx, &body));
    Ok(Json(noted.await?))
}

/// Serves a waiting hook: answers when the session is to be woken, or when there is no reason to wait
/// any longer.
pub async fn await_wake(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Extension(transport): Extension<Transport>,
    Query(looks): Query<WakeOptions>,
    WriteRequest { mut body, .. }: WriteRequest<AwaitWake>,
) -> Result<Json<Wake>, Refusal> {
    only_owner(&identity)?;
    body.client = registry::client_of_hook(transport.pid(), body.client, &body.session);
    let client = body
        .client
        .as_ref()
        .map_or_else(|| format!("session {}", body.session), ToString::to_string);
    let find = move |tx: &mut Tx<'_>| {
        let peer = mailbox::peer_to_wake(tx, &body.session, body.client.as_ref())?;
        if let (Some(peer), Some(client)) = (&peer, &body.client) {
            mailbox::record_client_process(tx, peer, client, HookEventName::Stop)?;
        }
        Ok(peer)
    };
    let peer = shared.store.write(find).await?.filter(|peer| is_live(&shared, peer));
    watch_new_clients(&shared);
    let Some(peer) = peer else {
        return Err(ApiError::new(ErrorCode::NotFound, "this session has no peer here").into());
    };
    Ok(Json(wake::await_wake(&shared, client, peer, looks).await?))
}

fn is_live(shared: &Shared, peer: &PeerId) -> bool {
    shared.live.presence.lock().is_live(peer) || shared.live.client_processes.has_open_client(peer)
}

/// Starts to watch for the end of the client processes whose hooks are new.
fn watch_new_clients(shared: &Arc<Shared>) {
    for client in shared.live.client_processes.new_clients() {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            tokio::select! {
                () = process::exited(&client) => {}
                () = shared.stop.cancelled() => return,
            }
            for peer in shared.live.client_processes.end(&client) {
                let noted =
                    shared.store.write(move |tx| mailbox::client_process_ended(tx, &peer)).await;
                if let Err(error) = noted {
                    tracing::warn!("the end of a client process could not be recorded: {error}");
                }
            }
        });
    }
}

/// Records that a tool has answered. If hooks are active in the session, one follows. Nothing is written
/// to the database.
pub async fn tool_answered(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    _: WriteRequest<EmptyBody>,
) -> Result<Json<Noted>, Refusal> {
    let (caller, _) = shared.store.inspect(move |tx| identity.authenticate_session(tx)).await?;
    shared.live.client_processes.tool_answered(&caller.peer);
    Ok(Json(Noted { noted: 1 }))
}

/// Records that a session was woken, by its hook or by its server.
pub async fn wake_given(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    WriteRequest { body, .. }: WriteRequest<WakeGiven>,
) -> Result<Json<Noted>, Refusal> {
    let noted = shared.store.write(move |tx| {
        only_itself(tx, &identity, &body.peer)?;
        mailbox::wake_given(tx, &body)?;
        Ok(Noted { noted: 1 })
    });
    Ok(Json(noted.await?))
}

/// Records the result of an idle check. Nothing is written to the database.
pub async fn idle_checked(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    WriteRequest { body, .. }: WriteRequest<IdleCheckResult>,
) -> Result<Json<Noted>, Refusal> {
    let noted = shared.store.update(move |tx| {
        only_itself(tx, &identity, &body.peer)?;
        mailbox::record_idle_check(tx, &body);
        Ok(Noted { noted: 1 })
    });
    Ok(Json(noted.await?))
}

fn only_itself(tx: &Tx<'_>, identity: &Identity, peer: &PeerId) -> Result<(), Fault> {
    let caller = identity.authenticate(tx)?;
    if caller.instance.is_some() && caller.peer != *peer {
        let error = ApiError::new(ErrorCode::Forbidden, "a session can only wake itself");
        return Err(error.into());
    }
    Ok(())
}

fn only_owner(identity: &Identity) -> Result<(), ApiError> {
    match identity {
        Identity::Owner | Identity::Inside(_) => Ok(()),
        Identity::Session(_) => {
            Err(ApiError::new(ErrorCode::Forbidden, "hooks call as the owner, not as a session"))
        }
    }
}
