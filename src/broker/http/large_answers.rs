//! Large answers: only a few are in memory at a time, until their callers have read them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Body as _, Frame, SizeHint};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::broker::http::request::Refusal;
use crate::broker::shared::Shared;
use crate::protocol::ApiError;

/// How many large answers may be unread at a time. The next caller waits.
pub const MAX_LARGE: usize = 8;

/// From this size on, in bytes, an answer is large.
const LARGE: u64 = 256 * 1024;

/// Answers with what `work` finds, which may be large.
pub async fn answer<T: Serialize>(
    shared: &Shared,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<Response, Refusal> {
    let permit = Arc::clone(&shared.large_answers).acquire_owned().await.ok();
    let response = Json(work.await?).into_response();
    let is_large = response.body().size_hint().exact().is_none_or(|size| size >= LARGE);
    Ok(match permit.filter(|_| is_large) {
        Some(permit) => response.map(|body| Body::new(Held { body, _permit: permit })),
        None => response,
    })
}

/// The body of a large answer.
struct Held {
    body: Body,
    _permit: OwnedSemaphorePermit,
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
