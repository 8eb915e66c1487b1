//! The event stream of a session. It is open exactly as long as the session is live.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::broker::http::identity::Identity;
use crate::broker::http::request::{Refusal, Transport};
use crate::broker::http::wake;
use crate::broker::mailbox;
use crate::broker::shared::Shared;
use crate::protocol::stream::{ByeReason, Event};
use crate::protocol::{InstanceId, ProcessId};
use crate::sys::process;

/// Opens the event stream of the calling session. Only the connection tells how long the session is
/// live: until the response is dropped.
pub async fn open(
    State(shared): State<Arc<Shared>>,
    Extension(identity): Extension<Identity>,
    Extension(transport): Extension<Transport>,
) -> Result<Response, Refusal> {
    let (_, instance) = shared.store.inspect(move |tx| identity.authenticate_session(tx)).await?;
    let (sender, events) = mpsc::unbounded_channel();
    // Created before the stream is opened, so that the stream is closed again if anything fails.
    let presence = StreamGuard {
        generation: shared.live.presence.next_generation(),
        shared: Arc::clone(&shared),
        instance: instance.clone(),
        process: match transport {
            Transport::Unix { pid } => pid.and_then(process::of_pid),
            _ => None,
        },
        open: CancellationToken::new(),
    };
    let generation = presence.generation;
    let (open, woken) = (presence.open.clone(), instance.clone());
    let server = transport.pid();
    let stop = Box::pin(shared.stop.clone().cancelled_owned());
    // If the client goes away now, this function is dropped, and the transaction below runs all the
    // same. So the events must be dropped before the guard, which the order of the fields ensures:
    // either the transaction finds the channel closed, or the guard finds the stream open.
    let stream = EventStream { events, stop, ended: false, _presence: presence };
    let wakes = shared
        .store
        .write(move |tx| mailbox::open_stream(tx, &instance, generation, server, sender))
        .await?;
    failpoint!("broker.stream.opened");
    if wakes {
        let follower = Arc::clone(&shared);
        shared.tasks.spawn(async move {
            tokio::select! {
                () = open.cancelled() => {}
                () = follower.stop.cancelled() => {}
                () = wake::wake_over_stream(&follower, &woken, generation) => {}
            }
        });
    }
    Ok(([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(stream)).into_response())
}

/// Ends the presence of the session when the stream is dropped, for whatever reason.
struct StreamGuard {
    shared: Arc<Shared>,
    instance: InstanceId,
    generation: u64,
    /// The server of the session.
    process: Option<ProcessId>,
    /// Cancelled when the stream ends.
    open: CancellationToken,
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.open.cancel();
        let presence = &self.shared.live.presence;
        let Some(peer) = presence.close(&self.instance, self.generation) else { return };
        let shared = Arc::clone(&self.shared);
        if !shared.live.presence.lock().is_live(&peer) {
            shared.live.client_processes.server_disconnected(&peer, self.process.take());
        }
        self.shared.tasks.spawn(async move {
            let noted = shared.store.write(move |tx| mailbox::close_stream(tx, &peer)).await;
            if let Err(error) = noted {
                tracing::warn!("the end of an event stream could not be recorded: {error}");
            }
        });
    }
}

/// The body of the response: events as `data:` lines (server-sent events). Events that are ready at the
/// same time are coalesced into one chunk. The order of the fields matters: see [`open`].
struct EventStream {
    events: mpsc::UnboundedReceiver<Event>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
    _presence: StreamGuard,
}

/// From this size on, in bytes, no more events are added to a chunk.
const MAX_CHUNK_BYTES: usize = 256 * 1024;

impl Stream for EventStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let mut chunk = Vec::new();
        if self.stop.as_mut().poll(context).is_ready() {
            self.ended = true;
            append(&mut chunk, &Event::Bye { reason: ByeReason::Stopping });
            return Poll::Ready(Some(Ok(chunk.into())));
        }
        loop {
            let next = self.events.poll_recv(context);
            let event = if chunk.is_empty() {
                ready!(next)
            } else {
                match next {
                    Poll::Ready(event) => event,
                    Poll::Pending => break,
                }
            };
            match event {
                Some(event) => {
                    append(&mut chunk, &event);
                    if matches!(event, Event::Bye { .. }) {
                        self.ended = true;
                        break;
                    }
                    if chunk.len() > MAX_CHUNK_BYTES {
                        break;
                    }
                }
                None if chunk.is_empty() => return Poll::Ready(None),
                None => break,
            }
        }
        failpoint!("broker.offer.streamed");
        Poll::Ready(Some(Ok(chunk.into())))
    }
}

/// Appends an event, unless it cannot be serialised.
pub(super) fn append(chunk: &mut Vec<u8>, event: &impl Serialize) {
    let start = chunk.len();
    chunk.extend_from_slice(b"data: ");
    match serde_json::to_writer(&mut *chunk, event) {
        Ok(()) => chunk.extend_from_slice(b"\n\n"),
        Err(error) => {
            tracing::error!("an event cannot be serialised: {error}");
            chunk.truncate(start);
        }
    }
}
