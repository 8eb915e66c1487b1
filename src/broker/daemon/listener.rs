//! The listening sockets and their accept loops: which callers are admitted, how many connections at
//! once, and how long a client may take.
//!
//! On the Unix socket the kernel reports the caller's user, and connections may be idle for days. On TCP
//! every process on the machine can connect, so connections are few, and an idle client is disconnected.

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
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

use crate::broker::daemon::activation;
use crate::broker::daemon::activation::{BoundSocket, Inherited};
use crate::broker::daemon::connections::{Connections, HEAD_TIMEOUT, Place};
use crate::broker::daemon::impossible_clock::{is_impossible, refuse};
use crate::broker::error::{RunError, SOCKET};
use crate::broker::http;
use crate::broker::http::request::Transport;
use crate::broker::shared::Shared;
use crate::config::Config;
use crate::protocol::header;
use crate::protocol::health::Tcp;
use crate::sys::clock;
use crate::sys::trust::is_ours;

/// Limit of connections over TCP. Scripts need a few; more than that are closed at once.
const MAX_TCP: usize = 128;

/// Limit of connections over the Unix socket: an event stream and a call or two per session.
const MAX_UNIX: usize = 4_096;

/// Limit of connections from other users, which only get an error.
const MAX_UNAUTHENTICATED: usize = 8;

/// File descriptors that the broker needs for itself.
const RESERVED_DESCRIPTORS: usize = 64;

/// The most bytes of a request's head, and of what is read ahead.
const MAX_HEAD: usize = 64 * 1024;

/// How long a TCP client may leave an answer unread before its connection ends. Without this limit a
/// client that sends requests and never reads would occupy its connection for ever.
#[cfg(target_os = "linux")]
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause before the next accept when the system is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The sockets on which the broker listens.
pub struct Listeners {
    pub unix: Vec<std::os::unix::net::UnixListener>,
    pub tcp: Vec<std::net::TcpListener>,
    /// The Unix socket, if the broker has bound it itself.
    pub bound: Option<BoundSocket>,
    /// What `status` reports about TCP.
    pub state: Tcp,
}

impl Listeners {
    /// Completes the inherited sockets by those of the settings.
    ///
    /// A service manager may listen on other addresses than the settings name, and clients go by
    /// the settings. A port in use is logged and leaves the Unix socket as the only one.
    pub fn complete(
        inherited: Inherited,
        config: &Config,
        port_disabled_by: Option<&str>,
    ) -> Result<Self, RunError> {
        for foreign in &inherited.foreign {
            tracing::warn!(event = "foreign_socket", "not served: the inherited socket {foreign}");
        }
        let (has_unix, port) = (inherited.has_unix(&config.paths.socket), config.port);
        let has_tcp = inherited.has_tcp(port);
        let Inherited { mut unix, mut tcp, .. } = inherited;
        let mut bound = None;
        if !has_unix {
            let path = &config.paths.socket;
            let file = |error| RunError::File { what: SOCKET, path: path.clone(), error };
            let (listener, ours) = activation::bind_unix(path).map_err(file)?;
            unix.push(listener);
            bound = Some(ours);
        }
        let mut state = Tcp { port, listening: true, inherited: has_tcp, problem: None };
        if let Some(why) = port_disabled_by.filter(|_| !has_tcp) {
            state = Tcp { listening: false, problem: Some(why.to_owned()), ..state };
        } else if !has_tcp {
            match activation::bind_tcp(port) {
                Ok(listener) => tcp.push(listener),
                Err(error) => {
                    tracing::warn!(
                        event = "port_in_use",
                        "127.0.0.1:{port} cannot be used: {error}"
                    );
                    state = Tcp { listening: false, problem: Some(error.to_string()), ..state };
                }
            }
        }
        Ok(Self { unix, tcp, bound, state })
    }
}

