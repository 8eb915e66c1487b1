//! The broker: the one daemon per user that keeps peers and mail.
//!
//! [`run`] is all of it, as a library function: `main` calls it, and so do tests. It knows
//! nothing of MCP, hooks or the command line.

pub mod activation;
mod engine;
pub mod http;
mod lifecycle;
pub mod mailbox;
mod presence;
mod registry;
mod serve;
mod store;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::files::{self, LockFile};
use crate::holder::{Holder, holder};
use crate::protocol::health::{Started, Tcp};
use crate::protocol::ids::random_secret;
use crate::protocol::{PROTOCOL, Timestamp};
use activation::{Bound, Inherited};
use engine::{DamageReport, Engine, MailStore};
use presence::Presence;
pub use store::OpenError;
use store::Store;

/// How long requests under way may take to finish at shutdown.
const DRAIN: Duration = Duration::from_secs(2);

/// How long an earlier broker may take to let its lock go.
const LEAVE: Duration = Duration::from_secs(4);

/// How the broker is to run.
pub struct Options {
    pub config: Config,
    pub started: Started,
    pub inherited: Inherited,
    /// Told once the broker answers.
    pub ready: Option<Box<dyn FnOnce() + Send + Sync>>,
    /// The protocol to speak; another one than [`PROTOCOL`] only in tests of upgrades.
    pub protocol: u32,
}

impl Options {
    #[must_use]
    pub fn new(config: Config, started: Started) -> Self {
        Self { config, started, inherited: Inherited::default(), ready: None, protocol: PROTOCOL }
    }
}

/// Why the broker does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("another broker runs already{0}")]
    AlreadyRuns(String),
    #[error("{what} {path}: {error}")]
    File { what: &'static str, path: PathBuf, error: io::Error },
    #[error(transparent)]
    Database(#[from] OpenError),
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
            Self::File { .. } => {
                "Check its owner, its permissions and the free space there.".to_owned()
            }
            Self::Database(error) => error.hint(),
            Self::Serve(_) => "Try again.".to_owned(),
        }
    }
}

/// What all requests share.
pub struct Shared {
    pub store: MailStore,
    pub presence: Presence,
    pub damage: DamageReport,
    pub config: Config,
    pub token: String,
    pub protocol: u32,
    pub started: Started,
    pub started_at: Timestamp,
    pub since: Instant,
    pub tcp: Tcp,
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
    let Options { config, started, inherited, ready, protocol } = options;
    let paths = config.paths.clone();
    let file = |what, path: &std::path::Path| {
        let path = path.to_owned();
        move |error| RunError::File { what, path, error }
    };
    files::private_directory(paths.runtime())
        .map_err(file("the runtime directory", paths.runtime()))?;
    files::private_directory(paths.state()).map_err(file("the state directory", paths.state()))?;
    let _lock = lock(&config, started, protocol)?;
    let token = token(&paths.token).map_err(file("the token file", &paths.token))?;

    let presence = Presence::default();
    let damage = DamageReport::default();
    let engine = Engine::new(presence.clone(), config.limits.clone(), damage.clone());
    let (store, opened) = Store::open(config.database_path(), config.port.value, engine)?;
    report(&opened, &damage, &config);

    let (unix, bound) =
        unix_listeners(inherited.unix, &paths.socket).map_err(file("the socket", &paths.socket))?;
    let (tcp, tcp_state) = tcp_listeners(inherited.tcp, config.port.value);

    let shared = Arc::new(Shared {
        store: store.clone(),
        activity: lifecycle::Activity::new(presence.watch()),
        presence,
        damage,
        token,
        protocol,
        started,
        started_at: Timestamp::now(),
        since: Instant::now(),
        tcp: tcp_state,
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
        config,
    });
    let connections = serve::serve(&shared, unix, tcp).map_err(RunError::Serve)?;
    lifecycle::announce(&shared);
    if let Some(ready) = ready {
        ready();
    }
    lifecycle::until_stop(&shared).await;

