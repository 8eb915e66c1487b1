//! The accept loops: who connects, how many at once, and how long they may take.
//!
//! On the Unix socket the kernel says who calls. On TCP anybody on the machine can connect, so
//! connections are few and a client that dawdles with its headers is cut off.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

use crate::broker::daemon::activation;
use crate::broker::{Shared, http};
use crate::protocol::header;
use crate::protocol::health::Tcp;
use crate::sys::trust::is_ours;

/// Connections over TCP at once. Scripts need a few; a flood is turned away.
const MAX_TCP: usize = 128;

/// Connections over the Unix socket at once: a stream and a call or two for each session.
const MAX_UNIX: usize = 4_096;

/// How many other users may be told at once that this is not their broker.
const MAX_STRANGERS: usize = 8;

/// Descriptors that the broker needs for itself.
const RESERVED: usize = 64;

/// How long a TCP client may take for its request's headers.
const HEADER_LIMIT: Duration = Duration::from_secs(10);

/// How long a TCP client may leave an answer lying before its connection ends. Without it, one
/// that asks and never reads would keep its place for ever.
#[cfg(target_os = "linux")]
const READ_LIMIT: Duration = Duration::from_secs(10);

/// How long to wait before accepting again when the system is out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// The Unix socket, from a process of the owner, with its pid where the kernel tells.
    Unix { pid: Option<u32> },
    /// The Unix socket, from another user, who is told so and nothing else.
    Stranger { uid: u32 },
    /// TCP, from anybody.
    Tcp,
}

impl Transport {
    /// The caller's pid as the broker sees it, where the kernel tells.
    #[must_use]
    pub const fn pid(self) -> Option<u32> {
        match self {
            Self::Unix { pid } => pid,
            Self::Tcp | Self::Stranger { .. } => None,
        }
    }
}

/// What serves the listeners. More may come while it runs.
pub struct Server {
    shared: Arc<Shared>,
    /// Accept loops and connections.
    tracker: TaskTracker,
    router: Router,
    unix_slots: Arc<Semaphore>,
    tcp_slots: Arc<Semaphore>,
}

impl Server {
    pub fn new(shared: &Arc<Shared>) -> Self {
        let files = raise_descriptor_limit();
        let unix_slots = files.saturating_sub(RESERVED + MAX_TCP).clamp(16, MAX_UNIX);
        Self {
            shared: Arc::clone(shared),
            tracker: TaskTracker::new(),
            router: http::router(Arc::clone(shared)),
            unix_slots: Arc::new(Semaphore::new(unix_slots)),
            tcp_slots: Arc::new(Semaphore::new(MAX_TCP)),
        }
    }

    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub fn serve_unix(&self, listener: UnixListener) {
        let acceptor = self.acceptor(&self.unix_slots);
        let accept = async move || Ok(listener.accept().await?.0);
        self.tracker.spawn(acceptor.accept_from(accept, owner));
    }

    pub fn serve_tcp(&self, listener: TcpListener) {
        let acceptor = self.acceptor(&self.tcp_slots);
        let accept = async move || Ok(listener.accept().await?.0);
        let admit = |stream: &TcpStream| {
            // An error costs a few milliseconds of latency and nothing else.
            let _ = stream.set_nodelay(true);
            end_if_unread(stream);
            Some(Transport::Tcp)
        };
        self.tracker.spawn(acceptor.accept_from(accept, admit));
    }

    /// Binds the port that we lack and serves it, unless it is forbidden; false if it is still in
    /// use.
    pub fn bind_tcp(&self) -> bool {
        if self.shared.no_port.is_some() {
            return true;
        }
        let port = self.shared.config.port.value;
        let bound = activation::bind_tcp(port)
            .and_then(|listener| adopt_tcp(vec![listener]))
            .map(|listeners| listeners.into_iter().for_each(|listener| self.serve_tcp(listener)));
        let problem = bound.err().map(|error| error.to_string());
        let listening = problem.is_none();
        if listening {
            tracing::info!(event = "port_free", "127.0.0.1:{port} was freed and is served");
        }
        self.shared.tcp.send_replace(Tcp { port, listening, inherited: false, problem });
        self.shared.changes.notify_one();
        listening
    }