/// Serves requests on all listeners. Listeners can be added while it runs.
pub struct Server {
    shared: Arc<Shared>,
    /// The tasks of all accept loops and connections.
    tracker: TaskTracker,
    router: Router,
    unix: Arc<Connections>,
    tcp: Arc<Connections>,
}

impl Server {
    pub fn new(shared: &Arc<Shared>) -> Self {
        let files = raise_descriptor_limit();
        let unix_slots = files.saturating_sub(RESERVED_DESCRIPTORS + MAX_TCP).clamp(16, MAX_UNIX);
        Self {
            shared: Arc::clone(shared),
            tracker: TaskTracker::new(),
            router: http::router(Arc::clone(shared)),
            unix: Connections::shared(unix_slots),
            tcp: Connections::fixed(MAX_TCP),
        }
    }

    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub fn serve_unix(&self, listener: UnixListener) {
        let acceptor = self.acceptor(&self.unix);
        let accept = async move || Ok(listener.accept().await?.0);
        self.tracker.spawn(acceptor.accept_from(accept, check_user));
    }

    pub fn serve_tcp(&self, listener: TcpListener) {
        let acceptor = self.acceptor(&self.tcp);
        let accept = async move || Ok(listener.accept().await?.0);
        let admit = |stream: &TcpStream| {
            // An error costs a few milliseconds of latency.
            let _ = stream.set_nodelay(true);
            end_if_unread(stream);
            Some(Transport::Tcp)
        };
        self.tracker.spawn(acceptor.accept_from(accept, admit));
    }

    /// Binds the TCP port and serves it, unless the port is disabled. Returns false if the port is
    /// still in use.
    pub fn bind_tcp(&self) -> bool {
        if self.shared.port_disabled_by.is_some() {
            return true;
        }
        let port = self.shared.config.port;
        let bound = activation::bind_tcp(port)
            .and_then(|listener| adopt_tcp(vec![listener]))
            .map(|listeners| listeners.into_iter().for_each(|listener| self.serve_tcp(listener)));
        let problem = bound.err().map(|error| error.to_string());
        let listening = problem.is_none();
        if listening {
            tracing::info!(event = "port_free", "127.0.0.1:{port} is free now and is served");
        }
        self.shared.tcp.send_replace(Tcp { port, listening, inherited: false, problem });
        self.shared.changes.notify_one();
        listening
    }

    /// Waits until all connections have ended. No listener may be added after that.
    pub async fn drained(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn acceptor(&self, connections: &Arc<Connections>) -> Acceptor {
        Acceptor {
            shared: Arc::clone(&self.shared),
            tracker: self.tracker.clone(),
            router: self.router.clone(),
            connections: Arc::clone(connections),
            unauthenticated: Connections::fixed(MAX_UNAUTHENTICATED),
        }
    }
}

/// Converts listeners to those of the runtime.
pub fn adopt_unix(
    listeners: Vec<std::os::unix::net::UnixListener>,
) -> io::Result<Vec<UnixListener>> {
    let adopt = |listener: std::os::unix::net::UnixListener| {
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    };
    listeners.into_iter().map(adopt).collect()
}

/// Does the same as [`adopt_unix`] for TCP.
pub fn adopt_tcp(listeners: Vec<std::net::TcpListener>) -> io::Result<Vec<TcpListener>> {
    let adopt = |listener: std::net::TcpListener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    };
    listeners.into_iter().map(adopt).collect()
}

/// Raises the limit of open files and returns it. Many distributions set 1,024 by default and allow
/// far more.
fn raise_descriptor_limit() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(8_192).min(8_192);
    if limit.current.is_some_and(|current| current < wanted) {
        let before = limit.current;
        limit.current = Some(wanted);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::debug!("the limit of open files cannot be raised: {error}");
            limit.current = before;
        }
    }
    usize::try_from(limit.current.unwrap_or(8_192)).unwrap_or(usize::MAX)
}

