//! While the database is opened, which may take long (an earlier one with much history is taken
//! over, a large one is checked after a crash, a disk is slow), those who wait are told: clients by
//! the broker's lock file, which they read without a call, and the service manager, which would
//! give up. The thread that serves is busy meanwhile, so another one does it.

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::store::Doing;
use super::supervisor;
use super::takeover::describe;
use crate::files::LockFile;
use crate::holder::Holder;

/// A database that is opened sooner is not worth a word.
const SLOW: Duration = Duration::from_millis(500);

/// How often it is said again.
const AGAIN: Duration = Duration::from_secs(5);

/// Says what takes long, until it is dropped.
pub struct Opening {
    lock: Arc<Mutex<LockFile>>,
    me: Holder,
    thread: Option<(Sender<()>, JoinHandle<bool>)>,
}

impl Opening {
    /// `lock` is the broker's, which describes it as `me`.
    pub fn watch(
        lock: &Arc<Mutex<LockFile>>,
        me: &Holder,
        doing: &Doing,
        database: PathBuf,
    ) -> Self {
        let (done, told) = channel::<()>();
        let (file, holder, doing) = (Arc::clone(lock), me.clone(), doing.clone());
        let watch = move || {
            let mut pause = SLOW;
            while told.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                say(&file, &holder, &doing.words(&database), pause == SLOW);
                pause = AGAIN;
            }
            pause == AGAIN
        };
        // Without the thread nobody is told, and all wait as long.
        let thread = std::thread::Builder::new().name("opening".to_owned()).spawn(watch).ok();
        Self { lock: Arc::clone(lock), me: me.clone(), thread: thread.map(|t| (done, t)) }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let Some((done, thread)) = self.thread.take() else { return };
        drop(done);
        let said_something = thread.join().unwrap_or(true);
        if said_something {
            write(&self.lock, &self.me);
        }
    }
}

fn say(lock: &Mutex<LockFile>, me: &Holder, words: &str, first: bool) {
    if first {
        tracing::info!("{words}: the broker serves as soon as that is done");
    }
    write(lock, &Holder { busy: Some(words.to_owned()), ..me.clone() });
    supervisor::tell_waiting(words);
}

fn write(lock: &Mutex<LockFile>, holder: &Holder) {
    let mut lock = lock.lock().unwrap_or_else(PoisonError::into_inner);
    if let Err(error) = lock.describe(&describe(holder)) {
        tracing::warn!("{}: {error}", lock.path().display());
    }
}