    /// Waits until all connections have ended. No more listeners may come.
    pub async fn drained(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn acceptor(&self, slots: &Arc<Semaphore>) -> Acceptor {
        Acceptor {
            shared: Arc::clone(&self.shared),
            tracker: self.tracker.clone(),
            router: self.router.clone(),
            slots: Arc::clone(slots),
            strangers: Arc::new(Semaphore::new(MAX_STRANGERS)),
        }
    }
}

/// Listeners as the runtime knows them.
pub fn adopt_unix(
    listeners: Vec<std::os::unix::net::UnixListener>,
) -> io::Result<Vec<UnixListener>> {
    let adopt = |listener: std::os::unix::net::UnixListener| {
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    };
    listeners.into_iter().map(adopt).collect()
}

/// As [`adopt_unix`].
pub fn adopt_tcp(listeners: Vec<std::net::TcpListener>) -> io::Result<Vec<TcpListener>> {
    let adopt = |listener: std::net::TcpListener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    listeners.into_iter().map(adopt).collect()
}

/// Many distributions give 1,024 by default and allow far more.
fn raise_descriptor_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(8_192).min(8_192);
    if limit.current.is_some_and(|current| current < wanted) {
        let before = limit.current;
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!("the limit of open files stays: {error}");
            limit.current = before;
        }
    }
    usize::try_from(limit.current.unwrap_or(8_192)).unwrap_or(usize::MAX)
}

/// What an accept loop needs.
struct Acceptor {
    shared: Arc<Shared>,
    tracker: TaskTracker,
    router: Router,
    slots: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Acceptor {
    /// Serves whom `admit` lets in, until the broker stops.
    async fn accept_from<S>(
        self,
        accept: impl AsyncFn() -> io::Result<S>,
        admit: impl Fn(&S) -> Option<Transport>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        loop {
            let accepted = tokio::select! {
                accepted = accept() => accepted,
                () = self.shared.stop.cancelled() => return,
            };
            match accepted {
                Ok(stream) => {
                    let Some(transport) = admit(&stream) else { continue };
                    let slots = match transport {
                        Transport::Stranger { .. } => &self.strangers,
                        _ => &self.slots,
                    };
                    // A connection above the limit is closed at once: better than one that hangs.
                    if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
                        self.serve(stream, transport, slot);
                    }
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    fn serve<S>(&self, stream: S, transport: Transport, slot: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let stop = self.shared.stop.clone();
        self.tracker.spawn(async move {
            let _slot = slot;
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let mut router = router.clone();
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(transport);
                async move {
                    if is_unknown_stranger(transport, &request) {
                        // Ends the connection without an answer.
                        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
                    }
                    Ok(router.call(request).await.unwrap_or_else(|e| match e {}))
                }
            });
            let mut builder = http1::Builder::new();
            if !matches!(transport, Transport::Unix { .. }) {
                builder.timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT);
            }
            builder.keep_alive(!matches!(transport, Transport::Stranger { .. }));
            let connection = builder.serve_connection(TokioIo::new(stream), service);
            tokio::pin!(connection);
            let result = tokio::select! {
                result = connection.as_mut() => result,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = result {
                tracing::debug!("a connection ended: {error}");
            }
        });
    }

    /// A failed accept concerns one client, or means that the system has no descriptors left.
    async fn pause(&self, error: &io::Error) {
        tracing::warn!("a connection could not be accepted: {error}");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Another user who is not even a client of ours: a person in a container, whose client it is, is
/// told what is wrong, and nobody else anything.
fn is_unknown_stranger(transport: Transport, request: &Request<Body>) -> bool {
    matches!(transport, Transport::Stranger { .. })
        && !request.headers().contains_key(header::PROTOCOL)
}

/// Lets the owner in; anybody else only to be told why not.
fn owner(stream: &UnixStream) -> Option<Transport> {
    match stream.peer_cred() {
        Ok(caller) if is_ours(caller.uid()) => {
            let pid = caller.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|p| *p > 0);
            Some(Transport::Unix { pid })
        }
        Ok(caller) => {
            tracing::warn!(event = "refused", "user id {} was turned away", caller.uid());
            Some(Transport::Stranger { uid: caller.uid() })
        }
        Err(error) => {
            tracing::warn!("a caller without credentials: {error}");
            None
        }
    }
}

#[cfg(target_os = "linux")]
fn end_if_unread(stream: &TcpStream) {
    let limit = u32::try_from(READ_LIMIT.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, limit) {
        tracing::debug!("a connection without a limit for unread answers: {error}");
    }
}

/// Other systems have no such limit; the cap on connections holds all the same.
#[cfg(not(target_os = "linux"))]
fn end_if_unread(_stream: &TcpStream) {}
