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
use crate::holder::{Holder, database_lock, holder_of, is_listening};
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

/// How often it is looked whether an earlier broker is gone.
const LOOK: Duration = Duration::from_millis(10);

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
            Self::File { .. } => {
                "Check its owner, its permissions and the free space there.".to_owned()
            }
            Self::Database(error) => error.hint(),
            Self::StoreEnded | Self::Serve(_) => "Try again.".to_owned(),
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
    let me = Holder {
        pid: std::process::id(),
        started,
        version: crate::VERSION.to_owned(),
        protocol,
        socket: paths.socket.clone(),
        fallback_reason: config.fallback_reason.clone(),
    };
    let _lock = lock(&config, &me, !inherited.unix.is_empty()).await?;
    let token = token(&paths.token).map_err(file("the token file", &paths.token))?;

    let presence = Presence::default();
    let damage = DamageReport::default();
    let engine = || Engine::new(presence.clone(), config.limits.clone(), damage.clone());
    let stop = CancellationToken::new();
    // Cancelled when the database's thread ends, so that no broker goes on without one.
    let ended = stop.child_token();
    let (store, opened) = open_store(&config, &me, engine, &ended).await?;
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
        stop,
        tasks: TaskTracker::new(),
        config,
    });
    let connections = serve::serve(&shared, unix, tcp).map_err(RunError::Serve)?;
    lifecycle::announce(&shared);
    if let Some(ready) = ready {
        ready();
    }
    lifecycle::until_stop(&shared, &ended).await;

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
    if store.close().await { Ok(()) } else { Err(RunError::StoreEnded) }
}

/// The lock on the socket's path: one broker per endpoint.
///
/// A broker that holds it and cannot be reached is on its way out, or lost its socket, or lost it
/// to the service manager that activated us: it is waited for, and asked to stop.
async fn lock(config: &Config, me: &Holder, activated: bool) -> Result<LockFile, RunError> {
    let path = &config.paths.broker_lock;
    let file = |error| RunError::File { what: "the lock file", path: path.clone(), error };
    let patience = if activated { Duration::ZERO } else { LEAVE };
    let since = Instant::now();
    let mut asked = false;
    let mut lock = loop {
        if let Some(lock) = LockFile::try_take(path).map_err(file)? {
            break lock;
        }
        let reachable = !activated && is_listening(&config.paths.socket);
        let holder = holder_of(path);
        // Whoever only looks at the lock holds it for an instant.
        let settled = since.elapsed() > Duration::from_millis(100);
        if (settled && (me.started == Started::Foreground && !activated || reachable))
            || since.elapsed() > patience + LEAVE
        {
            return Err(RunError::AlreadyRuns(process(holder.as_ref())));
        }
        if since.elapsed() >= patience
            && !asked
            && let Some(holder) = holder
        {
            tracing::warn!(event = "takeover", "process {} is asked to stop", holder.pid);
            holder.ask_to_stop();
            asked = true;
        }
        tokio::time::sleep(LOOK).await;
    };
    lock.describe(&describe(me)).map_err(file)?;
    Ok(lock)
}

fn process(holder: Option<&Holder>) -> String {
    holder.map(|holder| format!(" (process {})", holder.pid)).unwrap_or_default()
}

/// A plain struct of strings and numbers, which always serialises.
fn describe(holder: &Holder) -> String {
    serde_json::to_string(holder).unwrap_or_default()
}

/// Opens the database. One that a broker of our own socket holds, which nobody can reach any
/// more because its directory was removed, is taken over.
async fn open_store(
    config: &Config,
    me: &Holder,
    engine: impl Fn() -> Engine,
    ended: &CancellationToken,
) -> Result<(MailStore, store::Opened), RunError> {
    let since = Instant::now();
    let mut asked = false;
    loop {
        let opened = Store::open(
            config.database_path(),
            config.port.value,
            &describe(me),
            engine(),
            ended.clone(),
        );
        let error = match opened {
            Ok(opened) => return Ok(opened),
            Err(error @ OpenError::InUse { .. }) => error,
            Err(error) => return Err(error.into()),
        };
        let holder = holder_of(&database_lock(config.database_path()));
        let orphan = holder
            .filter(|holder| holder.socket == config.paths.socket && !is_listening(&holder.socket));
        let settled = since.elapsed() > Duration::from_millis(100);
        match orphan {
            Some(orphan) if !asked => {
                tracing::warn!(event = "takeover", "process {} is asked to stop", orphan.pid);
                orphan.ask_to_stop();
                asked = true;
            }
            Some(_) if since.elapsed() < LEAVE => {}
            None if asked && since.elapsed() < LEAVE => {}
            None if !settled => {}
            _ => return Err(error.into()),
        }
        tokio::time::sleep(LOOK).await;
    }
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
