//! What the client writes: tool calls as messages, everything else as bytes for rmcp's reader.
//!
//! A tool call waits in a slot while rmcp's reader waits for bytes, so the order of the lines is kept:
//! the reader has the whole of a line before the next one is looked at.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use rmcp::RoleServer;
use rmcp::service::RxJsonRpcMessage;
use tokio::io::{AsyncRead, ReadBuf};

use crate::mcp::transport::surrogates::repair;
use crate::mcp::transport::tool_call;

/// Bytes per read.
const CHUNK: usize = 16 * 1024;

/// A longer line is left to rmcp as it comes. A call with a message of the largest size fits.
const MAX_CALL: usize = 1024 * 1024;

/// The tool call that came last and was not taken yet.
#[derive(Clone, Default)]
pub struct CallSlot(Arc<Mutex<Option<RxJsonRpcMessage<RoleServer>>>>);

impl CallSlot {
    pub fn take(&self) -> Option<RxJsonRpcMessage<RoleServer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, call: RxJsonRpcMessage<RoleServer>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(call);
    }
}

/// The lines that `inner` reads, with half characters repaired.
///
/// As a reader it passes on everything but tool calls. A tool call goes into the slot, and the read
/// is pending without a waker: who polls it has to look into the slot as well.
pub struct Lines<R> {
    inner: R,
    calls: CallSlot,
    /// Bytes that were read. Those before `start` were passed on, and from `decided` on they may be
    /// a cut escape.
    held: Vec<u8>,
    start: usize,
    decided: usize,
    /// No line ends between `start` and here.
    searched: usize,
    /// Whether the line at `start` is being passed on.
    passing: bool,
    ended: bool,
}

impl<R> Lines<R> {
    pub fn new(inner: R, calls: CallSlot) -> Self {
        Self {
            inner,
            calls,
            held: Vec::new(),
            start: 0,
            decided: 0,
            searched: 0,
            passing: false,
            ended: false,
        }
    }

    /// Returns the place after the end of the first line, if all of it is there.
    fn line_end(&mut self) -> Option<usize> {
        let end = self.held[self.searched..self.decided].iter().position(|&byte| byte == b'\n');
        if end.is_none() {
            self.searched = self.decided;
        }
        end.map(|at| self.searched + at + 1)
    }

    fn pass_on_to(&mut self, end: usize) {
        self.start = end;
        self.searched = end;
        if self.start == self.held.len() {
            (self.start, self.decided, self.searched) = (0, 0, 0);
            if self.held.capacity() > 4 * CHUNK {
                self.held = Vec::new();
            }
            self.held.clear();
        }
    }
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// Reads more bytes.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.start > 0 {
            self.held.drain(..self.start);
            self.decided -= self.start;
            self.searched -= self.start;
            self.start = 0;
        }
        let length = self.held.len();
        self.held.resize(length + CHUNK, 0);
        let mut into = ReadBuf::new(&mut self.held[length..]);
        let read = Pin::new(&mut self.inner).poll_read(context, &mut into);
        let received = into.filled().len();
        self.held.truncate(length + received);
        ready!(read)?;
        self.ended = received == 0;
        self.decided =
            if self.ended { length } else { self.decided + repair(&mut self.held[self.decided..]) };
        Poll::Ready(Ok(()))
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Lines<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.passing {
                match this.line_end() {
                    Some(end) => match tool_call::read(&this.held[this.start..end]) {
                        Some(call) => {
                            this.pass_on_to(end);
                            this.calls.put(call);
                            return Poll::Pending;
                        }
                        None => this.passing = true,
                    },
                    None => this.passing = this.ended || this.decided - this.start > MAX_CALL,
                }
            }
            if this.passing && (this.start < this.decided || this.ended) {
                let most = buffer.remaining().min(this.decided - this.start);
                let piece = &this.held[this.start..this.start + most];
                let length = piece.iter().position(|&byte| byte == b'\n').map_or(most, |at| at + 1);
                let piece = &piece[..length];
                buffer.put_slice(piece);
                this.passing = piece.last() != Some(&b'\n');
                this.pass_on_to(this.start + length);
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_fill(context))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::mcp::transport::surrogates::tests::CASES;

    /// Reads its bytes in pieces of one size.
    struct Pieces<'a>(&'a [u8], usize);

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let (piece, rest) = self.0.split_at(self.1.min(self.0.len()).min(buffer.remaining()));
            buffer.put_slice(piece);
            self.0 = rest;
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn half_characters_are_replaced_however_the_bytes_come() {
        for (given, wanted) in CASES {
            for size in 1..=given.len() {
                let mut read = String::new();
                let mut reader = Lines::new(Pieces(given.as_bytes(), size), CallSlot::default());
                reader.read_to_string(&mut read).await.unwrap();
                assert_eq!(read, wanted, "{given:?} in pieces of {size}");
            }
        }
    }

    #[tokio::test]
    async fn tool_calls_and_other_lines_come_in_their_order_however_the_bytes_come() {
        let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a\ud83d"}}"#;
        let long = format!("{}\n", "x".repeat(20_000));
        let given = format!("{call}\n{call}\r\n\nother\n{call}\n{long}{call}\n{call}, cut");
        let wanted = format!("CC\nother\nC{long}C{call}, cut").replace("\\ud83d", "\\ufffd");
        for size in (1..200).chain([1_000, 16_384, given.len()]) {
            let calls = CallSlot::default();
            let mut lines = Lines::new(Pieces(given.as_bytes(), size), calls.clone());
            let mut read = String::new();
            loop {
                let mut buffer = [0; 100];
                let mut piece = ReadBuf::new(&mut buffer);
                let next = |context: &mut Context<'_>| {
                    Poll::Ready(Pin::new(&mut lines).poll_read(context, &mut piece))
                };
                match std::future::poll_fn(next).await {
                    Poll::Pending => {
                        calls.take().expect("a call is in the slot");
                        read.push('C');
                    }
                    Poll::Ready(_) if piece.filled().is_empty() => break,
                    Poll::Ready(_) => read.push_str(std::str::from_utf8(piece.filled()).unwrap()),
                }
            }
            assert_eq!(read, wanted, "in pieces of {size}");
        }
    }
}
