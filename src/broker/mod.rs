//! The broker: the one daemon per user that keeps peers and mail.
//!
//! [`run`] is all of it, as a library function: `main` calls it, and so do tests. It knows
//! nothing of MCP, hooks or the command line.

mod core;
pub mod daemon;
pub mod http;
mod live;
pub mod mailbox;
mod registry;
mod store;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::daemon::activation;
use crate::broker::daemon::lifecycle;
use crate::broker::daemon::listener;
use crate::broker::daemon::notify;
use crate::broker::daemon::takeover;
use crate::config::{Config, ConfigError};
use crate::endpoint::broker_lock::{ELSEWHERE_HINT, Holder, unknown_hint};
use crate::protocol::health::{Started, Tcp};
use crate::protocol::ids::{is_secret, random_secret};
use crate::protocol::{PROTOCOL, Timestamp};
use crate::sys::files;
use crate::sys::process::Process;
use crate::sys::trust;
use crate::sys::trust::Untrusted;
use core::{MailStore, MemoryState};
use daemon::activation::{Bound, Inherited};
use daemon::listener::Server;
pub use daemon::notify::tell_failure;
use daemon::opening::Opening;
use daemon::takeover::Takeover;
use live::LiveState;
use store::Doing;
pub use store::OpenError;

/// How long requests under way may take to finish at shutdown.
const DRAIN: Duration = Duration::from_secs(2);

/// How the configuration is read.
pub type Load = fn() -> Result<Config, ConfigError>;

/// How the broker is to run.
pub struct Options {
    pub config: Config,
    pub started: Started,
    pub inherited: Inherited,
    /// Why the port is not to be bound, should somebody have forbidden it.
    pub no_port: Option<String>,
    /// Told once the broker answers.
    pub ready: Option<Box<dyn FnOnce() + Send + Sync>>,
    /// Reads the configuration again, for a reload.
    pub load: Load,
    /// The protocol to speak; another one than [`PROTOCOL`] only in tests of upgrades.
    pub protocol: u32,
}

impl Options {
    #[must_use]
    pub fn new(config: Config, started: Started) -> Self {
        Self {
            config,
            started,
            inherited: Inherited::default(),
            no_port: None,
            ready: None,
            load: Config::load,
            protocol: PROTOCOL,
        }
    }
}

/// What a socket is called that cannot be made.
const THE_SOCKET: &str = "the socket";

/// Why the broker does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("another broker runs already{0}")]
    AlreadyRuns(String),
    /// Its holder is nobody that may be signalled from here, and does not answer.
    #[error("the broker's lock {} is held by {}, which cannot be reached from here", .0.lock.display(), .0.described())]
    HeldElsewhere(Box<Holder>),
    /// Nobody can tell whether a broker runs, so none is started.
    #[error("it cannot be found out whether a broker listens at {socket}: {error}")]
    CannotLook { socket: PathBuf, error: Errno },
    #[error("{what} {path}: {error}")]
    File { what: &'static str, path: PathBuf, error: io::Error },
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    #[error(transparent)]
    Database(#[from] OpenError),
    #[error("the database's thread ended; what was acknowledged is in the database")]
    StoreEnded,
    #[error("the broker's sockets cannot be served: {0}")]
    Serve(io::Error),
}

impl RunError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::AlreadyRuns(_) => {
                "`claude-peers status` describes it, `claude-peers kill-broker` stops it."
                    .to_owned()
            }
            Self::HeldElsewhere(_) => ELSEWHERE_HINT.to_owned(),
            Self::CannotLook { socket, error } => unknown_hint(*error, socket),
            Self::File { what: THE_SOCKET, error, .. } => files::socket_hint(error),
            Self::File { error, .. } => files::hint(error),
            Self::Untrusted(error) => error.hint(),
            Self::Database(error) => error.hint(),
            Self::StoreEnded | Self::Serve(_) => "Try again.".to_owned(),
        }
    }
}