/// One accept loop.
struct Acceptor {
    shared: Arc<Shared>,
    tracker: TaskTracker,
    router: Router,
    connections: Arc<Connections>,
    unauthenticated: Arc<Connections>,
}

impl Acceptor {
    /// Serves the connections that `admit` accepts until the broker stops.
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
                    // Above the limit a connection is closed at once, which is better than one that
                    // hangs.
                    let place = match transport {
                        Transport::ForeignUser { .. } => self.unauthenticated.admit(None),
                        _ => self.connections.admit(transport.pid()),
                    };
                    if let Some(place) = place {
                        self.serve(stream, transport, place);
                    }
                    // Connections that gave up their places are closed, and requests are served, in the
                    // middle of a flood, too.
                    tokio::task::yield_now().await;
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    fn serve<S>(&self, stream: S, transport: Transport, place: Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = self.router.clone();
        let stop = self.shared.stop.clone();
        self.tracker.spawn(async move {
            if is_impossible(clock::now()) {
                return refuse(stream).await;
            }
            let connection = Arc::clone(&place.connection);
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let mut router = router.clone();
                let connection = Arc::clone(&connection);
                let mut request = request.map(Body::new);
                request.extensions_mut().insert(transport);
                connection.begin_request();
                async move {
                    if is_foreign_program(transport, &request) {
                        // Ends the connection without an answer.
                        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
                    }
                    let response = router.call(request).await.unwrap_or_else(|e| match e {});
                    Ok(response.map(|body| connection.answer(body)))
                }
            });
            let mut builder = http1::Builder::new();
            builder.max_buf_size(MAX_HEAD);
            if !matches!(transport, Transport::Unix { .. }) {
                builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            }
            builder.keep_alive(!matches!(transport, Transport::ForeignUser { .. }));
            let connection = builder.serve_connection(TokioIo::new(place.watch(stream)), service);
            let served = place.serve(async {
                tokio::pin!(connection);
                tokio::select! {
                    result = connection.as_mut() => result,
                    () = stop.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                }
            });
            let Some(result) = served.await else {
                tracing::debug!("a connection was closed: it was idle, or too slow");
                return;
            };
            if let Err(error) = result {
                tracing::debug!("a connection ended: {error}");
            }
        });
    }

    /// Waits a moment after an accept has failed, which concerns one client, or means that the system
    /// has no file descriptors left.
    async fn pause(&self, error: &io::Error) {
        tracing::warn!("cannot accept a connection: {error}");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Whether the request comes from another user and not from one of our own programs.
///
/// A claude-peers in a container may run as another user by mistake, so it gets an error that
/// explains that. Any other program gets no answer.
fn is_foreign_program(transport: Transport, request: &Request<Body>) -> bool {
    matches!(transport, Transport::ForeignUser { .. })
        && !request.headers().contains_key(header::PROTOCOL)
}

/// Admits the owner of the broker, and another user only for an error. A caller without credentials
/// is not admitted.
fn check_user(stream: &UnixStream) -> Option<Transport> {
    match stream.peer_cred() {
        Ok(caller) if is_ours(caller.uid()) => {
            let pid = caller.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|p| *p > 0);
            Some(Transport::Unix { pid })
        }
        Ok(caller) => {
            tracing::warn!(event = "refused", "a call of user id {} was refused", caller.uid());
            Some(Transport::ForeignUser { uid: caller.uid() })
        }
        Err(error) => {
            tracing::warn!("a caller was refused: the kernel reports no credentials: {error}");
            None
        }
    }
}

#[cfg(target_os = "linux")]
fn end_if_unread(stream: &TcpStream) {
    let limit = u32::try_from(READ_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(stream, limit) {
        tracing::debug!("no limit for unread answers on this connection: {error}");
    }
}

/// Other systems have no such limit. The limit of connections applies there as well.
#[cfg(not(target_os = "linux"))]
fn end_if_unread(_stream: &TcpStream) {}
