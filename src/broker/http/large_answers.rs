//! Large answers: only a few of one process are in memory at a time, until it has read them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::Json;
use axum::body::{Body, Bytes};
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
    let response = Json(work.await?).into_response();
    let is_large = response.body().size_hint().exact().is_none_or(|size| size >= LARGE);
    Ok(match permit.filter(|_| is_large) {
        Some(permit) => {
            response.map(|body| Body::new(Parts { body, rest: Bytes::new(), _permit: permit }))
        }
        None => response,
    })
}

/// The body of a large answer, in parts that hyper takes as the other side reads them. Of the whole it
/// would take all bytes at once, and the permit would be free before they are read.
struct Parts {
    body: Body,
    /// What was not sent yet of the body's last frame.
    rest: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)).transpose()? {
                Some(frame) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                None => return Poll::Ready(None),
            }
        }
        let length = self.rest.len().min(PART);
        // A copy, because a slice would keep the whole answer.
        let part = Bytes::copy_from_slice(&self.rest.split_to(length));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