/// What all requests share.
pub struct Shared {
    pub store: MailStore,
    pub live: LiveState,
    pub database: store::Report,
    /// As it was at the start: where we serve, and from which database.
    pub config: Config,
    /// As it was last read, for all that may change while we run.
    pub settings: watch::Sender<Arc<Config>>,
    /// Why the settings in force are not those that were last read.
    pub settings_problem: watch::Sender<Option<String>>,
    pub load: Load,
    pub token: String,
    pub protocol: u32,
    pub started: Started,
    pub started_at: Timestamp,
    pub since: Instant,
    pub socket_inherited: bool,
    pub tcp: watch::Sender<Tcp>,
    /// Why the port is not to be bound, should somebody have forbidden it.
    pub no_port: Option<String>,
    /// Told when the status line may have changed.
    pub changes: Arc<Notify>,
    /// Cancelled when the broker is to stop.
    pub stop: CancellationToken,
    pub activity: lifecycle::Activity,
    /// Work that outlives its request and must end before the database is closed.
    pub tasks: TaskTracker,
}

/// Runs the broker until it is told to stop, or has been idle long enough.
///
/// # Errors
///
/// If it could not start. Nothing is then left behind.
pub async fn run(options: Options) -> Result<(), RunError> {
    let result = serve(options).await;
    if let Err(error) = &result {
        tell_failure(error);
    }
    result
}

async fn serve(options: Options) -> Result<(), RunError> {
    let Options { config, started, inherited, no_port, ready, load, protocol } = options;
    let paths = config.paths.clone();
    let file = |what, path: &std::path::Path| {
        let path = path.to_owned();
        move |error| RunError::File { what, path, error }
    };
    files::private_directory(paths.runtime())
        .map_err(file("the runtime directory", paths.runtime()))?;
    files::private_directory(paths.state()).map_err(file("the state directory", paths.state()))?;
    for path in [&paths.socket, &paths.token] {
        trust::check_way(path, &paths.home)?;
    }
    let me = Holder {
        pid: std::process::id(),
        started,
        version: crate::VERSION.to_owned(),
        protocol,
        socket: paths.socket.clone(),
        port: Some(config.port.value),
        starting: true,
        fallback_reason: config.fallback_reason.clone(),
        process: Some(Process::own()),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        busy: None,
        lock: paths.broker_lock.clone(),
    };
    let socket_inherited = inherited.has_unix(&paths.socket);
    let mut takeover = Takeover::new(&config, &me, socket_inherited);
    let lock = Arc::new(Mutex::new(takeover.lock().await?));
    let token = token(&paths.token).map_err(file("the token file", &paths.token))?;

    let live = LiveState::default();
    let database = store::Report::default();
    let changes = Arc::new(Notify::new());
    let state = || {
        let limits = config.limits.clone();
        MemoryState::new(live.clone(), limits, Arc::clone(&changes), mailbox::insert_notices)
    };
    let stop = CancellationToken::new();
    // Cancelled when the database's thread ends, so that no broker goes on without one.
    let ended = stop.child_token();
    let doing = Doing::default();
    let opening = Opening::watch(&lock, &me, &doing, &config);
    let (store, opened) = takeover.open_store(state, &database, &ended, &doing).await?;
    drop(opening);
    let took_over = takeover.happened();
    report(&opened, &database, &config);

    let listeners = Listeners::complete(inherited, &config, no_port.as_deref())?;
    takeover.listens();
    let shared = Arc::new(Shared {
        store: store.clone(),
        activity: lifecycle::Activity::new(live.presence.watch()),
        live,
        database,
        token,
        protocol,
        started,
        started_at: Timestamp::now(),
        since: Instant::now(),
        socket_inherited,
        tcp: watch::Sender::new(listeners.state),
        no_port,
        changes,
        stop,
        tasks: TaskTracker::new(),
        settings: watch::Sender::new(Arc::new(config.clone())),
        settings_problem: watch::Sender::new(None),
        load,
        config,
    });
    let server = Arc::new(Server::new(&shared));
    let unix = listener::adopt_unix(listeners.unix).map_err(RunError::Serve)?;
    let tcp = listener::adopt_tcp(listeners.tcp).map_err(RunError::Serve)?;
    // First the word that we serve, then the first answer: whoever was answered finds the service
    // active. Connections wait in the sockets meanwhile.
    let status = notify::status(&shared).await;
    lifecycle::announce(&shared, &status).await;
    if let Some(ready) = ready {
        ready();
    }
    notify::start(&shared, status);
    for listener in unix {
        server.serve_unix(listener);
    }
    for listener in tcp {
        server.serve_tcp(listener);
    }
    if took_over && !shared.tcp.borrow().listening {
        tokio::spawn(takeover::regain_port(Arc::clone(&server)));
    }
    lifecycle::until_stop(&server, &ended).await;

    // From here on no new connection is taken; streams end at once, requests may finish.
    tracing::info!(event = "stopping", "the broker stops");
    if let Some(bound) = listeners.bound {
        bound.remove();
    }
    let drained = tokio::time::timeout(DRAIN, server.drained()).await;
    if drained.is_err() {
        tracing::warn!(event = "stopping", "some requests did not finish in time");
    }
    shared.tasks.close();
    // An error means that a task hangs; the database is closed behind what it has enqueued.
    let _ = tokio::time::timeout(DRAIN, shared.tasks.wait()).await;
    if store.close().await { Ok(()) } else { Err(RunError::StoreEnded) }
}

