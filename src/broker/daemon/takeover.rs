//! One broker per endpoint and per database: what is in the way is waited for, or asked to stop.
//!
//! A service manager that starts its sockets puts one of its own in the place of a fallback
//! broker's path. The fallback broker goes on for the sessions that are connected to it, as if
//! nothing had happened, and needs not watch its path: the first call that it does not get goes
//! to the service manager, which starts us, and we ask it to stop. It answers what it has, sends
//! its sessions to us, and we go on from its database. Until that call nobody misses anything.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::broker::core::{MailStore, MemoryState};
use crate::broker::daemon::listener::Server;
use crate::broker::daemon::notify;
use crate::broker::store;
use crate::broker::store::{Doing, Report, Store, Wanted};
use crate::broker::{OpenError, RunError};
use crate::config::Config;
use crate::endpoint::broker_lock::{Holder, Whereabouts, database_lock, holder_of};
use crate::endpoint::socket;
use crate::protocol::health::Started;
use crate::sys::files::LockFile;
use crate::sys::listening::{Listening, listening};

/// How often it is looked whether an earlier broker is gone.
const LOOK: Duration = Duration::from_millis(10);

/// How often it is looked whether an earlier broker has done what takes it long.
const WAIT_OUT: Duration = Duration::from_millis(100);

/// How long an earlier broker may take to let its lock go.
const LEAVE: Duration = Duration::from_secs(4);

/// How long a broker that has our database may be on its way: as long as its clients wait.
const STARTING: Duration = Duration::from_secs(10);

/// How long the port of a broker that was taken over is tried for, and how often.
const PORT_LIMIT: Duration = Duration::from_secs(10);
const PORT_LOOK: Duration = Duration::from_millis(50);

/// The way into an earlier broker's place.
pub struct Takeover<'a> {
    config: &'a Config,
    me: &'a Holder,
    /// A service manager handed us the socket: whoever holds its lock has lost it to us.
    activated: bool,
    happened: bool,
}

impl<'a> Takeover<'a> {
    pub fn new(config: &'a Config, me: &'a Holder, activated: bool) -> Self {
        Self { config, me, activated, happened: false }
    }

    /// Whether an earlier broker was asked to stop.
    #[must_use]
    pub fn happened(&self) -> bool {
        self.happened
    }

    /// Asks a holder that is proven to be a process of ours here; nobody else is signalled. False
    /// if it is not.
    fn ask_to_stop(&mut self, holder: &Holder) -> bool {
        tracing::warn!(event = "takeover", "{} is asked to stop", holder.described());
        let asked = holder.ask_to_stop();
        self.happened |= asked;
        asked
    }

    /// Whether the broker that holds the lock is reached at its socket, so that nobody need take
    /// its place.
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

    /// The lock on the socket's path: one broker per endpoint.
    ///
    /// A broker that holds it and cannot be reached is on its way out, or lost its socket, or lost
    /// it to the service manager that activated us: it is waited for, and asked to stop.
    pub async fn lock(&mut self) -> Result<LockFile, RunError> {
        let path = &self.config.paths.broker_lock;
        let file = |error| RunError::File { what: "the lock file", path: path.clone(), error };
        let patience = if self.activated { Duration::ZERO } else { LEAVE };
        let mut since = Instant::now();
        let mut killed = false;
        let mut lock = loop {
            if let Some(lock) = LockFile::try_take(path).map_err(file)? {
                break lock;
            }
            let holder = holder_of(path).filter(|holder| holder.pid > 0);
            if let Some(busy) = holder.as_ref().and_then(|holder| holder.busy.as_ref()) {
                // It is not stuck, and would have to begin again. Our own callers may wait for it.
                if !self.activated {
                    return Err(RunError::AlreadyRuns(format!(
                        "{}, and is {busy}",
                        process(holder.as_ref())
                    )));
                }
                notify::tell_waiting(busy);
                since = Instant::now();
                tokio::time::sleep(WAIT_OUT).await;
                continue;
            }
            let waited = since.elapsed();
            // Whoever only looks at the lock holds it for an instant.
            let settled = waited > Duration::from_millis(100);
            if waited > 2 * LEAVE || !self.activated && settled && self.is_served()? {
                return Err(RunError::AlreadyRuns(process(holder.as_ref())));
            }
            match holder {
                // Not a process that may be signalled from here: it is only waited for.
                Some(holder) if holder.whereabouts() != Whereabouts::Here && waited >= LEAVE => {
                    return Err(RunError::HeldElsewhere(Box::new(holder)));
                }
                Some(holder) if holder.whereabouts() != Whereabouts::Here => {}
                Some(holder) if !self.happened && waited >= patience => {
                    self.ask_to_stop(&holder);
                }
                // Nobody but us gets its calls, and our callers wait. What it had accepted is in
                // the database.
                Some(holder) if self.activated && !killed && waited >= LEAVE => {
                    tracing::warn!(event = "takeover", "{} is killed", holder.described());
                    killed = holder.kill();
                }
                _ => {}
            }
            tokio::time::sleep(LOOK).await;
        };
        self.note_upgrade(&lock);
        lock.describe(&describe(self.me)).map_err(file)?;
        Ok(lock)
    }

