//! One transaction: its jobs run, each undone by itself if it must be, and all are committed.

use rusqlite::{Connection, ErrorCode as Sqlite, Transaction, TransactionBehavior};

use crate::broker::store::writer::Job;
use crate::broker::store::{TransactionHooks, Tx, damage};
use crate::protocol::Timestamp;

/// Begins a transaction that may write.
pub(super) fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// Runs each job in a savepoint of its own, and commits.
pub(super) fn run_all<C: TransactionHooks>(
    mut transaction: Transaction<'_>,
    state: &mut C,
    jobs: &mut [Box<dyn Job<C>>],
) -> rusqlite::Result<()> {
    if let [job] = jobs
        && !state.is_due()
    {
        return run_alone(transaction, state, job.as_mut());
    }
    state.begin(&transaction)?;
    let now = Timestamp::now();
    for job in jobs {
        let savepoint = transaction.savepoint()?;
        state.savepoint();
        match job.run(&mut Tx { db: &savepoint, state, now }) {
            Ok(()) => savepoint.commit()?,
            Err(error) => {
                state.rollback();
                let undone = savepoint.finish();
                spares_the_others(error)?;
                undone?;
            }
        }
    }
    transaction.commit()
}

/// The same for one that has the transaction for itself, and nothing being due: what is due must
/// not be undone with a request that is refused. It needs no savepoint, which would keep a
/// copy of every page that it changes.
fn run_alone<C: TransactionHooks>(
    transaction: Transaction<'_>,
    state: &mut C,
    job: &mut dyn Job<C>,
) -> rusqlite::Result<()> {
    state.savepoint();
    match job.run(&mut Tx { db: &transaction, state, now: Timestamp::now() }) {
        Ok(()) => transaction.commit(),
        Err(error) => {
            state.rollback();
            let undone = transaction.rollback();
            spares_the_others(error)?;
            undone
        }
    }
}

/// Whether what undid one job concerns that job alone; the error, if it does not.
fn spares_the_others(error: Option<rusqlite::Error>) -> rusqlite::Result<()> {
    match error.filter(|e| damage::is_damage(e) || is_out_of_order(e)) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// After these SQLite may have rolled back the whole transaction, so no neighbour is safe.
fn is_out_of_order(error: &rusqlite::Error) -> bool {
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
