//! While the database is opened, which may take long (an earlier one with much history is taken
//! over, a large one is checked after a crash, a disk is slow), those who wait are told: clients by
//! the broker's lock file, which they read without a call, and the service manager, which would
//! give up. The thread that serves is busy meanwhile, so another one does it.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::broker::daemon::notify;
use crate::broker::daemon::takeover::describe;
use crate::broker::store::Doing;
use crate::config::Config;
use crate::endpoint::broker_lock::{Holder, database_lock, holder_of};
use crate::sys::files::{LockFile, describe_held};

/// A database that is opened sooner is not worth a word.
const SLOW: Duration = Duration::from_millis(500);

/// How often it is said again.
const AGAIN: Duration = Duration::from_secs(5);

/// Says what takes long, until it is dropped.
pub struct Opening {
    locks: Locks,
    me: Holder,
    thread: Option<(Sender<()>, JoinHandle<bool>)>,
}

impl Opening {
    /// `lock` is the broker's, which describes it as `me`.
    pub fn watch(lock: &Arc<Mutex<LockFile>>, me: &Holder, doing: &Doing, config: &Config) -> Self {
        let of_database = database_lock(&config.database_file());
        let locks = Locks { of_socket: Arc::clone(lock), of_database };
        let (done, told) = channel::<()>();
        let (said, holder, doing) = (locks.clone(), me.clone(), doing.clone());
        let database = config.database_path().to_owned();
        let watch = move || {
            let mut pause = SLOW;
            while told.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                say(&said, &holder, &doing.words(&database), pause == SLOW);
                pause = AGAIN;
            }
            pause == AGAIN
        };
        // Without the thread nobody is told, and all wait as long.
        let thread = std::thread::Builder::new().name("opening".to_owned()).spawn(watch).ok();
        Self { locks, me: me.clone(), thread: thread.map(|t| (done, t)) }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let Some((done, thread)) = self.thread.take() else { return };
        drop(done);
        let said_something = thread.join().unwrap_or(true);
        if said_something {
            self.locks.describe(&self.me);
        }
    }
}

fn say(locks: &Locks, me: &Holder, words: &str, first: bool) {
    if first {
        tracing::info!("{words}: the broker serves as soon as that is done");
    }
    locks.describe(&Holder { busy: Some(words.to_owned()), ..me.clone() });
    notify::tell_waiting(words);
}

/// The broker's locks, by either of which it may be found.
#[derive(Clone)]
struct Locks {
    of_socket: Arc<Mutex<LockFile>>,
    of_database: PathBuf,
}

impl Locks {
    fn describe(&self, holder: &Holder) {
        let text = describe(holder);
        let mut lock = self.of_socket.lock().unwrap_or_else(PoisonError::into_inner);
        let told = lock.describe(&text).map_err(|error| warn(lock.path(), &error));
        drop(lock);
        // It may be another broker's yet, which we wait for.
        let is_ours = holder_of(&self.of_database)
            .is_some_and(|now| now.pid == holder.pid && now.process == holder.process);
        if told.is_ok() && is_ours {
            let _ = describe_held(&self.of_database, &text)
                .map_err(|error| warn(&self.of_database, &error));
        }
    }
}

fn warn(path: &Path, error: &std::io::Error) {
    tracing::warn!("{}: {error}", path.display());
}
