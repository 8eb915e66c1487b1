//! One transaction: its jobs, each in a savepoint of its own, and one commit for all of them.

use rusqlite::{Connection, ErrorCode as Sqlite};
use tokio::sync::oneshot;

use crate::broker::store::error::{Fault, is_damage, storage_error};
use crate::protocol::{ApiError, ErrorCode, Timestamp};

/// Is told the table and the number of each row that changes, before the commit.
pub type RowWatcher = Box<dyn FnMut(&str, i64) + Send>;

/// The in-memory state beside the database, which must keep step with its transactions. By default
/// there is none.
pub trait TransactionHooks: Send + 'static {
    /// Returns the time of the wall clock.
    fn now(&self) -> Timestamp;
    /// Whether something may be due by the clock. If so, [`TransactionHooks::begin`] runs before the
    /// next request that writes.
    fn is_due(&self) -> bool {
        false
    }
    /// Whether that may change what is read, so that it runs before a request that only reads as well.
    fn is_due_before_read(&self) -> bool {
        false
    }
    /// Does what is due by the clock, before the first request of a transaction.
    ///
    /// # Errors
    ///
    /// If the database fails. The transaction is then rolled back.
    fn begin(&mut self, _connection: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }
    /// Whether even an unsynced write may now decide something that must survive power loss.
    fn must_sync(&self) -> bool {
        false
    }
    /// Begins a request, or a part of one, and returns a mark to which it can be undone.
    fn savepoint(&mut self) -> usize {
        0
    }
    /// Undoes everything since the savepoint with this mark.
    fn rollback(&mut self, _mark: usize) {}
    /// Applies everything since the last commit: the transaction is durable.
    fn commit(&mut self) {}
    /// Drops everything since the last commit: the transaction is lost.
    fn abort(&mut self) {}
    /// Returns what is to be told which rows a transaction changes, as long as anybody wants to know.
    fn row_watcher(&self) -> Option<RowWatcher> {
        None
    }
    /// Whether there is one. It is asked before each transaction.
    fn has_row_watcher(&self) -> bool {
        false
    }
    /// Starts anew, because another database is in use.
    fn reset(&mut self) {}
}

/// What a request works on.
pub struct Context<'a, S> {
    /// The connection, inside the request's transaction if it writes.
    pub db: &'a Connection,
    pub state: &'a mut S,
    pub now: Timestamp,
}

impl<S: TransactionHooks> Context<'_, S> {
    /// Runs `work`, which changes nothing but the in-memory state, by effects that are applied at once.
    ///
    /// # Errors
    ///
    /// What `work` refuses. Nothing is then changed.
    pub(super) fn update<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mark = self.state.savepoint();
        let done = work(self);
        match &done {
            Ok(_) => self.state.commit(),
            Err(_) => self.state.rollback(mark),
        }
        done
    }

    /// Runs a part of the request in a savepoint of its own: if it is refused, it alone is undone.
    ///
    /// # Errors
    ///
    /// If SQLite may have rolled back the whole transaction.
    pub fn in_savepoint<T>(
        &mut self,
        work: impl FnOnce(&mut Context<'_, S>) -> Result<T, Fault>,
    ) -> Result<Result<T, ApiError>, Fault> {
        open_savepoint(self.db)?;
        let mark = self.state.savepoint();
        let done = work(&mut Context { db: self.db, state: self.state, now: self.now });
        match done {
            Ok(value) => {
                release_savepoint(self.db)?;
                Ok(Ok(value))
            }
            Err(fault) => {
                self.state.rollback(mark);
                let undone = undo_savepoint(self.db);
                if let Fault::Database(error) = &fault
                    && concerns_neighbours(error)
                {
                    return Err(fault);
                }
                undone?;
                Ok(Err(fault.into_api()))
            }
        }
    }
}

/// Opens a savepoint within the transaction.
fn open_savepoint(connection: &Connection) -> rusqlite::Result<()> {
    execute(connection, "SAVEPOINT request")
}

/// Keeps what was done since the innermost savepoint, and ends it.
fn release_savepoint(connection: &Connection) -> rusqlite::Result<()> {
    execute(connection, "RELEASE request")
}

/// Undoes what was done since the innermost savepoint, and ends it.
fn undo_savepoint(connection: &Connection) -> rusqlite::Result<()> {
    execute(connection, "ROLLBACK TO request")?;
    release_savepoint(connection)
}

