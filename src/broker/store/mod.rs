//! SQLite: one connection, one queue, and a thread for what blocks.
//!
//! * **One lane**: writes, notes and reads are queued in the order in which they come. The first caller
//!   leads: it lets all others that are ready queue theirs, and then carries out everything on its own
//!   task, which saves two thread wake-ups. Nothing else runs meanwhile, but any other request would
//!   have to wait for the commit as well.
//! * **Group commit**: what is queued together shares one transaction and one fsync. No caller gets its
//!   answer before the commit.
//! * **Savepoints**: each request has a savepoint of its own, so that a request that is refused does
//!   not undo the others. What must happen only after the commit (a push, say) is kept by the
//!   [`TransactionHooks`].
//! * **Notes**: what may be lost in a crash waits for the next commit, or a short while.
//! * **Thread**: what may block (the database is locked by another process, or not in its place; a
//!   checkpoint) is handed to the writer's thread, which leads until the queue is empty.
//!
//! ```text
//!   write, note, inspect ──► queue ──► the first caller leads: yield once, then all that is queued in
//!                              │       one transaction, then the reads
//!                              └─────► something blocks: the thread leads
//! ```
//!
//! From bottom to top: `error`, `status`, `location` (the files), `schema` (migrations), `import`,
//! `origin`, `legacy`, `open`, `database` and `recovery`, `transaction`, `queue`, `writer`, `lane`, and
//! [`Store`].

mod database;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod import;
mod lane;
mod legacy;
mod location;
pub mod meta;
mod open;
mod origin;
mod queue;
mod recovery;
mod schema;
mod status;
#[cfg(test)]
pub mod testing;
mod transaction;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::endpoint::broker_lock::{database_lock, holder_of};
use crate::protocol::ApiError;
use crate::sys::files::{LockFile, NotOurs, real_path};
use database::Database;
use error::is_damage;
use lane::Lane;
use location::Location;
use queue::{Command, Durability};
use transaction::job;
use writer::Writer;

pub use error::{Fault, OpenError};
pub use open::{OpenedStore, OpeningProgress, StoreOptions};
#[cfg(test)]
pub use schema::reference_schema;
pub use status::DatabaseStatus;
pub use transaction::{Context, RowWatcher, TransactionHooks};

/// How long a note waits for the next commit before it is written alone.
const NOTE_DELAY: Duration = Duration::from_millis(100);

/// The handle by which the rest of the broker uses the database.
pub struct Store<S: TransactionHooks>(Arc<Handle<S>>);

impl<S: TransactionHooks> Clone for Store<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// What all clones of a [`Store`] share. The thread ends, and the database is closed, with the last.
struct Handle<S: TransactionHooks> {
    lane: Arc<Lane<S>>,
    /// Whether the notes that wait are about to be written.
    has_timer: AtomicBool,
}

impl<S: TransactionHooks> Drop for Handle<S> {
    fn drop(&mut self) {
        self.lane.abandon();
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
        let database = Database::new(options, connection, location, lock);
        let lane = Arc::new(Lane::new(Writer::new(database, state)));
        let store =
            Self(Arc::new(Handle { lane: Arc::clone(&lane), has_timer: AtomicBool::new(false) }));
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || {
                let _ended = ended.drop_guard();
                lane.run_thread();
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
        self.run(Durability::Synced, work).await
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
        self.run(Durability::Unsynced, work).await
    }

    /// Does the same in the transaction of the next request, or alone after a short while. For what
    /// no other request waits for: any that could see the effect of `work` comes after it.
    ///
    /// # Errors
    ///
    /// As [`Store::write`].
    pub async fn note<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Context<'_, S>) -> Result<T, Fault> + Send + 'static,
    {
        let (job, answer) = job(work);
        self.lane().submit(Command::Write(Durability::Note, job)).await?;
        if answer.is_empty() {
            self.write_notes_later();
        }
        answer.await.unwrap_or_else(|_| Err(ApiError::stopping()))
    }

    /// Has the notes written that wait when [`NOTE_DELAY`] is over. There is one timer at a time,
    /// because many notes share it: most are written with the next request before that.
    fn write_notes_later(&self) {
        if self.0.has_timer.swap(true, Ordering::AcqRel) {
            return;
        }
        let handle = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            tokio::time::sleep(NOTE_DELAY).await;
            // If the last caller has gone, they are written when the database is closed.
            let Some(handle) = handle.upgrade() else { return };
            handle.has_timer.store(false, Ordering::Release);
            // An error means that the database is closed.
            failpoint!("broker.notes.due");
            let _ = handle.lane.submit(Command::WriteNotes).await;
        });
    }

    async fn run<T, F>(&self, durability: Durability, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Context<'_, S>) -> Result<T, Fault> + Send + 'static,
    {
        let (job, answer) = job(work);
        self.lane().submit(Command::Write(durability, job)).await?;
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
        self.between(move |context| work(context)).await
    }

    /// Does the same for `work` that changes the in-memory state, by effects that are applied at once.
    ///
    /// # Errors
    ///
    /// As [`Store::write`].
    pub async fn update<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Context<'_, S>) -> Result<T, Fault> + Send + 'static,
    {
        self.between(move |context| context.update(work)).await
    }

    async fn between<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Context<'_, S>) -> Result<T, Fault> + Send + 'static,
    {
        let (sender, answer) = oneshot::channel();
        let look = Command::Between(Box::new(move |db: &_, state: &mut S| {
            let now = state.now();
            let result = work(&mut Context { db, state, now });
            let damaged = matches!(&result, Err(Fault::Database(e)) if is_damage(e));
            // An error means that the caller has gone.
            let _ = sender.send(result.map_err(Fault::into_api));
            damaged
        }));
        self.lane().submit(look).await?;
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
        self.lane().submit_to_thread(Command::StartFreshDatabase(sender))?;
        answer.await.unwrap_or_else(|_| Err(ApiError::stopping()))
    }

    /// Finishes what was queued before, checkpoints the log, and closes the database. Returns false
    /// if the thread had ended before.
    pub async fn close(&self) -> bool {
        let (sender, done) = oneshot::channel();
        self.lane().submit_to_thread(Command::Stop(sender)).is_ok() && done.await.is_ok()
    }

    fn lane(&self) -> &Lane<S> {
        &self.0.lane
    }
}

/// Takes the lock of the database at `path`, which allows one broker per database.
fn lock_database(path: &Path, owner: &str) -> Result<LockFile, OpenError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    if !directory.is_dir() {
        return Err(OpenError::NoDirectory(directory.into()));
    }
    let lock_path = database_lock(path);
    let io = |error| {
        // What stands in the lock's place is not the database's fault.
        let at = if NotOurs::of(&error).is_some() { lock_path.as_path() } else { path };
        OpenError::Io { path: at.to_owned(), error }
    };
    if let Some(mut lock) = LockFile::try_take(&lock_path).map_err(io)? {
        lock.describe(owner).map_err(io)?;
        return Ok(lock);
    }
    let owner = holder_of(&lock_path).filter(|owner| owner.pid > 0);
    let owner = owner.map(|owner| format!(" ({})", owner.described())).unwrap_or_default();
    Err(OpenError::InUse { path: path.into(), owner })
}
