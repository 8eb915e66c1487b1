//! The receiver's side of the mailbox.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};

use super::caller::Write;
use super::errors::Refusal;
use crate::broker::Shared;
use crate::broker::engine::Identity;
use crate::broker::mailbox::{self, once};
use crate::protocol::mailbox::{Confirm, Noted, Take, Taken, Written};

pub async fn take(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Write { body, key }: Write<Take>,
) -> Result<Json<Taken>, Refusal> {
    let taken = shared.store.write(move |tx| {
        let caller = identity.resolve(tx.db)?;
        once(tx, &caller.receiver(), key.as_ref(), |tx| mailbox::take(tx, &caller, &body))
    });
    Ok(Json(taken.await?))
}

/// Saying twice that something was read changes nothing, so no key is needed.
pub async fn confirm(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Write { body, .. }: Write<Confirm>,
) -> Result<Json<Noted>, Refusal> {
    let noted = shared.store.write(move |tx| {
        let caller = identity.resolve(tx.db)?;
        mailbox::confirm(tx, &caller, &body)
    });
    Ok(Json(noted.await?))
}

/// Saying twice that something was written changes nothing, so no key is needed. One that is
/// forgotten is offered again, to a receiver that knows it: so it is a note.
pub async fn written(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Write { body, .. }: Write<Written>,
) -> Result<Json<Noted>, Refusal> {
    let noted = shared.store.note(move |tx| {
        let (caller, instance) = identity.session(tx.db)?;
        mailbox::written(tx, &caller, &instance, &body)
    });
    Ok(Json(noted.await?))
}
