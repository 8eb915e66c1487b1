//! A session's hook events.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};

use super::caller::Write;
use super::errors::Refusal;
use crate::broker::Shared;
use crate::broker::engine::Identity;
use crate::broker::mailbox;
use crate::protocol::hook::{HookEvent, HookMail};
use crate::protocol::{ApiError, ErrorCode};

/// A hook is called once and never again, so no key is needed. It has no session's secret: it acts
/// for the owner, whose sessions they all are.
pub async fn hook(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Write { body, .. }: Write<HookEvent>,
) -> Result<Json<HookMail>, Refusal> {
    if !matches!(identity, Identity::Owner) {
        return Err(ApiError::new(ErrorCode::Forbidden, "a session has no hooks to call").into());
    }
    let mail = shared.store.write(move |tx| mailbox::hook(tx, &body));
    Ok(Json(mail.await?))
}
