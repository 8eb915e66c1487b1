//! The writer: it owns the one connection, and commits jobs in groups.
//!
//! It runs on a thread of its own, which takes all commands that are waiting, up to [`MAX_BATCH`],
//! and commits their writes in one transaction with one fsync (group commit). On the fast path (see
//! [`Store`](crate::broker::store::Store)) a single job runs on the caller's thread instead.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode as Sqlite};
use tokio::sync::{mpsc, oneshot};

use crate::broker::store::database::Database;
use crate::broker::store::error::{is_damage, storage_error};
use crate::broker::store::recovery::RecoveryOutcome;
use crate::broker::store::transaction::{Job, TransactionHooks, begin, run_jobs};
use crate::protocol::ApiError;

/// Limit of commands that are handled together.
const MAX_BATCH: usize = 256;

/// Number of commits between two looks at the length of the log.
const CHECKPOINT_EVERY: u32 = 64;

/// How long a commit waits while another process (a backup, a shell) has the database locked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// A job that only reads. It returns whether it met damage.
type ReadJob<S> = Box<dyn FnOnce(&Connection, &mut S) -> bool + Send>;

/// The channel for the answer to a command.
type Answer<T> = oneshot::Sender<Result<T, ApiError>>;

/// What the writer's thread is to do.
pub(super) enum WriterCommand<S> {
    Write(Box<dyn Job<S>>),
    WriteUnsynced(Box<dyn Job<S>>),
    Inspect(ReadJob<S>),
    /// The log may have grown.
    Checkpoint,
    StartFreshDatabase(Answer<Option<PathBuf>>),
    Stop(oneshot::Sender<()>),
}

/// The writer, shared by its thread and the fast path; `None` once it is closed.
pub(super) struct SharedWriter<S>(Arc<Mutex<Option<Writer<S>>>>);

impl<S> Clone for SharedWriter<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: TransactionHooks> SharedWriter<S> {
    pub fn new(writer: Writer<S>) -> Self {
        Self(Arc::new(Mutex::new(Some(writer))))
    }

    /// Commits `job` on the calling thread, with an fsync. Returns whether the log needs a look, or
    /// the job itself if it would have to wait for the writer or the database.
    pub fn write_now(&self, job: Box<dyn Job<S>>) -> Result<bool, Box<dyn Job<S>>> {
        let mut writer = match self.0.try_lock() {
            Ok(writer) => writer,
            // The thread is at work, or the writer has panicked, which ends the thread as well.
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => return Err(job),
        };
        match writer.as_mut() {
            Some(writer) => writer.write_now(job),
            None => Err(job),
        }
    }

