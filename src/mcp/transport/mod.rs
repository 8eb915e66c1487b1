//! The transport that rmcp serves on: standard input and output.
//!
//! It reports two events to the rest of the server. When the client closes its end, the server
//! exits. When an answer has been written, its callbacks run: that is what makes a tool's result
//! evidence, because a message counts as read once the result that held it was written, and not
//! when the tool's function returned.
//!
//! A client that gives us sockets (Claude Code does) or pipes is read and written by the runtime
//! itself, without a thread. The descriptors are shared with every process that inherited them,
//! so they are never switched to non-blocking: each call on a socket asks not to block, and rmcp
//! opens a pipe anew.

pub mod surrogates;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use rmcp::RoleServer;
use rmcp::model::{ClientRequest, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::{StdioReader, StdioWriter, stdio_pipes};
use rustix::net::{RecvFlags, SendFlags, SocketType};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::mcp::transport::surrogates::SurrogateRepair;

type Callback = Box<dyn FnOnce() + Send>;

/// Callbacks that run once the answer to a request was written.
#[derive(Clone, Default)]
pub struct SentCallbacks(Arc<Mutex<VecDeque<(RequestId, Callback)>>>);

/// The number of callbacks that are kept. One whose answer was cancelled never runs, and is dropped
/// when newer ones need its place.
const MAX_CALLBACKS: usize = 64;

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

/// Standard input and output as an rmcp transport.
pub struct Stdio {
    inner: AsyncRwTransport<RoleServer, SurrogateRepair<Input>, Output>,
    callbacks: SentCallbacks,
    /// Cancelled when the client has closed its end.
    client_gone: CancellationToken,
    /// Whether the client has begun the handshake.
    begun: bool,
}

impl Stdio {
    /// Opens standard input and output.
    pub fn open(callbacks: SentCallbacks, client_gone: CancellationToken) -> Self {
        let (input, output) = open_streams();
        let inner = AsyncRwTransport::new_server(SurrogateRepair::new(input), output);
        Self { inner, callbacks, client_gone, begun: false }
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
        let sent = self.inner.send(item);
        async move {
            sent.await?;
            for callback in callbacks {
                callback();
            }
            Ok(())
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            let received = self.inner.receive().await;
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
        self.inner.close().await
    }
}

/// Standard input.
enum Input {
    Socket(Socket),
    Other(StdioReader),
}

/// Standard output.
enum Output {
    Socket(Socket),
    Other(StdioWriter),
}

/// Opens both, as sockets if both are.
fn open_streams() -> (Input, Output) {
    let input = Socket::new(rustix::stdio::stdin(), Interest::READABLE);
    let output = Socket::new(rustix::stdio::stdout(), Interest::WRITABLE);
    if let (Some(input), Some(output)) = (input, output) {
        return (Input::Socket(input), Output::Socket(output));
    }
    let (input, output) = stdio_pipes();
    (Input::Other(input), Output::Other(output))
}

/// A stream socket on which no call blocks.
struct Socket(AsyncFd<OwnedFd>);

impl Socket {
    /// Returns `None` for a descriptor that is not a stream socket or that cannot be polled.
    fn new(descriptor: BorrowedFd<'_>, interest: Interest) -> Option<Self> {
        let kind = rustix::net::sockopt::socket_type(descriptor).ok()?;
        if kind != SocketType::STREAM {
            return None;
        }
        let own = descriptor.try_clone_to_owned().ok()?;
        // SAFETY: the descriptor is ours, and the `AsyncFd` owns it from here on.
        unsafe { AsyncFd::register_with_interest(own, interest) }.ok().map(Self)
    }
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = match self.get_mut() {
            Self::Socket(Socket(socket)) => socket,
            Self::Other(input) => return Pin::new(input).poll_read(context, buffer),
        };
        loop {
            let mut guard = ready!(socket.poll_read_ready(context))?;
            let into = buffer.initialize_unfilled();
            let received = guard.try_io(|socket| {
                rustix::net::recv(socket, &mut *into, RecvFlags::DONTWAIT).map_err(Into::into)
            });
            match received {
                Ok(Ok((length, _))) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                // Not ready after all: the next poll registers the waker.
                Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let socket = match self.get_mut() {
            Self::Socket(Socket(socket)) => socket,
            Self::Other(output) => return Pin::new(output).poll_write(context, bytes),
        };
        loop {
            let mut guard = ready!(socket.poll_write_ready(context))?;
            let sent = guard.try_io(|socket| {
                rustix::net::send(socket, bytes, SendFlags::DONTWAIT).map_err(Into::into)
            });
            match sent {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => return Poll::Ready(result),
                // The buffer is full: the next poll registers the waker.
                Err(_) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(_) => Poll::Ready(Ok(())),
            Self::Other(output) => Pin::new(output).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            // Other processes may share the socket.
            Self::Socket(_) => Poll::Ready(Ok(())),
            Self::Other(output) => Pin::new(output).poll_shutdown(context),
        }
    }
}
