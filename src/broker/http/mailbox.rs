//! The receiver's side of the mailbox.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};

use crate::broker::core::idempotency::{IdempotencyKey, run_once};
use crate::broker::http::identity::Identity;
use crate::broker::http::long_poll::Waiting;
use crate::broker::http::request::{Query, Refusal, WriteRequest};
use crate::broker::mailbox;
use crate::broker::mailbox::WaitingCall;
use crate::broker::shared::Shared;
use crate::protocol::ApiError;
use crate::protocol::mailbox::{Answered, Confirm, Noted, Take, TakeAnswer, Taken, Wait, Written};

pub async fn take(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Query(wait): Query<Wait>,
    WriteRequest { body, key }: WriteRequest<Take>,
) -> Result<Json<Taken>, Refusal> {
    if wait.wait_seconds > 0 {
        return Ok(Json(take_news(&shared, &identity, wait, &body, key).await?));
    }
    let taken = shared.store.write(move |tx| {
        let caller = identity.authenticate(tx)?;
        let receiver = caller.receiver();
        run_once(tx, &receiver, key.as_ref(), |tx| mailbox::take(tx, &caller, &receiver, &body))
    });
    Ok(Json(taken.await?))
}

/// Waits until there is mail that nobody has, and takes what there is then.
async fn take_news(
    shared: &Arc<Shared>,
    identity: &Identity,
    wait: Wait,
    body: &Take,
    key: Option<IdempotencyKey>,
) -> Result<Taken, ApiError> {
    let identity = identity.clone();
    let caller = shared.store.inspect(move |tx| identity.authenticate(tx)).await?;
    let waiter = shared.live.waiters.add_for_mail(&caller.peer);
    let waiting = Waiting::new(shared, WaitingCall::new(caller, key, waiter));
    let look = |call: WaitingCall| {
        let body = body.clone();
        shared.store.write(move |tx| mailbox::take_if_new(tx, &call, &body))
    };
    let last = |call: WaitingCall| {
        let body = body.clone();
        shared.store.write(move |tx| mailbox::take_at_timeout(tx, &call, &body))
    };
    waiting.until(wait, look, last).await
}

/// Waits for the answer to a message of the caller's, if it is told how long.
pub async fn answer(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Query(wait): Query<Wait>,
    WriteRequest { body, key }: WriteRequest<TakeAnswer>,
) -> Result<Json<Answered>, Refusal> {
    let find = shared.store.inspect(move |tx| {
        let caller = identity.authenticate(tx)?;
        let question = mailbox::question(tx, &caller, &body.id)?;
        Ok((caller, question))
    });
    let (caller, question) = find.await?;
    let waiter = shared.live.waiters.add_for_reply(&caller.peer, question.clone());
    let waiting = Waiting::new(&shared, WaitingCall::new(caller, key, waiter));
    let look = |call: WaitingCall| {
        let question = question.clone();
        shared.store.write(move |tx| mailbox::take_answer(tx, &call, &question))
    };
    let last = |call: WaitingCall| {
        let question = question.clone();
        shared.store.write(move |tx| mailbox::answer_timeout(tx, &call, &question))
    };
    Ok(Json(waiting.until(wait, look, last).await?))
}

/// Saying twice that something was read changes nothing, so no key is needed.
pub async fn confirm(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    WriteRequest { body, .. }: WriteRequest<Confirm>,
) -> Result<Json<Noted>, Refusal> {
    let noted = shared.store.write(move |tx| {
        let caller = identity.authenticate(tx)?;
        mailbox::confirm(tx, &caller, &body)
    });
    Ok(Json(noted.await?))
}

/// Saying twice that something was written changes nothing, so no key is needed. One that is
/// forgotten is offered again, to a receiver that knows it: so it is a note.
pub async fn written(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    WriteRequest { body, .. }: WriteRequest<Written>,
) -> Result<Json<Noted>, Refusal> {
    let noted = shared.store.write_unsynced(move |tx| {
        let (caller, instance) = identity.authenticate_session(tx)?;
        mailbox::pushes_written(tx, &caller, &instance, &body)
    });
    Ok(Json(noted.await?))
}
