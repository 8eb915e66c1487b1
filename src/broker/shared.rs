//! What all requests and all tasks of the broker share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::core::MailStore;
use crate::broker::live::LiveState;
use crate::broker::store::DatabaseStatus;
use crate::config::Config;
use crate::protocol::Timestamp;
use crate::protocol::health::{Started, Tcp};

/// The state of the running broker.
pub struct Shared {
    pub store: MailStore,
    pub live: LiveState,
    pub database: DatabaseStatus,
    /// The configuration at the start. Socket, port and database are those of this one.
    pub config: Config,
    /// The configuration that was read last, for all settings that may change while the broker runs.
    pub settings: watch::Sender<Arc<Config>>,
    /// Why the effective settings differ from those that were read last.
    pub settings_problem: watch::Sender<Option<String>>,
    /// The secret that requests over TCP must carry.
    pub token: String,
    pub protocol: u32,
    pub started: Started,
    pub started_at: Timestamp,
    /// [`Shared::started_at`] by the monotonic clock.
    pub running_since: Instant,
    pub socket_inherited: bool,
    pub tcp: watch::Sender<Tcp>,
    /// Why the TCP port must not be opened, if that is disabled.
    pub port_disabled_by: Option<String>,
    /// Notified when the status line may have changed.
    pub changes: Arc<Notify>,
    /// Cancelled when the broker is to stop.
    pub stop: CancellationToken,
    pub activity: Activity,
    pub large_answers: LargeAnswers,
    /// Held while the hook spool is drained, which only one call may do at a time.
    pub hook_spool: tokio::sync::Mutex<()>,
    /// Tasks that outlive their request and must end before the database is closed.
    pub tasks: TaskTracker,
}

/// When the broker was last in use, for the idle exit.
pub struct Activity {
    streams: watch::Receiver<usize>,
    last: Mutex<Instant>,
}

impl Activity {
    /// `streams` is the number of open event streams. The broker counts as in use now.
    #[must_use]
    pub fn new(streams: watch::Receiver<usize>) -> Self {
        Self { streams, last: Mutex::new(Instant::now()) }
    }

    /// Records a use of the broker: a request, say.
    pub fn record(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Returns when the last use was recorded.
    #[must_use]
    pub fn last_at(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the number of open event streams.
    #[must_use]
    pub fn streams(&self) -> watch::Receiver<usize> {
        self.streams.clone()
    }
}

/// How many large answers one process may leave unread at a time. Its next call waits for them, and
/// nobody else's does. All callers over TCP count as one process.
const MAX_LARGE: usize = 8;

/// From this number of processes on, those without a call under way are forgotten.
const MANY_PROCESSES: usize = 64;

/// The large answers that are under way, by the process that they go to.
#[derive(Debug, Default)]
pub struct LargeAnswers(Mutex<HashMap<Option<u32>, Arc<Semaphore>>>);

impl LargeAnswers {
    /// Waits until a process may have one more large answer. The permit is held until it is read.
    pub async fn permit(&self, pid: Option<u32>) -> Option<OwnedSemaphorePermit> {
        self.of(pid).acquire_owned().await.ok()
    }

    fn of(&self, pid: Option<u32>) -> Arc<Semaphore> {
        let mut processes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if processes.len() >= MANY_PROCESSES {
            // What is under way holds the semaphore by its permit.
            processes.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        }
        Arc::clone(processes.entry(pid).or_insert_with(|| Arc::new(Semaphore::new(MAX_LARGE))))
    }
}