    // From here on no new connection is taken; streams end at once, requests may finish.
    tracing::info!(event = "stopping", "the broker stops");
    if let Some(bound) = bound {
        bound.remove();
    }
    connections.close();
    let drained = tokio::time::timeout(DRAIN, connections.wait()).await;
    if drained.is_err() {
        tracing::warn!(event = "stopping", "some requests did not finish in time");
    }
    shared.tasks.close();
    // An error means that a task hangs; the database is closed behind what it has enqueued.
    let _ = tokio::time::timeout(DRAIN, shared.tasks.wait()).await;
    store.close().await;
    Ok(())
}

/// The lock on the socket's path: one broker per endpoint.
fn lock(config: &Config, started: Started, protocol: u32) -> Result<LockFile, RunError> {
    let path = &config.paths.broker_lock;
    let file = |error| RunError::File { what: "the lock file", path: path.clone(), error };
    let since = Instant::now();
    let mut asked = false;
    let mut lock = loop {
        if let Some(lock) = LockFile::try_take(path).map_err(file)? {
            break lock;
        }
        // One that has let its socket go is on its way out, or nobody can reach it any more.
        let holder = holder(&config.paths);
        let reachable = std::os::unix::net::UnixStream::connect(&config.paths.socket).is_ok();
        if started == Started::Foreground || reachable || since.elapsed() > 2 * LEAVE {
            let holder = holder.map(|h| format!(" (process {})", h.pid)).unwrap_or_default();
            return Err(RunError::AlreadyRuns(holder));
        }
        if since.elapsed() > LEAVE
            && !asked
            && let Some(holder) = holder
        {
            tracing::warn!(
                "process {} holds the lock and no socket: it is asked to stop",
                holder.pid
            );
            holder.ask_to_stop();
            asked = true;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text =
        Holder { pid: std::process::id(), started, version: crate::VERSION.to_owned(), protocol };
    let json = serde_json::to_string(&text).map_err(io::Error::from).map_err(file)?;
    lock.describe(&json).map_err(file)?;
    Ok(lock)
}

/// The secret for TCP. One that others could read, or that was cut short, is replaced.
fn token(path: &std::path::Path) -> io::Result<String> {
    use std::os::unix::fs::MetadataExt as _;
    match std::fs::metadata(path) {
        Ok(metadata)
            if metadata.mode() & 0o077 == 0 && metadata.uid() == files::effective_uid() =>
        {
            let token = std::fs::read_to_string(path)?.trim().to_owned();
            if token.len() >= 32 {
                return Ok(token);
            }
        }
        Ok(_) => tracing::warn!("{} was open to others; it gets a new token", path.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let token = random_secret();
    files::write_private(path, &format!("{token}\n"))?;
    Ok(token)
}

fn report(opened: &store::Opened, damage: &DamageReport, config: &Config) {
    let database = config.database_path().display();
    if let Some(moved) = &opened.moved_to {
        damage.set(moved.clone());
        tracing::error!(
            event = "database_damaged",
            "the database {database} was damaged; it was moved to {} and a new one serves",
            moved.display()
        );
    }
    if let Some(copy) = &opened.legacy_copy {
        tracing::warn!(
            event = "database_taken_over",
            "{database} belonged to the TypeScript claude-peers; its messages are history now, its copy is {}",
            copy.display()
        );
    }
}

fn unix_listeners(
    mut inherited: Vec<std::os::unix::net::UnixListener>,
    path: &std::path::Path,
) -> io::Result<(Vec<std::os::unix::net::UnixListener>, Option<Bound>)> {
    if !inherited.is_empty() {
        return Ok((inherited, None));
    }
    let (listener, bound) = activation::bind_unix(path)?;
    inherited.push(listener);
    Ok((inherited, Some(bound)))
}

/// A port that is in use never costs the Unix socket.
fn tcp_listeners(
    inherited: Vec<std::net::TcpListener>,
    port: u16,
) -> (Vec<std::net::TcpListener>, Tcp) {
    if !inherited.is_empty() {
        return (inherited, Tcp { port, listening: true, problem: None });
    }
    match activation::bind_tcp(port) {
        Ok(listener) => (vec![listener], Tcp { port, listening: true, problem: None }),
        Err(error) => {
            tracing::warn!(event = "port_in_use", "127.0.0.1:{port} cannot be used: {error}");
            (Vec::new(), Tcp { port, listening: false, problem: Some(error.to_string()) })
        }
    }
}
