//! SQLite: one connection, one writer, and a thread for it.
//!
//! * **Group commit**: requests that arrive together share one transaction and one fsync. No caller
//!   gets its answer before the commit.
//! * **Savepoints**: each request has a savepoint of its own, so that a request that is refused does
//!   not undo the others. What must happen only after the commit (a push, say) is kept by the
//!   [`TransactionHooks`].
//! * **Fast path**: when no other request is in flight, a write runs on the calling task instead of
//!   the writer's thread. This saves two thread wake-ups, about a quarter of the latency of a send. It
//!   blocks the runtime for one commit, which any other request would have to wait for as well.
//!
//! ```text
//!   write ── register in InFlight ── yield once ──┬─ alone, nothing queued ─► commit here (fast path)
//!                                                 └─ otherwise ─┐
//!   write_unsynced, inspect ────────────────────────────────────┴─► queue ─► writer's thread:
//!                                                                            all that is queued,
//!                                                                            one transaction
//! ```
//!
//! From bottom to top: `error`, `status`, `location` (the files), `schema` (migrations), `import`,
//! `origin`, `legacy`, `open`, `database` and `recovery`, `transaction`, `writer`, and [`Store`].

mod database;
mod error;
mod import;
mod legacy;
mod location;
mod open;
mod origin;
mod recovery;
mod schema;
mod status;
#[cfg(test)]
pub mod testing;
mod transaction;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::endpoint::broker_lock::{database_lock, holder_of};
use crate::protocol::ApiError;
use crate::sys::files::{LockFile, real_path};
use database::Database;
use error::is_damage;
use location::Location;
use transaction::job;
use writer::{SharedWriter, Writer, WriterCommand};

pub use error::{Fault, OpenError};
pub use open::{OpenedStore, OpeningProgress, StoreOptions};
#[cfg(test)]
pub use schema::reference_schema;
pub use status::DatabaseStatus;
pub use transaction::{Context, TransactionHooks};

/// The handle by which the rest of the broker uses the database.
pub struct Store<S> {
    commands: mpsc::UnboundedSender<WriterCommand<S>>,
    writer: SharedWriter<S>,
    in_flight: Arc<InFlight>,
}

impl<S> Clone for Store<S> {
    fn clone(&self) -> Self {
        Self {
            commands: self.commands.clone(),
            writer: self.writer.clone(),
            in_flight: self.in_flight.clone(),
        }
    }
}

