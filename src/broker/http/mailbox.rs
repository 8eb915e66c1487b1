//! Taking messages and confirming them: the receiver's side of the mailbox.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};

use crate::broker::core::idempotency::{IdempotencyKey, run_once};
use crate::broker::http::identity::Identity;
use crate::broker::http::large_answers;
use crate::broker::http::long_poll::LongPoll;
use crate::broker::http::request::{Query, Refusal, Transport, WriteRequest};
use crate::broker::mailbox;
use crate::broker::mailbox::WaitingCall;
use crate::broker::shared::Shared;
use crate::protocol::mailbox::{Answered, Confirm, Noted, Take, TakeAnswer, Wait, Written};

/// Takes the unread messages. With `wait_seconds`, waits for some if there are none.
pub async fn take(
    State(shared): State<Arc<Shared>>,
    Extension(transport): Extension<Transport>,
    Extension(identity): Extension<Identity>,
    Query(wait): Query<Wait>,
    WriteRequest { body, key }: WriteRequest<Take>,
) -> Result<Response, Refusal> {
    if wait.wait_seconds > 0 {
        return take_or_wait(&shared, transport, &identity, wait, &body, key).await;
    }
    let taken = shared.store.write(move |tx| {
        let caller = identity.authenticate(tx)?;
        let receiver = caller.receiver();
        run_once(tx, &receiver, key.as_ref(), |tx| mailbox::take(tx, &caller, &receiver, &body))
    });
    large_answers::answer(&shared, transport, taken).await
}

/// Waits until there is a message that no other receiver has, and takes the messages then.
async fn take_or_wait(
    shared: &Arc<Shared>,
    transport: Transport,
    identity: &Identity,
    wait: Wait,
    body: &Take,
    key: Option<IdempotencyKey>,
) -> Result<Response, Refusal> {
    let identity = identity.clone();
    let caller = shared.store.inspect(move |tx| identity.authenticate(tx)).await?;
    let waiter = shared.live.waiters.add_for_mail(&caller.peer);
    let waiting =
        LongPoll::new(shared, WaitingCall::new(caller, key, waiter, &shared.live.sources.ids));
    // A call that only waits keeps no permit: its process may have many of them.
    let permit = || shared.large_answers.permit(transport.pid());
    let look = async |call: WaitingCall| {
        let (permit, body) = (permit().await, body.clone());
        let found = shared.store.write(move |tx| mailbox::take_if_new(tx, &call, &body)).await?;
        Ok(found.map(|taken| (permit, taken)))
    };
    let last = async |call: WaitingCall| {
        let (permit, body) = (permit().await, body.clone());
        let taken =
            shared.store.write(move |tx| mailbox::take_at_timeout(tx, &call, &body)).await?;
        Ok((permit, taken))
    };
    let (permit, taken) = waiting.until(wait, look, last).await?;
    Ok(large_answers::respond(permit, &taken).await)
}

/// Takes the reply to a message of the caller. With `wait_seconds`, waits for it.
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
    let waiting =
        LongPoll::new(&shared, WaitingCall::new(caller, key, waiter, &shared.live.sources.ids));
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

/// Confirms messages as read. A repetition has no effect, so no idempotency key is needed.
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

/// Takes the receipt for pushes. A repetition has no effect, so no idempotency key is needed. After a
/// lost receipt the push is repeated to a receiver that knows the message, so no fsync is needed, and
/// the answer may come with the next commit.
pub async fn written(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    WriteRequest { body, .. }: WriteRequest<Written>,
) -> Result<Json<Noted>, Refusal> {
    let noted = shared.store.note(move |tx| {
        let (caller, instance) = identity.authenticate_session(tx)?;
        mailbox::pushes_written(tx, &caller, &instance, &body)
    });
    Ok(Json(noted.await?))
}
