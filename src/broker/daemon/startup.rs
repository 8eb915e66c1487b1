//! Progress reports while the database is opened.
//!
//! That may take long: a legacy database with much history is imported, a large database is checked
//! after a crash, a disk is slow. Meanwhile the broker's lock files say what is being done, which
//! clients read without a call, and the service manager is asked for more time. The thread that will
//! serve requests is busy with the database, so another thread reports.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::broker::daemon::notify;
use crate::broker::daemon::takeover::describe_owner;
use crate::broker::store::OpeningProgress;
use crate::config::Config;
use crate::endpoint::broker_lock::{Holder, database_lock, holder_of};
use crate::sys::files::{LockFile, describe_held};

/// A database that is open before this time needs no report.
const REPORT_AFTER: Duration = Duration::from_millis(500);

/// Pause between two reports.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Reports the progress of opening the database until it is dropped.
pub struct StartupProgress {
    locks: Locks,
    me: Holder,
    thread: Option<(Sender<()>, JoinHandle<bool>)>,
}

impl StartupProgress {
    /// Starts the thread that reports. `lock` is the lock of the endpoint, and `me` its description.
    pub fn watch(
        lock: &Arc<Mutex<LockFile>>,
        me: &Holder,
        progress: &OpeningProgress,
        config: &Config,
    ) -> Self {
        let of_database = database_lock(&config.database_file());
        let locks = Locks { of_socket: Arc::clone(lock), of_database };
        let (end, ended) = channel::<()>();
        let (reported, owner, progress) = (locks.clone(), me.clone(), progress.clone());
        let database = config.database_path().to_owned();
        let watch = move || {
            let mut pause = REPORT_AFTER;
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                report(&reported, &owner, &progress.describe(&database), pause == REPORT_AFTER);
                pause = REPORT_INTERVAL;
            }
            pause == REPORT_INTERVAL
        };
        // Without the thread there are no reports, and opening takes as long as it takes.
        let thread = std::thread::Builder::new().name("opening".to_owned()).spawn(watch).ok();
        Self { locks, me: me.clone(), thread: thread.map(|thread| (end, thread)) }
    }
}

impl Drop for StartupProgress {
    fn drop(&mut self) {
        let Some((end, thread)) = self.thread.take() else { return };
        drop(end);
        let has_reported = thread.join().unwrap_or(true);
        if has_reported {
            self.locks.describe(&self.me);
        }
    }
}

fn report(locks: &Locks, me: &Holder, progress: &str, is_first: bool) {
    if is_first {
        tracing::info!("{progress}: the broker answers as soon as that is done");
    }
    locks.describe(&Holder { busy: Some(progress.to_owned()), ..me.clone() });
    notify::extend_start_timeout(progress);
}

/// The broker's two lock files. A client finds the broker by either of them.
#[derive(Clone)]
struct Locks {
    of_socket: Arc<Mutex<LockFile>>,
    of_database: PathBuf,
}

impl Locks {
    fn describe(&self, owner: &Holder) {
        let text = describe_owner(owner);
        let mut lock = self.of_socket.lock().unwrap_or_else(PoisonError::into_inner);
        let written = lock.describe(&text).map_err(|error| warn(lock.path(), &error));
        drop(lock);
        // The database's lock may still belong to another broker, which this one waits for.
        let is_ours = holder_of(&self.of_database)
            .is_some_and(|now| now.pid == owner.pid && now.process == owner.process);
        if written.is_ok() && is_ours {
            let _ = describe_held(&self.of_database, &text)
                .map_err(|error| warn(&self.of_database, &error));
        }
    }
}

fn warn(path: &Path, error: &std::io::Error) {
    tracing::warn!("the lock file {} cannot be written: {error}", path.display());
}
