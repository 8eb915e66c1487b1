//! The broker from start to stop.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::core::{MailStore, MemoryState};
use crate::broker::daemon::activation::Inherited;
use crate::broker::daemon::listener;
use crate::broker::daemon::listener::{Listeners, Server};
use crate::broker::daemon::startup::StartupProgress;
use crate::broker::daemon::takeover::Takeover;
use crate::broker::daemon::{lifecycle, notify, takeover, token, upkeep};
use crate::broker::error::RunError;
use crate::broker::live::LiveState;
use crate::broker::mailbox;
use crate::broker::registry;
use crate::broker::shared::{Activity, LargeAnswers, Shared};
use crate::broker::store::{DatabaseStatus, OpenedStore, OpeningProgress};
use crate::config::Config;
use crate::endpoint::broker_lock::Holder;
use crate::protocol::PROTOCOL;
use crate::protocol::health::Started;
use crate::sys::clock;
use crate::sys::files;
use crate::sys::process;
use crate::sys::trust;

/// How long requests may take to finish at shutdown, and how long tasks may.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How the broker is to run.
pub struct Options {
    pub config: Config,
    pub started: Started,
    pub inherited: Inherited,
    /// Why the TCP port must not be opened, if that is disabled.
    pub port_disabled_by: Option<String>,
    /// Called once the broker answers.
    pub ready: Option<Box<dyn FnOnce() + Send + Sync>>,
    /// The protocol to speak. Only tests of upgrades set another one than [`PROTOCOL`].
    pub protocol: u32,
}

impl Options {
    #[must_use]
    pub fn new(config: Config, started: Started) -> Self {
        Self {
            config,
            started,
            inherited: Inherited::default(),
            port_disabled_by: None,
            ready: None,
            protocol: PROTOCOL,
        }
    }
}

/// Runs the broker until it is told to stop, or has been idle long enough.
///
/// # Errors
///
/// If it could not start. It then leaves nothing behind.
pub async fn run(options: Options) -> Result<(), RunError> {
    let result = serve(options).await;
    if let Err(error) = &result {
        notify::report_failure(error);
    }
    result
}

async fn serve(options: Options) -> Result<(), RunError> {
    let Options { config, started, inherited, port_disabled_by, ready, protocol } = options;
    let paths = config.paths.clone();
    make_directories(&config)?;
    let me = Holder {
        pid: std::process::id(),
        started,
        version: crate::VERSION.to_owned(),
        protocol,
        socket: paths.socket.clone(),
        port: Some(config.port),
        starting: true,
        fallback_reason: config.fallback_reason.clone(),
        process: Some(process::own()),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        busy: None,
        lock: paths.broker_lock.clone(),
    };
    let socket_inherited = inherited.has_unix(&paths.socket);
    let mut takeover = Takeover::new(&config, &me, socket_inherited);
    let lock = Arc::new(Mutex::new(takeover.lock().await?));
    failpoint!("broker.takeover.locked");
    let token =
        token::read_or_create(&paths.token).map_err(file_error("the token file", &paths.token))?;

    let live = LiveState::default();
    let database = DatabaseStatus::default();
    let changes = Arc::new(Notify::new());
    let state = || {
        let limits = config.limits.clone();
        MemoryState::new(live.clone(), limits, Arc::clone(&changes), mailbox::insert_notices)
    };
    let stop = CancellationToken::new();
    // Cancelled when the database thread ends, so that the broker never runs on without it.
    let ended = stop.child_token();
    let progress = OpeningProgress::default();
    let reports = StartupProgress::watch(&lock, &me, &progress, &config);
    let (store, opened) = takeover.open_store(state, &database, &ended, &progress).await?;
    drop(reports);
    failpoint!("broker.takeover.opened");
    let took_over = takeover.has_replaced_broker();
    report_opened(&opened, &database, &config);

    let listeners = Listeners::complete(inherited, &config, port_disabled_by.as_deref())?;
    takeover.write_listening();
    failpoint!("broker.takeover.listening");
    let shared = Arc::new(Shared {
        store: store.clone(),
        activity: Activity::new(live.presence.watch()),
        live,
        database,
        token,
        protocol,
        started,
        started_at: clock::now(),
        running_since: Instant::now(),
        socket_inherited,
        tcp: watch::Sender::new(listeners.state),
        port_disabled_by,
        changes,
        stop,
        large_answers: LargeAnswers::default(),
        hook_spool: tokio::sync::Mutex::default(),
        tasks: TaskTracker::new(),
        settings: watch::Sender::new(Arc::new(config.clone())),
        settings_problem: watch::Sender::new(None),
        config,
    });
    let server = Arc::new(Server::new(&shared));
    let unix = listener::adopt_unix(listeners.unix).map_err(RunError::Serve)?;
    let tcp = listener::adopt_tcp(listeners.tcp).map_err(RunError::Serve)?;
    // READY=1 goes out before the first answer, so that a client with an answer finds the service
    // active. Connections wait in the sockets meanwhile.
    let status = notify::status(&shared).await;
    lifecycle::report_ready(&shared, &status).await;
    if let Some(ready) = ready {
        ready();
    }
    notify::start(&shared, status);
    upkeep::start(&shared);
    for listener in unix {
        server.serve_unix(listener);
    }
    for listener in tcp {
        server.serve_tcp(listener);
    }
    if took_over && !shared.tcp.borrow().listening {
        tokio::spawn(takeover::regain_port(Arc::clone(&server)));
    }
    lifecycle::run_until_stop(&server, &ended).await;

    // From here on no connection is accepted. Event streams end at once, requests may finish.
    tracing::info!(event = "stopping", "the broker is stopping");
    if let Some(bound) = listeners.bound {
        bound.remove();
    }
    drain(&shared, &server, &store).await
}

