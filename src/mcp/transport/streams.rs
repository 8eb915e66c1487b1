//! Standard input and output, read and written by the runtime itself where they are sockets or pipes.
//!
//! The descriptors are shared with every process that inherited them, so they are never switched to
//! non-blocking: each call on a socket asks not to block, and rmcp opens a pipe anew.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rmcp::transport::{StdioReader, StdioWriter, stdio_pipes};
use rustix::net::{RecvFlags, SendFlags, SocketType};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// Standard input.
pub enum Input {
    Socket(Socket),
    Other(StdioReader),
}

/// Standard output.
pub enum Output {
    Socket(Socket),
    Other(StdioWriter),
}

/// Opens both, as sockets if both are.
pub fn open() -> (Input, Output) {
    let input = Socket::new(rustix::stdio::stdin(), Interest::READABLE);
    let output = Socket::new(rustix::stdio::stdout(), Interest::WRITABLE);
    if let (Some(input), Some(output)) = (input, output) {
        return (Input::Socket(input), Output::Socket(output));
    }
    let (input, output) = stdio_pipes();
    (Input::Other(input), Output::Other(output))
}

/// A stream socket on which no call blocks.
pub struct Socket(AsyncFd<OwnedFd>);

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
