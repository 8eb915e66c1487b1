//! Standard input and output, watched: when the client closes its end we leave, and whoever
//! wants to know when an answer has gone out is told.
//!
//! The second is what makes a tool's result evidence: a message is read once the result that
//! held it was written, and not when the tool's function returned.

pub mod stdio;
pub mod surrogates;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::RoleServer;
use rmcp::model::{ClientRequest, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio_util::sync::CancellationToken;

use crate::mcp::transport::stdio::{Input, Output, stdio};
use crate::mcp::transport::surrogates::Mended;

type Hook = Box<dyn FnOnce() + Send>;

/// What is to happen once the answer to a request was written.
#[derive(Clone, Default)]
pub struct SentHooks(Arc<Mutex<VecDeque<(RequestId, Hook)>>>);

/// How many may wait at once. One whose answer was cancelled waits for ever, until it is let go.
const MAX_HOOKS: usize = 64;

impl SentHooks {
    /// Calls `hook` when the answer to `id` was written; never, if it is not.
    pub fn on_sent(&self, id: RequestId, hook: impl FnOnce() + Send + 'static) {
        let mut hooks = self.lock();
        hooks.push_back((id, Box::new(hook)));
        if hooks.len() > MAX_HOOKS {
            hooks.pop_front();
        }
    }

    fn take(&self, id: &RequestId) -> Vec<Hook> {
        let mut hooks = self.lock();
        let mut taken = Vec::new();
        while let Some(at) = hooks.iter().position(|(waiting, _)| waiting == id) {
            taken.extend(hooks.remove(at).map(|(_, hook)| hook));
        }
        taken
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(RequestId, Hook)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The transport that rmcp serves on.
pub struct Watched {
    inner: AsyncRwTransport<RoleServer, Mended<Input>, Output>,
    hooks: SentHooks,
    leave: CancellationToken,
    /// The client has begun the handshake.
    begun: bool,
}

impl Watched {
    pub fn stdio(hooks: SentHooks, leave: CancellationToken) -> Self {
        let (input, output) = stdio();
        let inner = AsyncRwTransport::new_server(Mended::new(input), output);
        Self { inner, hooks, leave, begun: false }
    }
}

impl Transport<RoleServer> for Watched {
    type Error = std::io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let hooks = match &item {
            JsonRpcMessage::Response(response) => self.hooks.take(&response.id),
            _ => Vec::new(),
        };
        let sent = self.inner.send(item);
        async move {
            sent.await?;
            for hook in hooks {
                hook();
            }
            Ok(())
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            let received = self.inner.receive().await;
            match &received {
                // The client is gone.
                None => self.leave.cancel(),
                Some(JsonRpcMessage::Request(request)) => {
                    self.begun |= matches!(request.request, ClientRequest::InitializeRequest(_));
                }
                // rmcp ends where anything but a request precedes the handshake: the client's
                // cancelling of its probe, say.
                Some(_) if !self.begun => continue,
                Some(_) => {}
            }
            return received;
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}