/// A request that waits for its transaction.
pub(super) trait Job<S>: Send {
    /// Does the work and keeps its result. An error means that the work must be undone, and carries
    /// the database's error if there was one.
    fn run(&mut self, context: &mut Context<'_, S>) -> Result<(), Option<rusqlite::Error>>;
    /// Answers the caller: after the commit, or with the error `lost` because there was none.
    fn finish(self: Box<Self>, lost: Option<&ApiError>);
}

struct Work<T, F> {
    function: Option<F>,
    result: Option<Result<T, ApiError>>,
    answer: oneshot::Sender<Result<T, ApiError>>,
}

/// The answer of a job, once it is finished.
pub(super) type Answer<T> = oneshot::Receiver<Result<T, ApiError>>;

/// Makes a job of `work`.
pub(super) fn job<S, T, F>(work: F) -> (Box<dyn Job<S>>, Answer<T>)
where
    T: Send + 'static,
    F: FnOnce(&mut Context<'_, S>) -> Result<T, Fault> + Send + 'static,
{
    let (answer, receiver) = oneshot::channel();
    (Box::new(Work { function: Some(work), result: None, answer }), receiver)
}

impl<S, T, F> Job<S> for Work<T, F>
where
    T: Send + 'static,
    F: FnOnce(&mut Context<'_, S>) -> Result<T, Fault> + Send + 'static,
{
    fn run(&mut self, context: &mut Context<'_, S>) -> Result<(), Option<rusqlite::Error>> {
        let Some(work) = self.function.take() else { return Ok(()) };
        match work(context) {
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
            // The error of the whole transaction explains more than that of the statement.
            (Some(Err(error)), Some(lost)) if error.code == ErrorCode::Storage => Err(lost.clone()),
            // A refusal holds whatever became of the transaction.
            (Some(Err(error)), _) => Err(error),
            (_, Some(lost)) => Err(lost.clone()),
            (Some(result), None) => result,
            (None, None) => Err(ApiError::stopping()),
        };
        // An error means that the caller has gone. Its work is done anyway.
        let _ = self.answer.send(result);
    }
}

/// Begins a transaction that may write.
pub(super) fn begin(connection: &Connection) -> rusqlite::Result<()> {
    execute(connection, "BEGIN IMMEDIATE")
}

/// Runs each job in a savepoint of its own, and commits. Rolls the transaction back if that fails.
pub(super) fn run_jobs<S: TransactionHooks>(
    connection: &Connection,
    state: &mut S,
    jobs: &mut [Box<dyn Job<S>>],
) -> rusqlite::Result<()> {
    failpoint!("broker.store.begun");
    let done = match jobs {
        [job] if !state.is_due() => run_single(connection, state, job.as_mut()),
        jobs => run_all(connection, state, jobs),
    };
    // SQLite may have rolled it back already.
    if done.is_err() && !connection.is_autocommit() {
        execute(connection, "ROLLBACK")?;
    }
    done
}

fn run_all<S: TransactionHooks>(
    connection: &Connection,
    state: &mut S,
    jobs: &mut [Box<dyn Job<S>>],
) -> rusqlite::Result<()> {
    state.begin(connection)?;
    let now = state.now();
    for job in jobs {
        open_savepoint(connection)?;
        let mark = state.savepoint();
        match job.run(&mut Context { db: connection, state, now }) {
            Ok(()) => release_savepoint(connection)?,
            Err(error) => {
                state.rollback(mark);
                let undone = undo_savepoint(connection);
                check_neighbours(error)?;
                undone?;
            }
        }
    }
    commit(connection)
}

/// Runs a job that has the transaction for itself, while nothing is due: what is due must not be
/// undone together with a request that is refused. The job needs no savepoint, for which SQLite
/// would keep a copy of every page that the job changes.
fn run_single<S: TransactionHooks>(
    connection: &Connection,
    state: &mut S,
    job: &mut dyn Job<S>,
) -> rusqlite::Result<()> {
    let mark = state.savepoint();
    let now = state.now();
    match job.run(&mut Context { db: connection, state, now }) {
        Ok(()) => commit(connection),
        Err(error) => {
            state.rollback(mark);
            check_neighbours(error)?;
            execute(connection, "ROLLBACK")
        }
    }
}

fn commit(connection: &Connection) -> rusqlite::Result<()> {
    failpoint!("broker.store.ran");
    execute(connection, "COMMIT")?;
    failpoint!("broker.store.committed");
    Ok(())
}

/// Executes a statement that has no parameters. It is prepared once, because every commit needs it.
fn execute(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}

/// Returns the error of one job if it concerns the other jobs of the transaction as well.
fn check_neighbours(error: Option<rusqlite::Error>) -> rusqlite::Result<()> {
    match error.filter(concerns_neighbours) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Whether an error of one job concerns the rest of its transaction as well.
fn concerns_neighbours(error: &rusqlite::Error) -> bool {
    is_damage(error) || may_roll_back(error)
}

/// Whether SQLite may have rolled back the whole transaction at this error.
fn may_roll_back(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            Sqlite::DiskFull
                | Sqlite::SystemIoFailure
                | Sqlite::OutOfMemory
                | Sqlite::ReadOnly
                | Sqlite::OperationInterrupted
        )
    )
}
