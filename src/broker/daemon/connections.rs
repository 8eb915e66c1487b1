//! The open connections of a socket: how many there may be, and which are closed where others need
//! the room.
//!
//! A connection that waits for its next request costs nothing and has no time limit. In the middle of
//! a request it has one: while its head arrives, and while its answer is not read. Where all places
//! are taken, the process that holds most of them gives up the connection that has been idle longest.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// How long a caller may take to send its request's head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a caller may leave an answer unread before its connection ends.
pub const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// The same where unread answers take more than [`MAX_UNREAD_BYTES`] on all connections of a socket.
const SHORT_READ_TIMEOUT: Duration = Duration::from_secs(2);

const MAX_UNREAD_BYTES: u64 = 64 * 1024 * 1024;

/// Which part of the places is kept for processes that hold few: one in so many.
const KEPT_PART: usize = 8;

/// The connections of one socket.
#[derive(Debug)]
pub struct Connections {
    places: usize,
    /// Whether an idle connection makes room for a new one.
    is_shared: bool,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    numbers: AtomicU64,
}

/// One open connection, as its task and the others see it.
#[derive(Debug)]
pub struct Connection {
    number: u64,
    /// The process at the other end, where the kernel reports it.
    pid: Option<u32>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// When the phase began.
    since: Instant,
    /// Bytes of the answer that is under way.
    answer: u64,
    /// Since when the other side takes nothing more.
    stuck: Option<Instant>,
    /// The others need the memory of its answer.
    is_hurried: bool,
    closed: bool,
    waker: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No byte of a request has come.
    Idle,
    /// The head of a request arrives.
    Head,
    /// The request is served.
    Served,
}

impl Connections {
    /// Makes places for callers of one user: where all are taken, idle connections make room.
    #[must_use]
    pub fn shared(places: usize) -> Arc<Self> {
        Self::new(places, true)
    }

    /// Makes places for callers that may be anyone, who displace nobody.
    #[must_use]
    pub fn fixed(places: usize) -> Arc<Self> {
        Self::new(places, false)
    }

    fn new(places: usize, is_shared: bool) -> Arc<Self> {
        Arc::new(Self { places, is_shared, open: Mutex::default(), numbers: AtomicU64::new(0) })
    }

    /// Admits a connection.
    ///
    /// Returns `None` if there is no room, or only what is kept for processes that hold few.
    pub fn admit(self: &Arc<Self>, pid: Option<u32>) -> Option<Place> {
        let mut open = self.open();
        let kept = self.places / KEPT_PART;
        let full = open.len() >= self.places;
        if full && !self.is_shared {
            return None;
        }
        if self.is_shared && open.len() + kept >= self.places {
            let mut held: HashMap<Option<u32>, usize> = HashMap::new();
            for connection in open.values() {
                *held.entry(connection.pid).or_default() += 1;
            }
            let has_many = held.get(&pid).copied().unwrap_or(0) > kept / 4;
            // A process with many connections replaces one of its own.
            let victim = if has_many {
                idle_longest(open.values().filter(|one| one.pid == pid))
            } else if full {
                let most = |one: &Arc<Connection>| held.get(&one.pid).copied().unwrap_or(0);
                let top = open.values().filter(|one| one.is_idle()).map(most).max().unwrap_or(0);
                idle_longest(open.values().filter(|one| most(one) == top))
            } else {
                None
            };
            match victim {
                Some(victim) => {
                    open.remove(&victim.number);
                    victim.close();
                }
                None if full || has_many => return None,
                None => {}
            }
        }
        let connection = Arc::new(Connection {
            number: self.numbers.fetch_add(1, Ordering::Relaxed),
            pid,
            state: Mutex::new(State {
                phase: Phase::Idle,
                since: Instant::now(),
                answer: 0,
                stuck: None,
                is_hurried: false,
                closed: false,
                waker: None,
            }),
        });
        open.insert(connection.number, Arc::clone(&connection));
        Some(Place { connection, among: Arc::clone(self) })
    }

