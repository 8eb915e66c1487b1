//! The line about a session that a status line shows.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};

use crate::broker::http::identity::Identity;
use crate::broker::http::request::{Query, Refusal};
use crate::broker::registry;
use crate::broker::shared::Shared;
use crate::protocol::brief::{Brief, BriefStatus};

/// Describes a session in a few numbers.
pub async fn brief(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Query(query): Query<Brief>,
) -> Result<Json<BriefStatus>, Refusal> {
    let found = shared.store.inspect(move |tx| {
        let caller = identity.authenticate(tx)?;
        let session = query.session.as_deref();
        let peer = match session {
            Some(session) => registry::peer_of_session(tx, session, None)?,
            None => Some(caller.peer),
        };
        registry::brief(tx, peer.as_ref())
    });
    Ok(Json(found.await?))
}