    /// Handles commands until it is told to stop, or until the last sender is gone. `queued` is the
    /// number of commands that are not finished.
    pub fn run(
        self,
        mut commands: mpsc::UnboundedReceiver<WriterCommand<S>>,
        queued: &AtomicUsize,
    ) {
        let mut stopped = None;
        while stopped.is_none()
            && let Some(first) = commands.blocking_recv()
        {
            // A panic in the writer ends the broker, on whichever thread it happened.
            let Ok(mut writer) = self.0.lock() else { return };
            let Some(writer) = writer.as_mut() else { return };
            let finished;
            (finished, stopped) = writer.handle_batch(first, &mut commands);
            queued.fetch_sub(finished, Ordering::AcqRel);
        }
        if let Some(writer) = self.lock().take() {
            writer.close();
        }
        if let Some(done) = stopped {
            let _ = done.send(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Writer<S>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a transaction is lost.
enum CommitFailure {
    Database(rusqlite::Error),
    /// The database is not at its path, and could not be written back.
    Location(ApiError),
}

impl From<rusqlite::Error> for CommitFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// The open database and the in-memory state beside it.
pub(super) struct Writer<S> {
    pub(super) database: Database,
    pub(super) state: S,
    /// Commits since the last look at the length of the log.
    commits: u32,
}

impl<S: TransactionHooks> Writer<S> {
    pub fn new(database: Database, state: S) -> Self {
        Self { database, state, commits: 0 }
    }

    /// Handles `first` and the commands behind it. Returns their number, and the channel of the order
    /// to stop if one is among them.
    fn handle_batch(
        &mut self,
        first: WriterCommand<S>,
        commands: &mut mpsc::UnboundedReceiver<WriterCommand<S>>,
    ) -> (usize, Option<oneshot::Sender<()>>) {
        let mut stopped = None;
        let mut finished = 0;
        let mut writes = Vec::new();
        let mut reads = Vec::new();
        let mut sync = false;
        let mut next = Some(first);
        while let Some(command) = next {
            finished += 1;
            match command {
                WriterCommand::Write(job) => {
                    sync = true;
                    writes.push(job);
                }
                WriterCommand::WriteUnsynced(job) => writes.push(job),
                WriterCommand::Inspect(job) => reads.push(job),
                WriterCommand::Checkpoint => {}
                WriterCommand::StartFreshDatabase(answer) => {
                    let saved = self.database.start_fresh();
                    self.reset_if_replaced();
                    // An error means that the caller has gone.
                    let _ = answer.send(saved);
                }
                WriterCommand::Stop(done) => stopped = Some(done),
            }
            let more = stopped.is_none() && finished < MAX_BATCH;
            next = if more { commands.try_recv().ok() } else { None };
        }
        self.write_batch(writes, sync);
        // Reads come after the commit, so that they never see what may still be rolled back.
        let mut damaged = false;
        for job in reads {
            damaged |= job(&self.database.connection, &mut self.state);
        }
        if damaged {
            self.replace_damaged();
        }
        self.checkpoint(commands.is_empty());
        (finished, stopped)
    }

    /// Recovers the database if that is needed, and commits `writes`.
    fn write_batch(&mut self, writes: Vec<Box<dyn Job<S>>>, sync: bool) {
        if writes.is_empty() && !self.state.is_due() {
            return self.recover_for_read();
        }
        if !sync && !self.state.must_sync() && self.database.may_write_unlinked() {
            self.recover_for_read();
            self.database.set_lock_timeout(LOCK_TIMEOUT);
            return self.write(writes, false);
        }
        match self.recover() {
            Ok(RecoveryOutcome::Kept) => {
                self.database.set_lock_timeout(LOCK_TIMEOUT);
                let sync = sync || self.state.must_sync();
                self.write(writes, sync);
            }
            Ok(RecoveryOutcome::Replaced(error)) | Err(error) => {
                for job in writes {
                    job.finish(Some(&error));
                }
            }
        }
    }

    /// Does the work of [`SharedWriter::write_now`].
    fn write_now(&mut self, job: Box<dyn Job<S>>) -> Result<bool, Box<dyn Job<S>>> {
        if !self.database.is_in_place() {
            // The recovery may take long.
            return Err(job);
        }
        self.database.set_lock_timeout(Duration::ZERO);
        let mut jobs = vec![job];
        let begun =
            self.database.set_synced(true).and_then(|()| begin(&mut self.database.connection));
        let outcome = match begun {
            // Nothing has begun. The thread can wait until the database is unlocked.
            Err(error) if error.sqlite_error_code() == Some(Sqlite::DatabaseBusy) => {
                return jobs.pop().map_or(Ok(false), Err);
            }
            begun => begun.and_then(|begun| run_jobs(begun, &mut self.state, &mut jobs)),
        };
        let outcome = self.check_location(outcome);
        self.finish(jobs, outcome);
        Ok(self.commits >= CHECKPOINT_EVERY)
    }

    /// Commits `jobs` and answers them.
    pub(super) fn write(&mut self, mut jobs: Vec<Box<dyn Job<S>>>, sync: bool) {
        let outcome = self
            .database
            .set_synced(sync)
            .and_then(|()| begin(&mut self.database.connection))
            .and_then(|begun| run_jobs(begun, &mut self.state, &mut jobs));
        // An unsynced write promises nothing, so the next write checks the location.
        let outcome =
            if sync { self.check_location(outcome) } else { outcome.map_err(CommitFailure::from) };
        self.finish(jobs, outcome);
        // The next write is likely to need it, and here no request is waiting. If it fails, the
        // next write tries again.
        let _ = self.database.set_synced(true);
    }

    /// Checks after a commit that the database is still at its path. Otherwise the commit is not
    /// durable.
    fn check_location(&mut self, outcome: rusqlite::Result<()>) -> Result<(), CommitFailure> {
        outcome?;
        if self.database.is_in_place() {
            return Ok(());
        }
        match self.recover() {
            Ok(RecoveryOutcome::Kept) => Ok(()),
            Ok(RecoveryOutcome::Replaced(error)) | Err(error) => {
                Err(CommitFailure::Location(error))
            }
        }
    }

    /// Answers the jobs of a transaction that was committed or lost.
    fn finish(&mut self, jobs: Vec<Box<dyn Job<S>>>, outcome: Result<(), CommitFailure>) {
        self.commits += 1;
        let lost = outcome.as_ref().err().map(|failure| match failure {
            CommitFailure::Database(error) => {
                storage_error(error, Some(self.database.location.real()))
            }
            CommitFailure::Location(error) => error.clone(),
        });
        if let Some(error) = &lost {
            tracing::error!(event = "storage", "{}", error.message);
            self.state.abort();
        } else {
            self.state.commit();
        }
        for job in jobs {
            job.finish(lost.as_ref());
        }
        if let Err(CommitFailure::Database(error)) = outcome
            && is_damage(&error)
        {
            self.replace_damaged();
        }
    }

    /// Makes a checkpoint if it is time: after the answers and not within a commit.
    fn checkpoint(&mut self, is_idle: bool) {
        if self.commits >= CHECKPOINT_EVERY {
            self.database.checkpoint_if_long(is_idle);
            self.commits = 0;
        }
    }

    fn recover(&mut self) -> Result<RecoveryOutcome, ApiError> {
        let outcome = self.database.recover();
        self.reset_if_replaced();
        outcome
    }

    fn recover_for_read(&mut self) {
        self.database.recover_for_read();
        self.reset_if_replaced();
    }

    fn replace_damaged(&mut self) {
        self.database.replace_damaged();
        self.reset_if_replaced();
    }

    fn reset_if_replaced(&mut self) {
        if self.database.take_replaced() {
            self.state.reset();
        }
    }

    fn close(mut self) {
        self.database.recover_or_save();
        self.reset_if_replaced();
        self.database.close();
    }
}