    /// Gives less time to the connections whose answers have been unread longest, if all of these take
    /// too much memory.
    fn limit_unread(&self) {
        let open = self.open();
        let unread = |one: &Arc<Connection>| {
            let state = one.state();
            state.stuck.map(|since| (since, state.answer))
        };
        let mut stuck: Vec<_> = open.values().filter_map(|one| Some((unread(one)?, one))).collect();
        let mut sum: u64 = stuck.iter().map(|((_, bytes), _)| bytes).sum();
        stuck.sort_by_key(|((since, _), _)| *since);
        for ((_, bytes), connection) in stuck {
            if sum <= MAX_UNREAD_BYTES {
                break;
            }
            sum -= bytes;
            let mut state = connection.state();
            state.is_hurried = true;
            state.wake();
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the connection that has waited longest for a request, or for the rest of its head.
fn idle_longest<'a>(of: impl Iterator<Item = &'a Arc<Connection>>) -> Option<Arc<Connection>> {
    of.filter(|one| one.is_idle()).min_by_key(|one| (one.state().since, one.number)).cloned()
}

impl Connection {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(&self) -> bool {
        self.state().phase != Phase::Served
    }

    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.wake();
    }

    /// Records that the head of a request is complete.
    pub fn begin_request(&self) {
        self.state().enter(Phase::Served);
    }

    /// Follows the answer until its last byte is handed to the transport.
    pub fn answer(self: &Arc<Self>, body: Body) -> Answer {
        self.state().answer = hyper::body::Body::size_hint(&body).exact().unwrap_or(0);
        Answer { body, connection: Arc::clone(self) }
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
    }

    /// Returns when this connection must have gone on.
    fn deadline(&self) -> Option<Instant> {
        if let Some(since) = self.stuck {
            return Some(since + if self.is_hurried { SHORT_READ_TIMEOUT } else { READ_TIMEOUT });
        }
        (self.phase == Phase::Head).then(|| self.since + HEAD_TIMEOUT)
    }
}

/// The place of a connection, which is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    pub connection: Arc<Connection>,
    among: Arc<Connections>,
}

impl Place {
    /// Watches what goes through a stream.
    pub fn watch<S>(&self, stream: S) -> Watched<S> {
        let (connection, among) = (Arc::clone(&self.connection), Arc::clone(&self.among));
        Watched { stream, connection, among }
    }

    /// Waits until the connection is to be closed: others need its place, or it is over a time limit.
    ///
    /// `serve` is polled first each time, so that a limit begins and ends with what it does. No timer
    /// runs while no limit applies.
    pub async fn serve<T>(&self, serve: impl Future<Output = T>) -> Option<T> {
        let mut serve = std::pin::pin!(serve);
        let mut timer: Option<(Instant, Pin<Box<Sleep>>)> = None;
        std::future::poll_fn(|context| {
            if let Poll::Ready(result) = serve.as_mut().poll(context) {
                return Poll::Ready(Some(result));
            }
            loop {
                let deadline = {
                    let mut state = self.connection.state();
                    if state.closed {
                        return Poll::Ready(None);
                    }
                    if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                        state.waker = Some(context.waker().clone());
                    }
                    state.deadline()
                };
                let Some(deadline) = deadline else {
                    timer = None;
                    return Poll::Pending;
                };
                if timer.as_ref().is_none_or(|(at, _)| *at != deadline) {
                    timer = Some((deadline, Box::pin(tokio::time::sleep_until(deadline))));
                }
                if let Some((_, sleep)) = &mut timer {
                    ready!(sleep.as_mut().poll(context));
                }
                timer = None;
                self.connection.state().closed = true;
            }
        })
        .await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.among.open().remove(&self.connection.number);
    }
}

/// The body of an answer. Once it is gone, the connection waits for the next request.
#[derive(Debug)]
pub struct Answer {
    body: Body,
    connection: Arc<Connection>,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.connection.state().enter(Phase::Idle);
    }
}

/// A stream that tells its connection what goes through it.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    connection: Arc<Connection>,
    among: Arc<Connections>,
}

impl<S> Watched<S> {
    /// Takes note of an attempt to write.
    fn wrote(&self, went: &Poll<io::Result<usize>>) {
        let mut state = self.connection.state();
        match went {
            Poll::Ready(_) => (state.stuck, state.is_hurried) = (None, false),
            Poll::Pending if state.stuck.is_none() => {
                state.stuck = Some(Instant::now());
                drop(state);
                self.among.limit_unread();
            }
            Poll::Pending => {}
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            let mut state = self.connection.state();
            if state.phase == Phase::Idle {
                state.enter(Phase::Head);
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(&wrote);
        wrote
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(&wrote);
        wrote
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
