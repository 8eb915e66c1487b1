//! The database's thread: group commit with a savepoint per request.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode as Sqlite};
use tokio::sync::{mpsc, oneshot};

use crate::broker::store::batch::{begin, run_all};
use crate::broker::store::location::Place;
use crate::broker::store::replaced::Kept;
use crate::broker::store::{
    Command, Fault, Report, TransactionHooks, Tx, Wanted, damage, schema, storage_error,
};
use crate::protocol::{ApiError, ErrorCode};
use crate::sys::files::{LockFile, beside};

/// How many requests share one commit at most.
const BATCH: usize = 256;

/// After how many commits it is looked how long the log is, and from how many bytes on it is
/// folded into the database: while nobody waits, or in any case.
const CHECKPOINT_EVERY: u32 = 64;
const SHORT_LOG: u64 = 4 * 1024 * 1024;
const LONG_LOG: u64 = 64 * 1024 * 1024;

/// A request that waits for its transaction.
pub(super) trait Job<C>: Send {
    /// Does the work and keeps its result; false if the work must be undone.
    fn run(&mut self, tx: &mut Tx<'_, C>) -> Result<(), Option<rusqlite::Error>>;
    /// Answers the caller, after the commit or instead of it.
    fn finish(self: Box<Self>, lost: Option<&ApiError>);
}

struct Work<T, F> {
    function: Option<F>,
    result: Option<Result<T, ApiError>>,
    answer: oneshot::Sender<Result<T, ApiError>>,
}

type Answer<T> = oneshot::Receiver<Result<T, ApiError>>;

pub(super) fn job<C, T, F>(work: F) -> (Box<dyn Job<C>>, Answer<T>)
where
    T: Send + 'static,
    F: FnOnce(&mut Tx<'_, C>) -> Result<T, Fault> + Send + 'static,
{
    let (answer, receiver) = oneshot::channel();
    (Box::new(Work { function: Some(work), result: None, answer }), receiver)
}

impl<C, T, F> Job<C> for Work<T, F>
where
    T: Send + 'static,
    F: FnOnce(&mut Tx<'_, C>) -> Result<T, Fault> + Send + 'static,
{
    fn run(&mut self, tx: &mut Tx<'_, C>) -> Result<(), Option<rusqlite::Error>> {
        let Some(work) = self.function.take() else { return Ok(()) };
        match work(tx) {
            Ok(value) => {
                self.result = Some(Ok(value));
                Ok(())
            }
            Err(Fault::Refused(error)) => {
                self.result = Some(Err(error));
                Err(None)
            }
            Err(Fault::Database(error)) => {
                self.result = Some(Err(storage_error(&error, None)));
                Err(Some(error))
            }
        }
    }

    fn finish(self: Box<Self>, lost: Option<&ApiError>) {
        let result = match (self.result, lost) {
            // What was lost with all others is explained better there.
            (Some(Err(error)), Some(lost)) if error.code == ErrorCode::Storage => Err(lost.clone()),
            // A refusal stands, whatever became of the transaction.
            (Some(Err(error)), _) => Err(error),
            (_, Some(lost)) => Err(lost.clone()),
            (Some(result), None) => result,
            (None, None) => Err(ApiError::stopping()),
        };
        // A caller that went away needs no answer: its work is done all the same.
        let _ = self.answer.send(result);
    }
}

/// How long a commit waits for somebody else who has the database locked (a backup, a shell).
const PATIENCE: Duration = Duration::from_secs(2);

/// The writer, as its thread and a lone caller share it; none once it is closed.
pub(super) struct SharedWriter<C>(Arc<Mutex<Option<Writer<C>>>>);

impl<C> Clone for SharedWriter<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C: TransactionHooks> SharedWriter<C> {
    pub fn new(writer: Writer<C>) -> Self {
        Self(Arc::new(Mutex::new(Some(writer))))
    }

    /// Commits `job` here and now, synced, and says whether the log wants a look. Gives the job
    /// back if it would have to wait for anybody.
    pub fn write_now(&self, job: Box<dyn Job<C>>) -> Result<bool, Box<dyn Job<C>>> {
        let mut writer = match self.0.try_lock() {
            Ok(writer) => writer,
            // The thread has it; or the writer broke, which the thread will find out.
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => return Err(job),
        };
        match writer.as_mut() {
            Some(writer) => writer.write_now(job),
            None => Err(job),
        }
    }

    /// Serves until told to stop, or until the last handle is gone.
    pub fn run(self, mut commands: mpsc::UnboundedReceiver<Command<C>>, queued: &AtomicUsize) {
        let mut stopped = None;
        while stopped.is_none()
            && let Some(first) = commands.blocking_recv()
        {
            // A panic in the writer ends the broker, wherever it ran.
            let Ok(mut writer) = self.0.lock() else { return };
            let Some(writer) = writer.as_mut() else { return };
            let finished;
            (finished, stopped) = writer.batch(first, &mut commands);
            queued.fetch_sub(finished, Ordering::AcqRel);
        }
        if let Some(writer) = self.lock().take() {
            writer.close();
        }
        if let Some(done) = stopped {
            let _ = done.send(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Writer<C>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a transaction is lost.
enum Lost {
    Database(rusqlite::Error),
    /// The database itself is.
    Place(ApiError),
}

impl From<rusqlite::Error> for Lost {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// What the thread owns, and a lone caller borrows.
pub(super) struct Writer<C> {
    pub(super) connection: Connection,
    pub(super) place: Place,
    /// Commits since the log was last looked at.
    batches: u32,
    /// Whether commits of this connection are synced now.
    pub(super) synced: bool,
    pub(super) state: C,
    /// Held until the connection is closed.
    pub(super) lock: LockFile,
    /// What it says of us.
    pub(super) holder: String,
    pub(super) legacy_port: u16,
    pub(super) report: Report,
    pub(super) refuge: PathBuf,
    /// Where what the connection has was saved, if another database is to take its place.
    pub(super) saved: Option<PathBuf>,
}

impl<C: TransactionHooks> Writer<C> {
    /// `connection` as it was opened: its commits are synced.
    pub fn new(
        wanted: Wanted<'_>,
        connection: Connection,
        place: Place,
        state: C,
        lock: LockFile,
    ) -> Self {
        Self {
            connection,
            place,
            batches: 0,
            synced: true,
            state,
            lock,
            holder: wanted.holder.to_owned(),
            legacy_port: wanted.legacy_port,
            report: wanted.report,
            refuge: wanted.refuge.to_owned(),
            saved: None,
        }
    }

    /// Does what `first` and those that wait behind it ask for. Gives their number, and whom to
    /// tell that the thread ends, if it is to end.
    fn batch(
        &mut self,
        first: Command<C>,
        commands: &mut mpsc::UnboundedReceiver<Command<C>>,
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
                Command::Write(job) => {
                    sync = true;
                    writes.push(job);
                }
                Command::Note(job) => writes.push(job),
                Command::Read(work) => reads.push(work),
                Command::Checkpoint => {}
                // An error means that nobody waits any more.
                Command::Afresh(answer) => drop(answer.send(self.begin_afresh())),
                Command::Stop(done) => stopped = Some(done),
            }
            let more = stopped.is_none() && finished < BATCH;
            next = if more { commands.try_recv().ok() } else { None };
        }
        if writes.is_empty() && !self.state.is_due() {
            self.notice();
        } else if self.may_stay_away(sync) {
            self.notice();
            self.patience(PATIENCE);
            self.write(writes, false);
        } else {
            match self.stand() {
                Ok(Kept::All) => {
                    self.patience(PATIENCE);
                    self.write(writes, sync || self.state.must_sync());
                }
                Ok(Kept::Nothing(error)) | Err(error) => {
                    for job in writes {
                        job.finish(Some(&error));
                    }
                }
            }
        }
        // After the commit, so that a reader never sees what may still be undone.
        let mut damaged = false;
        for work in reads {
            damaged |= work(&self.connection, &mut self.state);
        }
        if damaged {
            self.replace();
        }
        self.checkpoint(commands.is_empty());
        (finished, stopped)
    }

    /// [`SharedWriter::write_now`], the writer being free.
    fn write_now(&mut self, job: Box<dyn Job<C>>) -> Result<bool, Box<dyn Job<C>>> {
        if !self.stands() {
            // What is to be done about it may take its time.
            return Err(job);
        }
        self.patience(Duration::ZERO);
        let mut jobs = vec![job];
        let outcome = match self.sync(true).and_then(|()| begin(&mut self.connection)) {
            // Nothing has begun; the thread may wait for whoever has it locked.
            Err(error) if error.sqlite_error_code() == Some(Sqlite::DatabaseBusy) => {
                return jobs.pop().map_or(Ok(false), Err);
            }
            begun => begun.and_then(|begun| run_all(begun, &mut self.state, &mut jobs)),
        };
        let outcome = self.still_standing(outcome);
        self.finish(jobs, outcome);
        Ok(self.batches >= CHECKPOINT_EVERY)
    }

    /// How long the next transaction waits for others.
    fn patience(&self, limit: Duration) {
        // It sets a number and cannot fail on an open connection.
        let _ = self.connection.busy_timeout(limit);
    }

    fn write(&mut self, mut jobs: Vec<Box<dyn Job<C>>>, sync: bool) {
        let outcome = self
            .sync(sync)
            .and_then(|()| begin(&mut self.connection))
            .and_then(|begun| run_all(begun, &mut self.state, &mut jobs));
        // Notes acknowledge nothing: whoever writes next looks.
        let outcome = if sync { self.still_standing(outcome) } else { outcome.map_err(Lost::from) };
        self.finish(jobs, outcome);
        // Here nobody waits for it: the next request is likely to want it. One that finds it
        // undone does it itself.
        let _ = self.sync(true);
    }

    /// A commit is durable only where the database is found again.
    fn still_standing(&mut self, outcome: rusqlite::Result<()>) -> Result<(), Lost> {
        outcome?;
        if self.stands() {
            return Ok(());
        }
        match self.stand() {
            Ok(Kept::All) => Ok(()),
            Ok(Kept::Nothing(error)) | Err(error) => Err(Lost::Place(error)),
        }
    }

    /// Answers those whose transaction ended, well or badly.
    fn finish(&mut self, jobs: Vec<Box<dyn Job<C>>>, outcome: Result<(), Lost>) {
        self.batches += 1;
        let lost = outcome.as_ref().err().map(|lost| match lost {
            Lost::Database(error) => storage_error(error, Some(self.place.real())),
            Lost::Place(error) => error.clone(),
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
        if let Err(Lost::Database(error)) = outcome
            && damage::is_damage(&error)
        {
            self.replace();
        }
    }

    /// Folds the log into the database, after the answers and not in a commit: when nobody waits
    /// and the log is worth it, or when it has grown long.
    fn checkpoint(&mut self, idle: bool) {
        if self.batches < CHECKPOINT_EVERY {
            return;
        }
        let log = std::fs::metadata(beside(self.place.real(), "-wal")).map_or(0, |log| log.len());
        if log > LONG_LOG || (idle && log > SHORT_LOG) {
            let folded =
                self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            if let Err(error) = folded {
                tracing::warn!(event = "storage", "the log is not folded in: {error}");
            }
            self.place.note_written();
        }
        self.batches = 0;
    }

    /// Has the next commit synced, with all that was not synced before it, or not.
    fn sync(&mut self, sync: bool) -> rusqlite::Result<()> {
        if self.synced != sync {
            self.connection.pragma_update(
                None,
                "synchronous",
                if sync { "FULL" } else { "NORMAL" },
            )?;
            self.synced = sync;
        }
        Ok(())
    }

    fn close(mut self) {
        self.stand_or_save();
        let Self { connection, lock, .. } = self;
        if let Err(error) = schema::mark_clean(&connection) {
            tracing::warn!(event = "storage", "closing the database: {error}");
        }
        if let Err((_, error)) = connection.close() {
            tracing::warn!(event = "storage", "closing the database: {error}");
        }
        drop(lock);
    }
}
