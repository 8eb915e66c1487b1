//! Large answers: only a few of one process are in memory at a time, until it has read them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use hyper::body::{Body as _, Frame, SizeHint};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::broker::http::request::{Refusal, Transport};
use crate::broker::shared::Shared;
use crate::protocol::ApiError;

/// From this size on, in bytes, an answer is large.
const LARGE: u64 = 256 * 1024;

/// In how large parts it is sent, in bytes.
const PART: usize = 64 * 1024;

/// Answers with what `work` finds, which may be large. It waits for the large answers that its process
/// has not read.
pub async fn answer<T: Serialize>(
    shared: &Shared,
    transport: Transport,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<Response, Refusal> {
    let permit = shared.large_answers.permit(transport.pid()).await;
    Ok(respond(permit, &work.await?).await)
}

/// Answers with `found`, and keeps the permit until that is read if it is large.
pub async fn respond(permit: Option<OwnedSemaphorePermit>, found: &impl Serialize) -> Response {
    let response = Json(found).into_response();
    let is_large = response.body().size_hint().exact().is_none_or(|size| size >= LARGE);
    let Some(permit) = permit.filter(|_| is_large) else { return response };
    let (head, body) = response.into_parts();
    // It is in memory already.
    let Ok(rest) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    Response::from_parts(head, Body::new(Parts { rest, _permit: permit }))
}

/// The body of a large answer, in parts that hyper takes as the other side reads them. Of the whole it
/// would take all bytes at once, and the permit would be free before they are read.
struct Parts {
    rest: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(PART);
        // A copy, because a slice would keep the whole answer.
        let part = Bytes::copy_from_slice(&self.rest.split_to(length));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
