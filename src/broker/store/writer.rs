//! The writer: it owns the one connection, and commits jobs in groups.
//!
//! It carries out what the queue's leader took, in one transaction with one fsync (group commit). On a
//! caller's task it blocks for one commit at most, for which every other request would have to wait
//! as well. What may take longer is left to the writer's thread: a database that another process has
//! locked, or that is not in its place, and checkpoints.

use std::time::Duration;

use rusqlite::ErrorCode as Sqlite;

use crate::broker::store::database::Database;
use crate::broker::store::error::{is_damage, storage_error};
use crate::broker::store::queue::{BetweenCommits, Command, Durability};
use crate::broker::store::recovery::RecoveryOutcome;
use crate::broker::store::transaction::{Job, TransactionHooks, begin, run_jobs};
use crate::protocol::ApiError;

/// Number of commits between two looks at the length of the log.
const CHECKPOINT_EVERY: u32 = 64;

/// How long a commit waits while another process (a backup, a shell) has the database locked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

/// Where commands are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// On a caller's task, where nothing may block for longer than a commit.
    Task,
    /// On the writer's thread.
    Thread,
}

/// The jobs of a transaction.
type Jobs<S> = Vec<Box<dyn Job<S>>>;

/// Commands that are carried out together.
struct Work<S> {
    writes: Vec<(Durability, Box<dyn Job<S>>)>,
    /// They come after the commit, so that they never see what may still be rolled back.
    between: Vec<BetweenCommits<S>>,
    /// Whether notes must not wait any longer.
    writes_notes: bool,
}

impl<S> Work<S> {
    fn of(commands: Vec<Command<S>>) -> Self {
        let mut work = Self { writes: Vec::new(), between: Vec::new(), writes_notes: false };
        for command in commands {
            match command {
                Command::Write(durability, job) => work.writes.push((durability, job)),
                Command::Between(look) => work.between.push(look),
                // The queue gives out the others alone.
                _ => work.writes_notes = true,
            }
        }
        work
    }

    /// Whether there are only notes, which may wait.
    fn may_wait(&self) -> bool {
        let mut writes = self.writes.iter();
        !self.writes_notes
            && self.between.is_empty()
            && writes.all(|(durability, _)| *durability == Durability::Note)
    }

    /// Whether there is nothing to do but to write notes.
    fn is_nothing(&self) -> bool {
        self.writes.is_empty() && self.between.is_empty()
    }

    fn must_sync(&self) -> bool {
        self.writes.iter().any(|(durability, _)| *durability == Durability::Synced)
    }

    fn take_jobs(&mut self) -> Jobs<S> {
        self.writes.drain(..).map(|(_, job)| job).collect()
    }

    fn into_commands(self) -> Vec<Command<S>> {
        let write = |(durability, job)| Command::Write(durability, job);
        let between = self.between.into_iter().map(Command::Between);
        self.writes.into_iter().map(write).chain(between).collect()
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
    /// Notes that wait for the next commit.
    notes: Jobs<S>,
    /// Commits since the last look at the length of the log.
    commits: u32,
}

impl<S: TransactionHooks> Writer<S> {
    pub fn new(database: Database, state: S) -> Self {
        database.set_lock_timeout(LOCK_TIMEOUT);
        Self { database, state, notes: Vec::new(), commits: 0 }
    }

    /// Carries out commands together. Returns what is left for the thread: on the thread, nothing.
    pub fn carry_out(&mut self, commands: Vec<Command<S>>, place: Place) -> Vec<Command<S>> {
        let mut work = Work::of(commands);
        if place == Place::Task && work.may_wait() && !self.state.must_sync() {
            self.notes.extend(work.take_jobs());
            failpoint!("broker.notes.waiting");
            return Vec::new();
        }
        if place == Place::Task && work.is_nothing() && self.notes.is_empty() {
            return Vec::new();
        }
        work.writes.splice(..0, self.notes.drain(..).map(|job| (Durability::Note, job)));
        match place {
            Place::Task => {
                if !self.database.is_in_place() {
                    // The recovery may take long.
                    return work.into_commands();
                }
                if self.has_to_commit(&work) {
                    let left = self.commit_on_task(&mut work);
                    if !left.is_empty() {
                        return left.into_iter().chain(work.into_commands()).collect();
                    }
                }
            }
            Place::Thread => self.commit_on_thread(&mut work),
        }
        let mut is_damaged = false;
        for look in work.between {
            is_damaged |= look(&self.database.connection, &mut self.state);
        }
        match place {
            Place::Task if is_damaged => return vec![Command::Repair],
            Place::Task if self.needs_checkpoint() => return vec![Command::Checkpoint],
            Place::Thread if is_damaged => self.replace_damaged(),
            _ => {}
        }
        Vec::new()
    }

    /// Carries out what blocks.
    pub fn carry_out_blocking(&mut self, command: Command<S>) {
        match command {
            Command::Conclude(jobs) => {
                let outcome = self.check_location();
                self.finish_or_repair(jobs, outcome);
            }
            Command::Repair => self.replace_damaged(),
            Command::StartFreshDatabase(answer) => {
                let saved = self.database.start_fresh();
                self.reset_if_replaced();
                // An error means that the caller has gone.
                let _ = answer.send(saved);
            }
            // A checkpoint follows each command here.
            _ => {}
        }
    }

