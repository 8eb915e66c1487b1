//! Sending, and the history.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};

use crate::broker::core::idempotency::{IdempotencyKey, run_once};
use crate::broker::http::identity::Identity;
use crate::broker::http::long_poll;
use crate::broker::http::request::{Query, Refusal, WriteRequest};
use crate::broker::mailbox;
use crate::broker::shared::Shared;
use crate::protocol::messages::{
    ListMessages, MessageList, SendMessage, SendToScope, Sent, SentToScope,
};
use crate::protocol::{ApiError, ErrorCode, PeerId};

pub async fn send(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    WriteRequest { body, key }: WriteRequest<SendMessage>,
) -> Result<Json<Sent>, Refusal> {
    let sent = if body.wait {
        // A caller that goes now takes this function with it, and the message is stored all the
        // same: the task sees to it that its answer is not kept for nobody.
        let (tasks, shared) = (shared.tasks.clone(), Arc::clone(&shared));
        let work = tasks.spawn(async move {
            let (peer, sent) = store(&shared, identity, key, body).await?;
            long_poll::expect(&shared, peer, sent.id.clone());
            Ok(sent)
        });
        work.await.unwrap_or_else(|_| Err(ApiError::stopping()))
    } else {
        store(&shared, identity, key, body).await.map(|(_, sent)| sent)
    };
    match sent {
        Ok(sent) => {
            tracing::debug!(event = "sent", mail = %sent.id, peer = %sent.to.id, "{}", sent.state);
            Ok(Json(sent))
        }
        Err(error) => {
            report(&error);
            Err(error.into())
        }
    }
}

/// Stores the message; gives its sender, too.
async fn store(
    shared: &Shared,
    identity: Identity,
    key: Option<IdempotencyKey>,
    body: SendMessage,
) -> Result<(PeerId, Sent), ApiError> {
    let sent = shared.store.write(move |tx| {
        let caller = identity.authenticate(tx)?;
        let sent =
            run_once(tx, &caller.receiver(), key.as_ref(), |tx| mailbox::send(tx, &caller, &body))?;
        Ok((caller.peer, sent))
    });
    sent.await
}

pub async fn send_to_scope(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    WriteRequest { body, key }: WriteRequest<SendToScope>,
) -> Result<Json<SentToScope>, Refusal> {
    let sent = shared.store.write(move |tx| {
        let caller = identity.authenticate(tx)?;
        run_once(tx, &caller.receiver(), key.as_ref(), |tx| {
            mailbox::send_to_scope(tx, &caller, &body)
        })
    });
    let sent = sent.await?;
    for outcome in &sent.outcomes {
        match (&outcome.id, outcome.state, &outcome.refusal) {
            (_, _, Some(refusal)) => report(refusal),
            (Some(id), Some(state), None) => {
                tracing::debug!(event = "sent", mail = %id, peer = %outcome.to.id, "{state}");
            }
            _ => {}
        }
    }
    Ok(Json(sent))
}

/// An operator should know of limits that are met.
fn report(refusal: &ApiError) {
    if matches!(refusal.code, ErrorCode::RateLimited | ErrorCode::MailboxFull) {
        tracing::warn!(event = "limit_reached", "refused: {}", refusal.message);
    }
}

pub async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Query(query): Query<ListMessages>,
) -> Result<Json<MessageList>, Refusal> {
    let list = shared.store.inspect(move |tx| {
        let caller = identity.authenticate(tx)?;
        mailbox::list_messages(tx, &caller, &query)
    });
    Ok(Json(list.await?))
}
