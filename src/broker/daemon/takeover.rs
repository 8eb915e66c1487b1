//! One broker per endpoint and per database: an earlier broker is waited for, or asked to stop.
//!
//! When systemd or launchd binds our socket path, it replaces the socket of a client-started
//! (fallback) broker. That broker keeps serving its open connections. The next new connection
//! reaches the service manager, which starts us; we then ask the fallback broker to stop and
//! continue from its database. It finishes its requests, and its sessions reconnect to us. So until
//! that connection comes, no session notices anything, and no broker has to watch its own path.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::broker::core::{MailStore, MemoryState};
use crate::broker::daemon::listener::Server;
use crate::broker::daemon::notify;
use crate::broker::error::RunError;
use crate::broker::store::{
    DatabaseStatus, OpenError, OpenedStore, OpeningProgress, Store, StoreOptions,
};
use crate::config::Config;
use crate::endpoint::broker_lock::{Holder, Whereabouts, database_lock, holder_of};
use crate::endpoint::socket;
use crate::protocol::health::Started;
use crate::sys::files::{LockFile, describe_held};
use crate::sys::listening::{Listening, listening};

/// Pause between two looks at an earlier broker that is about to end.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The same while an earlier broker opens its database, which takes long.
const OPENING_POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A lock that is held for a shorter time belongs to a program that only reads the lock file.
const SETTLE_TIME: Duration = Duration::from_millis(100);

/// How long an earlier broker may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// How long an earlier broker may take to start, which is as long as clients wait for it.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// For how long, and how often, the port of a replaced broker is tried.
const PORT_TIMEOUT: Duration = Duration::from_secs(10);
const PORT_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The takeover by this broker, `me`, of an earlier broker's place.
pub struct Takeover<'a> {
    config: &'a Config,
    me: &'a Holder,
    /// A service manager passed us the socket, so the owner of its lock has lost it to us.
    activated: bool,
    has_replaced_broker: bool,
}

impl<'a> Takeover<'a> {
    pub fn new(config: &'a Config, me: &'a Holder, activated: bool) -> Self {
        Self { config, me, activated, has_replaced_broker: false }
    }

    /// Whether an earlier broker was asked to stop.
    #[must_use]
    pub fn has_replaced_broker(&self) -> bool {
        self.has_replaced_broker
    }

    /// Sends SIGTERM to the owner of a lock. Returns false if the owner is not proven to be a
    /// process of ours on this machine, which is then not signalled.
    fn ask_to_stop(&mut self, holder: &Holder) -> bool {
        tracing::warn!(event = "takeover", "{} is asked to stop", holder.described());
        let asked = holder.ask_to_stop();
        failpoint!("broker.takeover.asked");
        self.has_replaced_broker |= asked;
        asked
    }

    /// Whether the owner of the lock can be reached at its socket, so that it need not be replaced.
    fn is_served(&self) -> Result<bool, RunError> {
        let socket = &self.config.paths.socket;
        if self.me.started == Started::Foreground {
            return Ok(true);
        }
        match listening(socket) {
            Listening::Yes => Ok(true),
            Listening::Nobody => Ok(false),
            Listening::Unknown(error) => {
                Err(RunError::CannotLook { socket: socket.clone(), error })
            }
        }
    }

