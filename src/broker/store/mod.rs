//! SQLite: one connection, one writer, and a thread for it.
//!
//! Many requests share one transaction and one `fsync` (group commit); each has a savepoint of
//! its own, so that one that is refused does not undo its neighbours. Nobody hears an answer
//! before the commit. What must happen only after it (a push, say) is kept by a [`TransactionHooks`].
//!
//! A request that is alone in the broker does not go through the thread: it borrows the writer,
//! which spares two wake-ups of a processor, a quarter of a message's way. Nobody waits for it
//! who would not wait for its commit anyway.

mod batch;
mod copy;
mod damage;
mod error;
mod import;
mod legacy;
mod location;
mod progress;
mod replaced;
mod report;
mod schema;
mod tables;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::endpoint::broker_lock::{database_lock, holder_of};
use crate::protocol::{ApiError, Timestamp};
use crate::sys::files::{LockFile, real_path};
pub use progress::{Doing, Step};

use error::storage_error;
pub use error::{Fault, OpenError};
pub use report::Report;

/// What lives beside the database on its thread and must keep step with its transactions.
pub trait TransactionHooks: Send + 'static {
    /// Whether something may be due by the clock, so that a reader must not be answered before
    /// [`TransactionHooks::begin`] had its turn.
    fn is_due(&self) -> bool;
    /// Before a transaction's first request, if something may be due: what is due by the clock.
    ///
    /// # Errors
    ///
    /// If the database fails; the transaction is then given up.
    fn begin(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Whether even notes may now decide something that must survive power loss.
    fn must_sync(&self) -> bool;
    /// A request begins.
    fn savepoint(&mut self);
    /// The request since the last savepoint is undone.
    fn rollback(&mut self);
    /// All since the last commit is durable: do what was put off.
    fn commit(&mut self);
    /// All since the last commit is lost.
    fn abort(&mut self);
    /// Another database serves from now on.
    fn reset(&mut self);
}

/// A transaction, as a request sees it.
pub struct Tx<'a, C> {
    pub db: &'a Connection,
    pub state: &'a mut C,
    pub now: Timestamp,
}

/// How opening went.
#[derive(Debug, Default)]
pub struct Opened {
    /// A damaged database was moved here, whole.
    pub moved_to: Option<PathBuf>,
    /// A database of the TypeScript claude-peers, of a fork, or with other tables than ours was taken
    /// over; its copy lies here.
    pub legacy_copy: Option<PathBuf>,
    /// And it could not be read whole: the rest is in the copy alone.
    pub taken_in_part: bool,
}

/// Which database is to be opened, and for whom.
pub struct Wanted<'a> {
    /// As the settings name it.
    pub path: &'a Path,
    /// Where a broker of the TypeScript claude-peers would listen.
    pub legacy_port: u16,
    /// What the lock file says of us, before we listen and from then on.
    pub starting: &'a str,
    pub holder: &'a str,
    /// A file beside which is saved what would be lost otherwise.
    pub refuge: &'a Path,
    /// Told what becomes of it.
    pub report: Report,
}

/// A read; true if it met damage.
type ReadWork<C> = Box<dyn FnOnce(&Connection, &mut C) -> bool + Send>;

/// Whom to tell what came of a command.
type Answer<T> = oneshot::Sender<Result<T, ApiError>>;

enum Command<C> {
    Write(Box<dyn writer::Job<C>>),
    Note(Box<dyn writer::Job<C>>),
    Read(ReadWork<C>),
    /// The log may have grown.
    Checkpoint,
    /// See [`Store::begin_afresh`].
    Afresh(Answer<Option<PathBuf>>),
    Stop(oneshot::Sender<()>),
}

/// Who is under way to the database.
#[derive(Default)]
struct Load {
    /// Requests that want to write and have no answer yet.
    callers: AtomicUsize,
    /// Commands that the thread has not finished.
    queued: AtomicUsize,
}

/// A request that wants to write, as long as it waits.
struct CallerGuard<'a>(&'a Load);

impl<'a> CallerGuard<'a> {
    fn enter(load: &'a Load) -> Self {
        load.callers.fetch_add(1, Ordering::AcqRel);
        Self(load)
    }

    /// Whether nobody else wants anything of the database.
    fn is_alone(&self) -> bool {
        self.0.callers.load(Ordering::Acquire) == 1 && self.0.queued.load(Ordering::Acquire) == 0
    }
}

impl Drop for CallerGuard<'_> {
    fn drop(&mut self) {
        self.0.callers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The handle by which the rest of the broker reaches the database.
pub struct Store<C> {
    commands: mpsc::UnboundedSender<Command<C>>,
    writer: writer::SharedWriter<C>,
    load: Arc<Load>,
}

impl<C> Clone for Store<C> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            writer: self.writer.clone(),
            load: self.load.clone(),
        }
    }
}

