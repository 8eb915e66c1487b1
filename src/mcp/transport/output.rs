//! What the client reads: whole lines, in the order in which they were added.
//!
//! Lines are added without waiting. Whoever waits for its line to be written writes what there is, so
//! lines that are ready at the same time leave in one write, and none waits for another to come.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use serde::Serialize;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;

/// A buffer that has grown beyond this, in bytes, is not kept.
const KEPT: usize = 64 * 1024;

/// The output of this process, or another one in tests.
pub type Stream = Pin<Box<dyn AsyncWrite + Send>>;

/// The lines on their way to the client. Clones share them.
#[derive(Clone)]
pub struct ClientLines(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    writer: tokio::sync::Mutex<Writer>,
}

/// Positions count all bytes that were ever added.
#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    added: u64,
    written: u64,
    closed: bool,
}

struct Writer {
    stream: Stream,
    /// Bytes that are being written; those before `at` are. A writer that is cancelled leaves the
    /// rest to the next one, so that no line is cut.
    bytes: Vec<u8>,
    at: usize,
    is_flushed: bool,
    /// The position of their end.
    end: u64,
}

impl ClientLines {
    pub fn new(stream: Stream) -> Self {
        let writer = Writer { stream, bytes: Vec::new(), at: 0, is_flushed: true, end: 0 };
        Self(Arc::new(Shared { queue: Mutex::default(), writer: tokio::sync::Mutex::new(writer) }))
    }

    /// Adds a line with this JSON, and returns its position for [`Self::written`].
    ///
    /// # Errors
    ///
    /// If the output is closed, or the message cannot be serialised.
    pub fn add(&self, message: &impl Serialize) -> io::Result<u64> {
        self.extend(|bytes| {
            serde_json::to_writer(&mut *bytes, message)?;
            bytes.push(b'\n');
            Ok(())
        })
    }

    /// Lets `extend` add whole lines; what it adds before it fails is dropped.
    fn extend(&self, extend: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<u64> {
        let mut queue = self.queue();
        if queue.closed {
            return Err(closed());
        }
        let before = queue.bytes.len();
        if let Err(error) = extend(&mut queue.bytes) {
            queue.bytes.truncate(before);
            return Err(error);
        }
        queue.added += (queue.bytes.len() - before) as u64;
        Ok(queue.added)
    }

    /// Waits until everything up to a position is written. Writes it, if nobody else does.
    ///
    /// # Errors
    ///
    /// If the output is closed before that, or broken.
    pub async fn written(&self, position: u64) -> io::Result<()> {
        if self.queue().written >= position {
            return Ok(());
        }
        let mut writer = self.0.writer.lock().await;
        loop {
            if let Err(error) = writer.write_all().await {
                self.close();
                return Err(error);
            }
            let mut queue = self.queue();
            queue.written = writer.end;
            if queue.written >= position {
                return Ok(());
            }
            if queue.closed {
                return Err(closed());
            }
            writer.take(&mut queue);
        }
    }

    /// Ends the output. What was added and not written is dropped.
    pub fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        queue.bytes = Vec::new();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    async fn write_all(&mut self) -> io::Result<()> {
        while self.at < self.bytes.len() {
            let length = self.stream.write(&self.bytes[self.at..]).await?;
            if length == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.at += length;
        }
        if !self.is_flushed {
            self.stream.flush().await?;
            self.is_flushed = true;
        }
        Ok(())
    }

    /// Takes all that was added.
    fn take(&mut self, queue: &mut Queue) {
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.at = 0;
        self.is_flushed = false;
        std::mem::swap(&mut self.bytes, &mut queue.bytes);
        self.end = queue.added;
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the client is gone")
}

/// What rmcp's reader writes by itself: an error for a line that is no request.
impl AsyncWrite for ClientLines {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let added = self.extend(|lines| {
            lines.extend_from_slice(bytes);
            Ok(())
        });
        Poll::Ready(added.map(|_| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (lines, position) = (self.clone(), self.queue().added);
        tokio::spawn(async move { lines.written(position).await });
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The way of pushes to the client, until the client closes its end or the server is told to stop.
#[derive(Clone)]
pub struct PushLines {
    pub lines: ClientLines,
    pub stop: CancellationToken,
}

impl PushLines {
    /// As [`ClientLines::add`].
    pub fn add(&self, message: &impl Serialize) -> io::Result<u64> {
        if self.stop.is_cancelled() { Err(closed()) } else { self.lines.add(message) }
    }

    /// As [`ClientLines::written`].
    pub async fn written(&self, position: u64) -> io::Result<()> {
        self.lines.written(position).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn lines_that_are_ready_together_leave_in_one_write_and_in_order() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let lines = ClientLines::new(Box::pin(ours));
        let positions = ["one", "two", "three"].map(|line| lines.add(&line).unwrap());
        lines.written(positions[0]).await.unwrap();
        let mut buffer = [0; 64];
        let length = theirs.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"\"one\"\n\"two\"\n\"three\"\n");
        // The others find that theirs are written.
        for position in positions {
            lines.written(position).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_writer_that_is_cancelled_in_the_middle_of_a_line_cuts_no_line() {
        let (ours, mut theirs) = tokio::io::duplex(7);
        let lines = ClientLines::new(Box::pin(ours));
        let long = "x".repeat(100);
        let first = lines.add(&long).unwrap();
        let cancelled = lines.written(first);
        let moment = std::time::Duration::from_millis(1);
        assert!(tokio::time::timeout(moment, cancelled).await.is_err());
        let last = lines.add(&"last").unwrap();
        let reader = tokio::spawn(async move {
            let mut read = String::new();
            theirs.read_to_string(&mut read).await.unwrap();
            read
        });
        let (one, other) = tokio::join!(lines.written(last), lines.written(first));
        assert!(one.is_ok() && other.is_ok());
        drop(lines);
        assert_eq!(reader.await.unwrap(), format!("\"{long}\"\n\"last\"\n"));
    }

    #[tokio::test]
    async fn a_client_that_is_gone_ends_all_that_wait() {
        let (ours, theirs) = tokio::io::duplex(7);
        let lines = ClientLines::new(Box::pin(ours));
        let positions = ["a long line", "another"].map(|line| lines.add(&line).unwrap());
        drop(theirs);
        for position in positions {
            assert!(lines.written(position).await.is_err());
        }
        assert!(lines.add(&"too late").is_err());
    }

    #[tokio::test]
    async fn a_message_that_cannot_be_serialised_leaves_nothing_of_itself() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let lines = ClientLines::new(Box::pin(ours));
        let broken = std::collections::BTreeMap::from([((1, 2), "a key that is no string")]);
        assert!(lines.add(&vec![broken]).is_err());
        lines.written(lines.add(&1).unwrap()).await.unwrap();
        let mut buffer = [0; 64];
        let length = theirs.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"1\n");
    }
}