/// Lets what is under way finish, and closes the database.
async fn drain(shared: &Shared, server: &Server, store: &MailStore) -> Result<(), RunError> {
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, server.drained()).await;
    if drained.is_err() {
        tracing::warn!(event = "stopping", "some requests did not finish in time");
    }
    failpoint!("broker.stop.drained");
    shared.tasks.close();
    // An error means that a task hangs. The database is closed after what it has enqueued.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, shared.tasks.wait()).await;
    // It is no reason to write a database back that was removed: its person may want an empty one.
    if let Err(error) = store.write_unsynced(registry::write_hook_reports).await {
        tracing::warn!("the times of the last hook events could not be written: {error}");
    }
    if store.close().await { Ok(()) } else { Err(RunError::StoreEnded) }
}

/// Creates the broker's directories and verifies that no other user can replace its files.
fn make_directories(config: &Config) -> Result<(), RunError> {
    let paths = &config.paths;
    files::private_directory(paths.runtime())
        .map_err(file_error("the runtime directory", paths.runtime()))?;
    files::private_directory(paths.state())
        .map_err(file_error("the state directory", paths.state()))?;
    for path in [&paths.socket, &paths.token] {
        trust::check_way(path, &paths.home)?;
    }
    trust::check_database(config.database_path(), &paths.home)?;
    Ok(())
}

fn file_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_owned();
    move |error| RunError::File { what, path, error }
}

/// Logs what opening the database has changed, and keeps it for `status`.
fn report_opened(opened: &OpenedStore, status: &DatabaseStatus, config: &Config) {
    let database = config.database_path().display();
    if let Some(moved) = &opened.moved_to {
        status.set_moved_to(moved);
        tracing::error!(
            event = "database_damaged",
            "the database {database} was damaged; it was moved to {} and a new one is in use",
            moved.display()
        );
    }
    if let Some(copy) = &opened.legacy_copy {
        let copy = copy.display();
        let origin = "was written by another program (the TypeScript claude-peers, or a fork)";
        let note = if opened.imported_in_part {
            format!(
                "the database {database} {origin}, and not all of it can be read; the readable part is in the history now, and a copy of the whole database is in {copy}"
            )
        } else {
            format!(
                "the database {database} {origin}; its messages are in the history now, and a copy of it is in {copy}"
            )
        };
        tracing::warn!(event = "database_taken_over", "{note}");
        if opened.imported_in_part {
            status.set_note(&note);
        }
    }
}