impl<C: TransactionHooks> Store<C> {
    /// Opens, checks and migrates the database and starts its thread. `ended` is cancelled when the
    /// thread ends, however it ends; what takes long is said by `doing`.
    ///
    /// # Errors
    ///
    /// If the database cannot serve. A damaged one can: it is moved aside.
    pub fn open(
        wanted: Wanted<'_>,
        state: C,
        ended: CancellationToken,
        doing: &Doing,
    ) -> Result<(Self, Opened), OpenError> {
        // Two paths to one database meet at one lock; a link's target is made where it points.
        let path = &real_path(wanted.path);
        let lock = lock_database(path, wanted.starting)?;
        let (connection, opened) = schema::open(path, wanted.legacy_port, doing)?;
        let place = location::Place::of(wanted.path, path)
            .map_err(|error| OpenError::Io { path: path.into(), error })?;
        let (commands, receiver) = mpsc::unbounded_channel();
        let writer = writer::Writer::new(wanted, connection, place, state, lock);
        let store = Self {
            commands,
            writer: writer::SharedWriter::new(writer),
            load: Arc::new(Load::default()),
        };
        let (writer, load) = (store.writer.clone(), store.load.clone());
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                let _ended = ended.drop_guard();
                writer.run(receiver, &load.queued);
            })
            .map_err(|error| OpenError::Io { path: path.into(), error })?;
        Ok((store, opened))
    }

    /// Runs `work` in a transaction and answers once it is durable.
    ///
    /// # Errors
    ///
    /// What `work` refuses, or [`ErrorCode::Storage`]; nothing of `work` was then done.
    pub async fn write<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, C>) -> Result<T, Fault> + Send + 'static,
    {
        let (job, answer) = writer::job(work);
        let caller = CallerGuard::enter(&self.load);
        // Those who came at the same time get in as well, and then share a commit on the thread.
        tokio::task::yield_now().await;
        let job = if caller.is_alone() { self.writer.write_now(job) } else { Err(job) };
        match job {
            Ok(log_grows) => {
                if log_grows {
                    self.enqueue(Command::Checkpoint)?;
                }
                // What the commit set free, a push say, goes out before our own answer.
                tokio::task::yield_now().await;
            }
            Err(job) => self.enqueue(Command::Write(job))?,
        }
        answer.await.unwrap_or_else(|_| Err(ApiError::stopping()))
    }

    /// Runs `work` in a transaction that survives a crash of the broker, but not always a loss of
    /// power: for what costs nothing but a repetition if it is forgotten.
    ///
    /// # Errors
    ///
    /// As [`Store::write`].
    pub async fn note<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, C>) -> Result<T, Fault> + Send + 'static,
    {
        let (job, answer) = writer::job(work);
        self.enqueue(Command::Note(job))?;
        answer.await.unwrap_or_else(|_| Err(ApiError::stopping()))
    }

    /// Runs `work`, which must not write.
    ///
    /// # Errors
    ///
    /// As [`Store::write`].
    pub async fn read<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, C>) -> Result<T, Fault> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        self.enqueue(Command::Read(Box::new(move |db, state| {
            let result = work(&mut Tx { db, state, now: Timestamp::now() });
            let damaged = matches!(&result, Err(Fault::Database(e)) if damage::is_damage(e));
            // A caller that went away needs no answer.
            let _ = sender.send(result.map_err(Fault::into_api));
            damaged
        })))?;
        answer.await.unwrap_or_else(|_| Err(ApiError::stopping()))
    }

    /// Begins an empty database where the one that is open was removed, and says where what that
    /// held was saved; `None` if it lies where it should.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::Storage`](crate::protocol::ErrorCode::Storage); all is then as it was.
    pub async fn begin_afresh(&self) -> Result<Option<PathBuf>, ApiError> {
        let (sender, answer) = oneshot::channel();
        self.enqueue(Command::Afresh(sender))?;
        answer.await.unwrap_or_else(|_| Err(ApiError::stopping()))
    }

    /// Finishes what was enqueued before, folds the log into the database and closes it; false
    /// if the thread had ended before.
    pub async fn close(&self) -> bool {
        let (sender, done) = oneshot::channel();
        self.enqueue(Command::Stop(sender)).is_ok() && done.await.is_ok()
    }

    fn enqueue(&self, command: Command<C>) -> Result<(), ApiError> {
        self.load.queued.fetch_add(1, Ordering::AcqRel);
        // An error means that the thread is gone: nothing is counted any more.
        self.commands.send(command).map_err(|_| ApiError::stopping())
    }
}

/// The lock that makes one database have one broker.
fn lock_database(path: &Path, holder: &str) -> Result<LockFile, OpenError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        return Err(OpenError::NoDirectory(directory.into()));
    }
    let io = |error| OpenError::Io { path: path.into(), error };
    let lock_path = database_lock(path);
    if let Some(mut lock) = LockFile::try_take(&lock_path).map_err(io)? {
        lock.describe(holder).map_err(io)?;
        return Ok(lock);
    }
    let holder = holder_of(&lock_path).filter(|holder| holder.pid > 0);
    let holder = holder.map(|h| format!(" ({})", h.described())).unwrap_or_default();
    Err(OpenError::InUse { path: path.into(), holder })
}