/// The secret for TCP. What others could read, and what is no secret at all, is replaced.
fn token(path: &std::path::Path) -> io::Result<String> {
    use std::os::unix::fs::MetadataExt as _;
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(there) if there.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(there) if there.mode() & 0o077 == 0 && there.uid() == files::effective_uid() => {
            match std::fs::read_to_string(path) {
                Ok(text) if is_secret(text.trim()) => return Ok(text.trim().to_owned()),
                Err(error) if !is_unreadable(&error) => return Err(error),
                _ => tracing::warn!("{shown} held no token; it gets a new one"),
            }
        }
        Ok(_) => tracing::warn!("{shown} was open to others; it gets a new token"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let token = random_secret();
    files::write_private(path, &format!("{token}\n"))?;
    Ok(token)
}

/// Garbage, or closed to ourselves: the same the next time.
fn is_unreadable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::PermissionDenied)
}

fn report(opened: &store::Opened, report: &store::Report, config: &Config) {
    let database = config.database_path().display();
    if let Some(moved) = &opened.moved_to {
        report.set_moved_to(moved);
        tracing::error!(
            event = "database_damaged",
            "the database {database} was damaged; it was moved to {} and a new one serves",
            moved.display()
        );
    }
    if let Some(copy) = &opened.legacy_copy {
        let copy = copy.display();
        let note = if opened.taken_in_part {
            format!(
                "the database {database} was another version's or a fork's, and not all of it can be read; what can is history now, and all of it lies in {copy}"
            )
        } else {
            format!(
                "the database {database} was another version's (the TypeScript claude-peers, or a fork); its messages are history now, its copy is {copy}"
            )
        };
        tracing::warn!(event = "database_taken_over", "{note}");
        if opened.taken_in_part {
            report.set_note(&note);
        }
    }
}

/// All that is listened on.
struct Listeners {
    unix: Vec<std::os::unix::net::UnixListener>,
    tcp: Vec<std::net::TcpListener>,
    /// The Unix socket, if it is our own.
    bound: Option<Bound>,
    /// What there is of TCP.
    state: Tcp,
}

impl Listeners {
    /// What was inherited, and what is missing: a service manager may listen elsewhere than the
    /// settings say, and clients go by these. A port that is in use never costs the Unix socket.
    fn complete(
        inherited: Inherited,
        config: &Config,
        no_port: Option<&str>,
    ) -> Result<Self, RunError> {
        for foreign in &inherited.foreign {
            tracing::warn!(event = "foreign_socket", "not served: the inherited socket {foreign}");
        }
        let (has_unix, port) = (inherited.has_unix(&config.paths.socket), config.port.value);
        let has_tcp = inherited.has_tcp(port);
        let Inherited { mut unix, mut tcp, .. } = inherited;
        let mut bound = None;
        if !has_unix {
            let path = &config.paths.socket;
            let file = |error| RunError::File { what: THE_SOCKET, path: path.clone(), error };
            let (listener, ours) = activation::bind_unix(path).map_err(file)?;
            unix.push(listener);
            bound = Some(ours);
        }
        let mut state = Tcp { port, listening: true, inherited: has_tcp, problem: None };
        if let Some(why) = no_port.filter(|_| !has_tcp) {
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