    /// Writes the notes that wait.
    pub fn write_notes(&mut self) {
        if !self.notes.is_empty() {
            self.carry_out(vec![Command::WriteNotes], Place::Thread);
        }
    }

    fn has_to_commit(&self, work: &Work<S>) -> bool {
        !work.writes.is_empty() || self.state.is_due_before_read()
    }

    /// Commits what is to be written, in a database that is in its place. Returns what the thread is to
    /// do about it, first of all.
    fn commit_on_task(&mut self, work: &mut Work<S>) -> Vec<Command<S>> {
        let sync = work.must_sync() || self.state.must_sync();
        self.watch_rows();
        self.database.set_lock_timeout(Duration::ZERO);
        let begun = self.database.set_synced(sync).and_then(|()| begin(&self.database.connection));
        self.database.set_lock_timeout(LOCK_TIMEOUT);
        let mut jobs = match &begun {
            // Nothing has begun. The thread can wait until the database is unlocked.
            Err(error) if error.sqlite_error_code() == Some(Sqlite::DatabaseBusy) => {
                return std::mem::take(&mut work.writes)
                    .into_iter()
                    .map(|(durability, job)| Command::Write(durability, job))
                    .collect();
            }
            _ => work.take_jobs(),
        };
        let outcome =
            begun.and_then(|()| run_jobs(&self.database.connection, &mut self.state, &mut jobs));
        if outcome.is_ok() && sync && !self.database.is_in_place() {
            return vec![Command::Conclude(jobs)];
        }
        let is_damaged = self.finish(jobs, outcome.map_err(CommitFailure::from));
        self.sync_again();
        if is_damaged { vec![Command::Repair] } else { Vec::new() }
    }

    /// Recovers the database if that is needed, and commits what is to be written.
    fn commit_on_thread(&mut self, work: &mut Work<S>) {
        if !self.has_to_commit(work) {
            return self.recover_for_read();
        }
        let sync = work.must_sync() || self.state.must_sync();
        let jobs = work.take_jobs();
        if !sync && self.database.may_write_unlinked() {
            self.recover_for_read();
            return self.write(jobs, false);
        }
        match self.recover() {
            Ok(RecoveryOutcome::Kept) => {
                let sync = sync || self.state.must_sync();
                self.write(jobs, sync);
            }
            Ok(RecoveryOutcome::Replaced(error)) | Err(error) => {
                for job in jobs {
                    job.finish(Some(&error));
                }
            }
        }
    }

    /// Commits `jobs` and answers them.
    pub(super) fn write(&mut self, mut jobs: Jobs<S>, sync: bool) {
        self.watch_rows();
        let outcome = self
            .database
            .set_synced(sync)
            .and_then(|()| begin(&self.database.connection))
            .and_then(|()| run_jobs(&self.database.connection, &mut self.state, &mut jobs));
        let outcome = match outcome {
            // An unsynced write promises nothing, so the next write checks the location.
            Ok(()) if sync => self.check_location(),
            outcome => outcome.map_err(CommitFailure::from),
        };
        self.finish_or_repair(jobs, outcome);
        self.sync_again();
    }

    /// Has the rows that change reported, as long as anybody wants to know.
    fn watch_rows(&mut self) {
        if self.database.is_watched() == self.state.has_row_watcher() {
            return;
        }
        if let Err(error) = self.database.watch_rows(self.state.row_watcher()) {
            tracing::warn!("the database cannot report what changes: {error}");
        }
    }

    /// Has the next commit synced: it is likely to need it, and here no request is waiting. If that
    /// fails, the next write tries again.
    fn sync_again(&mut self) {
        let _ = self.database.set_synced(true);
    }

    /// Checks after a commit that the database is still at its path. Otherwise the commit is not
    /// durable.
    fn check_location(&mut self) -> Result<(), CommitFailure> {
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

    fn finish_or_repair(&mut self, jobs: Jobs<S>, outcome: Result<(), CommitFailure>) {
        if self.finish(jobs, outcome) {
            self.replace_damaged();
        }
    }

    /// Answers the jobs of a transaction that was committed or lost. Returns whether it met damage.
    fn finish(&mut self, jobs: Jobs<S>, outcome: Result<(), CommitFailure>) -> bool {
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
            failpoint!("broker.store.applied");
        }
        for job in jobs {
            job.finish(lost.as_ref());
        }
        failpoint!("broker.store.answered");
        matches!(outcome, Err(CommitFailure::Database(error)) if is_damage(&error))
    }

    /// Makes a checkpoint if it is time: after the answers and not within a commit.
    pub fn checkpoint(&mut self, is_idle: bool) {
        if self.commits >= CHECKPOINT_EVERY {
            self.database.checkpoint_if_long(is_idle);
            self.commits = 0;
        }
    }

    /// Whether it is time for a checkpoint, and the log is long enough.
    fn needs_checkpoint(&mut self) -> bool {
        if self.commits < CHECKPOINT_EVERY {
            return false;
        }
        if self.database.has_long_log() {
            return true;
        }
        self.commits = 0;
        false
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

    pub fn close(mut self) {
        self.write_notes();
        self.database.recover_or_save();
        self.reset_if_replaced();
        self.database.close();
    }
}
