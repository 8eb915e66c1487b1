//! The transport that rmcp serves on: standard input and output.
//!
//! It reports two events to the rest of the server. When the client closes its end, the server
//! exits. When an answer has been written, its callbacks run: that is what makes a tool's result
//! evidence, because a message counts as read once the result that held it was written, and not
//! when the tool's function returned.

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod lines;
pub mod output;
mod streams;
mod surrogates;
mod tool_call;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use rmcp::RoleServer;
use rmcp::model::{ClientRequest, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio_util::sync::CancellationToken;

use crate::mcp::transport::lines::{CallSlot, Lines};
use crate::mcp::transport::output::{ClientLines, PushLines};
use crate::mcp::transport::streams::Input;

type Callback = Box<dyn FnOnce() + Send>;

/// Callbacks that run once the answer to a request was written.
#[derive(Clone, Default)]
pub struct SentCallbacks(Arc<Mutex<VecDeque<(RequestId, Callback)>>>);

/// The number of callbacks that are kept. One whose answer was cancelled never runs, and is dropped
/// when newer ones need its place. There are more places than a burst has answers that wait to be
/// written.
const MAX_CALLBACKS: usize = 1024;

impl SentCallbacks {
    /// Runs `callback` when the answer to `id` was written, and never if it is not.
    pub fn on_sent(&self, id: RequestId, callback: impl FnOnce() + Send + 'static) {
        let mut callbacks = self.lock();
        callbacks.push_back((id, Box::new(callback)));
        if callbacks.len() > MAX_CALLBACKS {
            callbacks.pop_front();
        }
    }

    fn take(&self, id: &RequestId) -> Vec<Callback> {
        let mut callbacks = self.lock();
        let mut taken = Vec::new();
        while let Some(at) = callbacks.iter().position(|(waiting, _)| waiting == id) {
            taken.extend(callbacks.remove(at).map(|(_, callback)| callback));
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(RequestId, Callback)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// After so many messages in a row the tasks that they began get their turn.
const MESSAGES_PER_TURN: u32 = 32;

/// Standard input and output as an rmcp transport.
pub struct Stdio {
    inner: AsyncRwTransport<RoleServer, Lines<Input>, ClientLines>,
    calls: CallSlot,
    lines: ClientLines,
    callbacks: SentCallbacks,
    /// Cancelled when the client has closed its end.
    client_gone: CancellationToken,
    /// Whether the client has begun the handshake.
    begun: bool,
    /// Messages since the last turn of other tasks.
    in_a_row: u32,
}

impl Stdio {
    /// Opens standard input and output.
    pub fn open(callbacks: SentCallbacks, client_gone: CancellationToken) -> Self {
        let (input, output) = streams::open();
        let (calls, lines) = (CallSlot::default(), ClientLines::new(Box::pin(output)));
        let inner = AsyncRwTransport::new_server(Lines::new(input, calls.clone()), lines.clone());
        Self { inner, calls, lines, callbacks, client_gone, begun: false, in_a_row: 0 }
    }

    /// Returns the way of pushes to the client.
    pub fn pushes(&self) -> PushLines {
        PushLines { lines: self.lines.clone(), stop: self.client_gone.clone() }
    }

    /// Returns the next message. Dropping the future loses nothing.
    async fn next(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        if self.in_a_row >= MESSAGES_PER_TURN {
            self.in_a_row = 0;
            tokio::task::yield_now().await;
        }
        self.in_a_row += 1;
        let mut received = pin!(self.inner.receive());
        let calls = &self.calls;
        poll_fn(|context| match received.as_mut().poll(context) {
            Poll::Pending => calls.take().map_or(Poll::Pending, |call| Poll::Ready(Some(call))),
            received @ Poll::Ready(_) => received,
        })
        .await
    }
}

impl Transport<RoleServer> for Stdio {
    type Error = io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let callbacks = match &item {
            JsonRpcMessage::Response(response) => self.callbacks.take(&response.id),
            _ => Vec::new(),
        };
        let (lines, added) = (self.lines.clone(), self.lines.add(&item));
        async move {
            lines.written(added?).await?;
            for callback in callbacks {
                callback();
            }
            Ok(())
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            let received = self.next().await;
            match &received {
                None => self.client_gone.cancel(),
                Some(JsonRpcMessage::Request(request)) => {
                    self.begun |= matches!(request.request, ClientRequest::InitializeRequest(_));
                }
                // rmcp would end at anything but a request before the handshake, for example when
                // the client cancels its own probe.
                Some(_) if !self.begun => continue,
                Some(_) => {}
            }
            return received;
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.lines.close();
        self.inner.close().await
    }
}
