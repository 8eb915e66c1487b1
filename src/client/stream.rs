//! The event stream of a session, as its server reads it.

use std::future::poll_fn;
use std::pin::Pin;

use axum::body::{Body, Bytes};
use axum::http::Response;
use futures_core::Stream;
use hyper::body::Incoming;
use sse_stream::{Sse, SseStream};

use crate::client::error::ClientError;
use crate::protocol::stream::Event;

type Events = Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>> + Send>>;

/// An open stream. Dropping the stream makes the session away.
pub struct EventStream {
    events: Events,
}

impl EventStream {
    pub(super) fn new(response: Response<Incoming>) -> Self {
        let bytes: Pin<Box<dyn Stream<Item = Result<Bytes, axum::Error>> + Send>> =
            Box::pin(Body::new(response.into_body()).into_data_stream());
        Self { events: Box::pin(SseStream::from_bytes_stream(bytes)) }
    }

    /// Returns the next event; `None` once the broker is gone.
    ///
    /// # Errors
    ///
    /// If the stream breaks, or carries something that is not an event.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            let Some(event) = poll_fn(|context| self.events.as_mut().poll_next(context)).await
            else {
                return Ok(None);
            };
            let event = event.map_err(|error| ClientError::Broken(error.to_string()))?;
            if let Some(data) = event.data {
                return serde_json::from_str(&data)
                    .map(Some)
                    .map_err(|error| ClientError::Nonsense(error.to_string()));
            }
        }
    }
}
