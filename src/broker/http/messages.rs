//! Sending.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};

use crate::broker::core::idempotency::{IdempotencyKey, run_once};
use crate::broker::http::identity::Identity;
use crate::broker::http::long_poll;
use crate::broker::http::request::{Refusal, WriteRequest, check_key};
use crate::broker::mailbox;
use crate::broker::mailbox::{Batch, BatchItem};
use crate::broker::shared::Shared;
use crate::protocol::bounds::Bounded as _;
use crate::protocol::messages::{
    BatchOutcome, BatchedMessage, MAX_BATCH_MESSAGES, SendBatch, SendMessage, SendToScope, Sent,
    SentBatch, SentToScope,
};
use crate::protocol::{ApiError, ErrorCode, route};

/// Sends a message to one peer.
///
/// Only here is it known whether the caller is still there: a caller that announced to wait for the
/// reply may be gone when the message is stored. So its message is stored by a task that outlives the
/// request and ends the reservation of the reply if no call comes for it.
pub async fn send(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    WriteRequest { body, key }: WriteRequest<SendMessage>,
) -> Result<Json<Sent>, Refusal> {
    let waits = body.wait;
    let work = store(Arc::clone(&shared), identity, key, body);
    match complete(&shared, waits, work).await {
        Ok(sent) => {
            log_sent(&sent);
            Ok(Json(sent))
        }
        Err(error) => {
            log_limit(&error);
            Err(error.into())
        }
    }
}

/// Sends several messages of one caller, in order.
pub async fn send_batch(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    WriteRequest { body, .. }: WriteRequest<SendBatch>,
) -> Result<Json<SentBatch>, Refusal> {
    let count = body.messages.len();
    if count > MAX_BATCH_MESSAGES {
        let error = ApiError::new(
            ErrorCode::TooLarge,
            format!("the batch has {count} messages, {MAX_BATCH_MESSAGES} are allowed"),
        );
        return Err(error.hint("Nothing was sent. Send them in several requests.").into());
    }
    let items = body.messages.into_iter().map(batch_item).collect::<Result<Vec<_>, _>>()?;
    let batch = Batch { items, again: body.again };
    let waits = batch.items.iter().any(|item| item.message.wait);
    let work = store_batch(Arc::clone(&shared), identity, batch);
    let sent = complete(&shared, waits, work).await?;
    let outcomes = sent.into_iter().map(|outcome| match outcome {
        Ok(sent) => {
            log_sent(&sent);
            BatchOutcome::Sent(Box::new(sent))
        }
        Err(error) => {
            log_limit(&error);
            BatchOutcome::Refused(error)
        }
    });
    Ok(Json(SentBatch { outcomes: outcomes.collect() }))
}

/// Carries out `work`, even if the caller goes away and it `waits`: this function is dropped then, and
/// the task is not.
async fn complete<T: Send + 'static>(
    shared: &Shared,
    waits: bool,
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    if waits {
        shared.tasks.spawn(work).await.unwrap_or_else(|_| Err(ApiError::stopping()))
    } else {
        work.await
    }
}

/// Takes the key of a message, which stands for the same request as on the route of one message.
fn batch_item(BatchedMessage { key, mut message }: BatchedMessage) -> Result<BatchItem, ApiError> {
    let request = serde_json::to_vec(&message).map_err(|error| {
        ApiError::new(ErrorCode::BadRequest, format!("the message cannot be written: {error}"))
    })?;
    let key = check_key(&key)
        .and_then(|()| message.bound())
        .map(|()| IdempotencyKey::new(&key, &[route::MESSAGES.as_bytes(), &request]));
    Ok(BatchItem { key, message })
}

/// Stores the messages in one transaction, and keeps the replies for those that wait for one.
async fn store_batch(
    shared: Arc<Shared>,
    identity: Identity,
    batch: Batch,
) -> Result<Vec<Result<Sent, ApiError>>, ApiError> {
    if batch.items.is_empty() {
        return Ok(Vec::new());
    }
    let waits: Vec<bool> = batch.items.iter().map(|item| item.message.wait).collect();
    let stored = shared.store.write(move |tx| {
        let caller = identity.authenticate(tx)?;
        let outcomes = mailbox::send_batch(tx, &caller, &batch)?;
        Ok((caller.peer, outcomes))
    });
    let (peer, outcomes) = stored.await?;
    for (outcome, _) in outcomes.iter().zip(waits).filter(|(_, waits)| *waits) {
        if let Ok(sent) = outcome {
            long_poll::expect(&shared, peer.clone(), sent.id.clone());
        }
    }
    Ok(outcomes)
}

/// Stores the message, and keeps the reply if the caller waits for it.
async fn store(
    shared: Arc<Shared>,
    identity: Identity,
    key: Option<IdempotencyKey>,
    body: SendMessage,
) -> Result<Sent, ApiError> {
    let waits = body.wait;
    let stored = shared.store.write(move |tx| {
        let caller = identity.authenticate(tx)?;
        let sent = mailbox::send_once(tx, &caller, key.as_ref(), &body)?;
        Ok((caller.peer, sent))
    });
    let (peer, sent) = stored.await?;
    if waits {
        long_poll::expect(&shared, peer, sent.id.clone());
    }
    Ok(sent)
}

/// Sends a message to each peer in a scope.
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
            (_, _, Some(refusal)) => log_limit(refusal),
            (Some(id), Some(state), None) => {
                tracing::debug!(event = "sent", mail = %id, peer = %outcome.to.id, "{state}");
            }
            _ => {}
        }
    }
    Ok(Json(sent))
}

fn log_sent(sent: &Sent) {
    tracing::debug!(event = "sent", mail = %sent.id, peer = %sent.to.id, "{}", sent.state);
}

/// Logs a refusal by a limit, for the operator.
fn log_limit(refusal: &ApiError) {
    if matches!(refusal.code, ErrorCode::RateLimited | ErrorCode::MailboxFull) {
        tracing::warn!(event = "limit_reached", "refused: {}", refusal.message);
    }
}
