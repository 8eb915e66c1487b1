//! The fuzzers' entry point.

// Like a test, it fails loudly.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use rmcp::RoleServer;
use rmcp::service::RxJsonRpcMessage;
use tokio::io::{AsyncRead, ReadBuf};

use crate::mcp::transport::lines::{CallSlot, Lines};
use crate::mcp::transport::tool_call;

/// Lines mean the same in whatever pieces they come, and a tool call that is read in one pass is
/// what rmcp would read.
///
/// The first byte is the size of the pieces.
pub fn lines(data: &[u8]) {
    let Some((size, data)) = data.split_first() else { return };
    let whole = read(data, data.len().max(1));
    let pieces = read(data, usize::from(*size).max(1));
    assert_eq!(whole, pieces, "in pieces of {size}");
    for line in data.split_inclusive(|byte| *byte == b'\n') {
        let Some(call) = tool_call::read(line) else { continue };
        let rmcp: RxJsonRpcMessage<RoleServer> = serde_json::from_slice(line).unwrap();
        assert_eq!(serde_json::to_string(&call).unwrap(), serde_json::to_string(&rmcp).unwrap());
    }
}

/// Returns what comes through: the calls, and between them the bytes for rmcp.
fn read(data: &[u8], size: usize) -> Vec<Vec<u8>> {
    let calls = CallSlot::default();
    let mut lines = Lines::new(Chunks { data, size }, calls.clone());
    let mut found = vec![Vec::new()];
    let mut context = Context::from_waker(Waker::noop());
    loop {
        let mut room = [0; 512];
        let mut into = ReadBuf::new(&mut room);
        match Pin::new(&mut lines).poll_read(&mut context, &mut into) {
            Poll::Ready(Ok(())) if into.filled().is_empty() => return found,
            Poll::Ready(Ok(())) => found.last_mut().unwrap().extend_from_slice(into.filled()),
            Poll::Ready(Err(error)) => panic!("{error}"),
            Poll::Pending => {
                let call = calls.take().expect("bytes are there, so only a call makes it wait");
                found.push(serde_json::to_vec(&call).unwrap());
                found.push(Vec::new());
            }
        }
    }
}

/// A reader that has all of its bytes, and gives at most `size` of them at once.
struct Chunks<'a> {
    data: &'a [u8],
    size: usize,
}

impl AsyncRead for Chunks<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let most = this.size.min(into.remaining()).min(this.data.len());
        let mut piece = &this.data[..most];
        ready!(Pin::new(&mut piece).poll_read(context, into))?;
        this.data = &this.data[most..];
        Poll::Ready(Ok(()))
    }
}