impl<S: TransactionHooks> Store<S> {
    /// Opens, checks and migrates the database, and starts the writer's thread.
    ///
    /// `ended` is cancelled when the thread ends, for whatever reason. Steps that take long are
    /// reported to `progress`.
    ///
    /// # Errors
    ///
    /// If the database cannot be used. A damaged database is moved aside and replaced.
    pub fn open(
        options: StoreOptions<'_>,
        state: S,
        ended: CancellationToken,
        progress: &OpeningProgress,
    ) -> Result<(Self, OpenedStore), OpenError> {
        // Two paths to one database lead to one lock. A link's target is created where it points.
        let path = &real_path(options.path);
        let lock = lock_database(path, options.starting_owner)?;
        let (connection, opened) = open::open(path, options.legacy_port, progress)?;
        let location = Location::of(options.path, path)
            .map_err(|error| OpenError::Io { path: path.into(), error })?;
        let (commands, receiver) = mpsc::unbounded_channel();
        let database = Database::new(options, connection, location, lock);
        let store = Self {
            commands,
            writer: SharedWriter::new(Writer::new(database, state)),
            in_flight: Arc::new(InFlight::default()),
        };
        let (writer, in_flight) = (store.writer.clone(), store.in_flight.clone());
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                let _ended = ended.drop_guard();
                writer.run(receiver, &in_flight.queued);
            })
            .map_err(|error| OpenError::Io { path: path.into(), error })?;
        Ok((store, opened))
    }

    /// Runs `work` in a transaction, and answers once it is durable.
    ///
    /// # Errors
    ///
    /// What `work` refuses, or [`ErrorCode::Storage`](crate::protocol::ErrorCode::Storage). Nothing
    /// of `work` was then done.
    pub async fn write<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Context<'_, S>) -> Result<T, Fault> + Send + 'static,
    {
        let (job, answer) = job(work);
        let caller = InFlightGuard::enter(&self.in_flight);
        // Requests that came at the same time register as well. They then share a commit.
        tokio::task::yield_now().await;
        let job = if caller.is_alone() { self.writer.write_now(job) } else { Err(job) };
        match job {
            Ok(log_grows) => {
                if log_grows {
                    self.enqueue(WriterCommand::Checkpoint)?;
                }
                // Effects of the commit, a push say, go out before our own answer.
                tokio::task::yield_now().await;
            }
            Err(job) => self.enqueue(WriterCommand::Write(job))?,
        }
        answer.await.unwrap_or_else(|_| Err(ApiError::stopping()))
    }

    /// Runs `work` in a transaction without an fsync: it survives a crash of the broker, but not
    /// always a loss of power. For what only causes a repetition if it is lost.
    ///
    /// # Errors
    ///
    /// As [`Store::write`].
    pub async fn write_unsynced<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Context<'_, S>) -> Result<T, Fault> + Send + 'static,
    {
        let (job, answer) = job(work);
        self.enqueue(WriterCommand::WriteUnsynced(job))?;
        answer.await.unwrap_or_else(|_| Err(ApiError::stopping()))
    }

    /// Runs `work` outside of a transaction, between two commits. It changes neither the database nor
    /// the in-memory state.
    ///
    /// # Errors
    ///
    /// As [`Store::write`].
    pub async fn inspect<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Context<'_, S>) -> Result<T, Fault> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        self.enqueue(WriterCommand::Inspect(Box::new(move |db, state| {
            let now = state.now();
            let result = work(&Context { db, state, now });
            let damaged = matches!(&result, Err(Fault::Database(e)) if is_damage(e));
            // An error means that the caller has gone.
            let _ = sender.send(result.map_err(Fault::into_api));
            damaged
        })))?;
        answer.await.unwrap_or_else(|_| Err(ApiError::stopping()))
    }

    /// Begins with an empty database where the open one was removed. Returns where the old contents
    /// were saved, or `None` if the open database is still in place.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::Storage`](crate::protocol::ErrorCode::Storage). All is then as before.
    pub async fn start_fresh_database(&self) -> Result<Option<PathBuf>, ApiError> {
        let (sender, answer) = oneshot::channel();
        self.enqueue(WriterCommand::StartFreshDatabase(sender))?;
        answer.await.unwrap_or_else(|_| Err(ApiError::stopping()))
    }

    /// Finishes what was enqueued before, checkpoints the log, and closes the database. Returns
    /// false if the thread had ended before.
    pub async fn close(&self) -> bool {
        let (sender, done) = oneshot::channel();
        self.enqueue(WriterCommand::Stop(sender)).is_ok() && done.await.is_ok()
    }

    fn enqueue(&self, command: WriterCommand<S>) -> Result<(), ApiError> {
        self.in_flight.queued.fetch_add(1, Ordering::AcqRel);
        // An error means that the thread has ended, and the counter does not matter any more.
        self.commands.send(command).map_err(|_| ApiError::stopping())
    }
}

/// What is in flight, to decide whether a write may take the fast path.
#[derive(Default)]
struct InFlight {
    /// Calls of [`Store::write`] that have no answer yet.
    writes: AtomicUsize,
    /// Commands that the writer's thread has not finished.
    queued: AtomicUsize,
}

/// One call of [`Store::write`], for as long as it runs.
struct InFlightGuard<'a>(&'a InFlight);

impl<'a> InFlightGuard<'a> {
    fn enter(in_flight: &'a InFlight) -> Self {
        in_flight.writes.fetch_add(1, Ordering::AcqRel);
        Self(in_flight)
    }

    /// Whether no other request is in flight.
    fn is_alone(&self) -> bool {
        self.0.writes.load(Ordering::Acquire) == 1 && self.0.queued.load(Ordering::Acquire) == 0
    }
}

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.writes.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Takes the lock of the database at `path`, which allows one broker per database.
fn lock_database(path: &Path, owner: &str) -> Result<LockFile, OpenError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        return Err(OpenError::NoDirectory(directory.into()));
    }
    let io = |error| OpenError::Io { path: path.into(), error };
    let lock_path = database_lock(path);
    if let Some(mut lock) = LockFile::try_take(&lock_path).map_err(io)? {
        lock.describe(owner).map_err(io)?;
        return Ok(lock);
    }
    let owner = holder_of(&lock_path).filter(|owner| owner.pid > 0);
    let owner = owner.map(|owner| format!(" ({})", owner.described())).unwrap_or_default();
    Err(OpenError::InUse { path: path.into(), owner })
}