    /// Takes the endpoint's broker lock.
    ///
    /// An owner that cannot be reached is about to end, or has lost its socket, perhaps to the
    /// service manager that activated us. It is waited for, and asked to stop.
    pub async fn lock(&mut self) -> Result<LockFile, RunError> {
        let path = &self.config.paths.broker_lock;
        let file = |error| RunError::File { what: "the lock file", path: path.clone(), error };
        let grace = if self.activated { Duration::ZERO } else { STOP_TIMEOUT };
        let mut since = Instant::now();
        let mut killed = false;
        let mut lock = loop {
            if let Some(lock) = LockFile::try_take(path).map_err(file)? {
                break lock;
            }
            let holder = holder_of(path).filter(|holder| holder.pid > 0);
            if let Some(busy) = holder.as_ref().and_then(|holder| holder.busy.as_ref()) {
                // It is not stuck: another broker would have to begin with the database from the
                // start. Callers that wait for us can wait for it as well.
                if !self.activated {
                    return Err(RunError::AlreadyRuns(format!(
                        "{}, and is {busy}",
                        describe_process(holder.as_ref())
                    )));
                }
                notify::extend_start_timeout(busy);
                since = Instant::now();
                tokio::time::sleep(OPENING_POLL_INTERVAL).await;
                continue;
            }
            let waited = since.elapsed();
            let settled = waited > SETTLE_TIME;
            if waited > 2 * STOP_TIMEOUT || !self.activated && settled && self.is_served()? {
                return Err(RunError::AlreadyRuns(describe_process(holder.as_ref())));
            }
            match holder {
                // A process that may not be signalled from here is only waited for.
                Some(holder)
                    if holder.whereabouts() != Whereabouts::Here && waited >= STOP_TIMEOUT =>
                {
                    return Err(RunError::HeldElsewhere(Box::new(holder)));
                }
                Some(holder) if holder.whereabouts() != Whereabouts::Here => {}
                Some(holder) if !self.has_replaced_broker && waited >= grace => {
                    self.ask_to_stop(&holder);
                }
                // New calls come to us alone, and the callers wait. What it has accepted is in the
                // database.
                Some(holder) if self.activated && !killed && waited >= STOP_TIMEOUT => {
                    tracing::warn!(event = "takeover", "{} is killed", holder.described());
                    killed = holder.kill();
                }
                _ => {}
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        };
        self.note_upgrade(&lock);
        lock.describe(&describe_owner(self.me)).map_err(file)?;
        Ok(lock)
    }

    /// Logs a change of the version. The lock file still describes the broker before this one.
    fn note_upgrade(&self, lock: &LockFile) {
        let before = lock.description().ok().and_then(|text| serde_json::from_str(&text).ok());
        let Some(Holder { version: before, .. }) = before else { return };
        if !before.is_empty() && before != self.me.version {
            tracing::info!(event = "upgraded", "version {} replaces {before}", self.me.version);
        }
    }

    /// Opens the database.
    ///
    /// If another broker has it open, that broker is replaced if clients cannot reach it any more,
    /// because its directory was removed, or if a service manager started us in its place. A broker
    /// that is only starting is waited for.
    pub async fn open_store(
        &mut self,
        state: impl Fn() -> MemoryState,
        status: &DatabaseStatus,
        ended: &CancellationToken,
        progress: &OpeningProgress,
    ) -> Result<(MailStore, OpenedStore), RunError> {
        let config = self.config;
        let lock = database_lock(&config.database_file());
        let since = Instant::now();
        let mut asked = None;
        loop {
            let options = StoreOptions {
                path: config.database_path(),
                legacy_port: config.port,
                starting_owner: &describe_owner(self.me),
                owner: &self.listening_owner(),
                rescue_file: &config.paths.refuge(),
                status: status.clone(),
            };
            let opened = Store::open(options, state(), ended.clone(), progress);
            let error = match opened {
                Ok(opened) => return Ok(opened),
                Err(error @ OpenError::InUse { .. }) => error,
                Err(error) => return Err(error.into()),
            };
            let settled = since.elapsed() > SETTLE_TIME;
            match (holder_of(&lock), asked) {
                (_, Some(asked)) if Instant::elapsed(&asked) < STOP_TIMEOUT => {}
                (Some(holder), None) if holder.starting && since.elapsed() < START_TIMEOUT => {}
                (Some(holder), None) if self.may_replace(&holder) && self.ask_to_stop(&holder) => {
                    asked = Some(Instant::now());
                }
                (_, None) if !settled => {}
                _ => return Err(error.into()),
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Whether a broker that has our database open is to be replaced: it is in the service's place,
    /// or has lost its socket.
    fn may_replace(&self, holder: &Holder) -> bool {
        let is_ours = socket::of_database(self.config, &self.config.paths)
            .is_some_and(|ours| ours.pid == holder.pid);
        is_ours
            && holder.whereabouts() == Whereabouts::Here
            && (self.activated || listening(&holder.socket) == Listening::Nobody)
    }

    /// Returns what the lock files say about us once we listen.
    fn listening_owner(&self) -> String {
        describe_owner(&Holder { starting: false, ..self.me.clone() })
    }

    /// Writes into the lock files that we listen.
    pub fn write_listening(&self) {
        let text = self.listening_owner();
        let of_database = database_lock(&self.config.database_file());
        for path in [&self.config.paths.broker_lock, &of_database] {
            if let Err(error) = describe_held(path, &text) {
                tracing::warn!("the lock file {} cannot be written: {error}", path.display());
            }
        }
    }
}

fn describe_process(holder: Option<&Holder>) -> String {
    holder.map(|holder| format!(" ({})", holder.described())).unwrap_or_default()
}

/// Returns the text of a lock file. A plain struct of strings and numbers always serialises.
pub fn describe_owner(holder: &Holder) -> String {
    serde_json::to_string(holder).unwrap_or_default()
}

/// Tries to bind the TCP port until the replaced broker has released it.
///
/// The port's socket unit cannot start while that broker has the port, so we are started without it.
/// That broker releases its lock before it releases the port.
pub async fn regain_port(server: Arc<Server>) {
    let since = Instant::now();
    while !server.bind_tcp() && since.elapsed() < PORT_TIMEOUT {
        tokio::time::sleep(PORT_POLL_INTERVAL).await;
    }
}