    /// The lock file still says who served here before.
    fn note_upgrade(&self, lock: &LockFile) {
        let before = lock.description().ok().and_then(|text| serde_json::from_str(&text).ok());
        let Some(Holder { version: before, .. }) = before else { return };
        if !before.is_empty() && before != self.me.version {
            tracing::info!(
                event = "upgraded",
                "version {} serves in the place of {before}",
                self.me.version
            );
        }
    }

    /// Opens the database. A broker of ours that has it open makes way if nobody can reach it any
    /// more, because its directory was removed, or if a service manager started us in its place.
    /// One that is only on its way is waited for.
    pub async fn open_store(
        &mut self,
        state: impl Fn() -> MemoryState,
        report: &Report,
        ended: &CancellationToken,
        doing: &Doing,
    ) -> Result<(MailStore, store::Opened), RunError> {
        let config = self.config;
        let lock = database_lock(&config.database_file());
        let since = Instant::now();
        let mut asked = None;
        loop {
            let wanted = Wanted {
                path: config.database_path(),
                legacy_port: config.port.value,
                starting: &describe(self.me),
                holder: &self.serving(),
                refuge: &config.paths.refuge(),
                report: report.clone(),
            };
            let opened = Store::open(wanted, state(), ended.clone(), doing);
            let error = match opened {
                Ok(opened) => return Ok(opened),
                Err(error @ OpenError::InUse { .. }) => error,
                Err(error) => return Err(error.into()),
            };
            let settled = since.elapsed() > Duration::from_millis(100);
            match (holder_of(&lock), asked) {
                (_, Some(asked)) if Instant::elapsed(&asked) < LEAVE => {}
                (Some(holder), None) if holder.starting && since.elapsed() < STARTING => {}
                (Some(holder), None) if self.may_replace(&holder) && self.ask_to_stop(&holder) => {
                    asked = Some(Instant::now());
                }
                (_, None) if !settled => {}
                _ => return Err(error.into()),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether a broker that has our database open is to make way: it is in the service's place, or
    /// has lost its own.
    fn may_replace(&self, holder: &Holder) -> bool {
        let is_ours = socket::of_database(self.config, &self.config.paths)
            .is_some_and(|ours| ours.pid == holder.pid);
        is_ours
            && holder.whereabouts() == Whereabouts::Here
            && (self.activated || listening(&holder.socket) == Listening::Nobody)
    }

    /// What our locks say of us once we listen.
    fn serving(&self) -> String {
        describe(&Holder { starting: false, ..self.me.clone() })
    }

    /// Says in our locks that we listen.
    pub fn listens(&self) {
        let text = self.serving();
        let of_database = database_lock(&self.config.database_file());
        for path in [&self.config.paths.broker_lock, &of_database] {
            // Longer by a letter than what stands there, so that nobody finds the file empty.
            let written = OpenOptions::new()
                .write(true)
                .open(path)
                .and_then(|mut file| file.write_all(text.as_bytes()));
            if let Err(error) = written {
                tracing::warn!("{}: {error}", path.display());
            }
        }
    }
}

fn process(holder: Option<&Holder>) -> String {
    holder.map(|holder| format!(" ({})", holder.described())).unwrap_or_default()
}

/// A plain struct of strings and numbers, which always serialises.
pub fn describe(holder: &Holder) -> String {
    serde_json::to_string(holder).unwrap_or_default()
}

/// The unit for the port cannot start while an earlier broker has it, so we come without. The
/// earlier one frees it as it ends, but not in step with its lock.
pub async fn regain_port(server: Arc<Server>) {
    let since = Instant::now();
    while !server.bind_tcp() && since.elapsed() < PORT_LIMIT {
        tokio::time::sleep(PORT_LOOK).await;
    }
}
