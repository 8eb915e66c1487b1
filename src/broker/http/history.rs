//! The history: reading it, searching it, and deleting what is old from it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};

use crate::broker::http::identity::Identity;
use crate::broker::http::large_answers;
use crate::broker::http::request::{Query, Refusal, Transport, WriteRequest};
use crate::broker::mailbox;
use crate::broker::mailbox::PruneStep;
use crate::broker::shared::Shared;
use crate::protocol::history::{MIN_PRUNE_AGE, Prune, Pruned};
use crate::protocol::messages::{ListMessages, MessageList};
use crate::protocol::{ApiError, ErrorCode};

/// How long a search waits until all messages are indexed. Mostly a few are not.
const INDEX_PATIENCE: Duration = Duration::from_secs(1);

/// Lists messages of the history.
pub async fn list(
    State(shared): State<Arc<Shared>>,
    Extension(transport): Extension<Transport>,
    Extension(identity): Extension<Identity>,
    Query(query): Query<ListMessages>,
) -> Result<Response, Refusal> {
    large_answers::answer(&shared, transport, found(&shared, identity, query)).await
}

async fn found(
    shared: &Shared,
    identity: Identity,
    query: ListMessages,
) -> Result<MessageList, ApiError> {
    let needs_index = query.search.is_some() || query.thread.is_some();
    let unindexed = if needs_index { complete_index(shared).await? } else { 0 };
    let list = shared.store.inspect(move |tx| {
        let caller = identity.authenticate(tx)?;
        mailbox::list_messages(tx, &caller, &query)
    });
    match list.await {
        Ok(list) => Ok(MessageList { unindexed, ..list }),
        Err(error) => {
            if needs_index && error.code == ErrorCode::Storage {
                // It can be built anew at any time.
                shared.store.write(|tx| mailbox::index::drop_index(tx.db)).await?;
            }
            Err(error)
        }
    }
}

/// Indexes what is not indexed yet, as far as that is done in a short time. Returns how many messages are
/// left.
async fn complete_index(shared: &Shared) -> Result<u64, ApiError> {
    let began = Instant::now();
    let mut left = shared.store.inspect(mailbox::index::left).await?;
    while left > 0 && began.elapsed() < INDEX_PATIENCE {
        left = shared.store.write(mailbox::index::advance).await?;
    }
    Ok(left)
}

/// Deletes old messages from the history, or counts them.
pub async fn prune(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    WriteRequest { body, .. }: WriteRequest<Prune>,
) -> Result<Json<Pruned>, Refusal> {
    if !matches!(identity, Identity::Owner) {
        return Err(Refusal::new(ErrorCode::Forbidden, "a session cannot delete the history"));
    }
    if body.older_than < MIN_PRUNE_AGE {
        let error = ApiError::new(
            ErrorCode::BadRequest,
            format!("{} s is too short an age: at least a day", body.older_than),
        );
        return Err(error.into());
    }
    let age = Duration::from_secs(body.older_than);
    Ok(Json(prune_older(&shared, age, body.dry_run).await?))
}

/// Deletes messages that are older than this, in many short transactions.
pub async fn prune_older(
    shared: &Shared,
    age: Duration,
    dry_run: bool,
) -> Result<Pruned, ApiError> {
    let mut pruned = Pruned::default();
    let begin = shared.store.inspect(move |tx| {
        let millis = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        Ok(PruneStep { before: tx.now.shifted(-millis), after: 0, done: false })
    });
    let mut step = begin.await?;
    while !step.done {
        let so_far = pruned.clone();
        (step, pruned) = if dry_run {
            shared.store.inspect(move |tx| mailbox::prune_count(tx, step, so_far)).await?
        } else {
            shared.store.write(move |tx| mailbox::prune_step(tx, step, so_far)).await?
        };
    }
    if !dry_run && pruned.messages > 0 {
        tracing::info!(event = "pruned", "{} old messages were deleted", pruned.messages);
    }
    Ok(pruned)
}
