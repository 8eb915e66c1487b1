//! The store with its database in memory, for tests: the real migrations, writer and transactions,
//! on the caller's own thread.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};

use rusqlite::Connection;
use rusqlite::backup::Backup;
use tempfile::TempDir;

use crate::broker::store::database::Database;
use crate::broker::store::location::Location;
use crate::broker::store::queue::{Command, Durability};
use crate::broker::store::transaction::job;
use crate::broker::store::writer::{Place, Writer};
use crate::broker::store::{
    Context, DatabaseStatus, Fault, StoreOptions, TransactionHooks, schema,
};
use crate::protocol::{ApiError, ErrorCode};
use crate::sys::files::{LockFile, beside};

/// The schema of this build.
pub const SCHEMA_VERSION: i64 = schema::SCHEMA_VERSION;

/// All statements that a test prepares are kept to its end, for the check of their plans.
const ALL_STATEMENTS: usize = 512;

/// What becomes of a transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outcome {
    #[default]
    Committed,
    /// The work is done, and then refused: its savepoint is rolled back.
    Refused,
    /// The commit fails, and with it all requests of the transaction.
    Lost,
}

/// A writer whose connection leads to memory.
pub struct MemoryStore<S> {
    writer: Writer<S>,
    /// Holds the writer's lock file, for which there is no substitute in memory.
    directory: TempDir,
}

impl<S: TransactionHooks> MemoryStore<S> {
    /// Opens an empty database of the current schema.
    pub fn new(state: S) -> Self {
        Self::with(empty(), tempfile::tempdir().unwrap(), state)
    }

    /// Opens a database of an earlier schema that `fill` wrote to.
    pub fn upgraded(version: i64, fill: &str, state: S) -> Self {
        Self::with(upgraded(version, fill), tempfile::tempdir().unwrap(), state)
    }

    fn with(connection: Connection, directory: TempDir, state: S) -> Self {
        connection.set_prepared_statement_cache_capacity(ALL_STATEMENTS);
        let path = &directory.path().join("lock");
        let lock = LockFile::try_take(path).unwrap().unwrap();
        let location = Location::of(path, path).unwrap();
        let options = StoreOptions {
            path,
            legacy_port: 0,
            starting_owner: "",
            owner: "",
            rescue_file: Path::new(""),
            status: DatabaseStatus::default(),
        };
        let writer = Writer::new(Database::new(options, connection, location, lock), state);
        Self { writer, directory }
    }

    /// Runs `work` in a transaction of its own.
    ///
    /// # Errors
    ///
    /// What `work` refuses, and what `outcome` asks for.
    pub fn write<T, F>(&mut self, outcome: Outcome, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Context<'_, S>) -> Result<T, Fault> + Send + 'static,
    {
        let (job, answer) = job(with(outcome, work));
        self.writer.write(vec![job], false);
        answer.blocking_recv().unwrap()
    }

    /// Runs all of `works` in one transaction, as requests that came at the same time.
    pub fn write_all<T, F>(&mut self, works: Vec<(Outcome, F)>) -> Vec<Result<T, ApiError>>
    where
        T: Send + 'static,
        F: FnOnce(&mut Context<'_, S>) -> Result<T, Fault> + Send + 'static,
    {
        let works = works.into_iter().map(|(outcome, work)| job(with(outcome, work)));
        let (jobs, answers): (Vec<_>, Vec<_>) = works.unzip();
        self.writer.write(jobs, false);
        answers.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect()
    }

    /// Runs `work`, which must not write, as the writer does: behind what is due by the clock.
    ///
    /// # Errors
    ///
    /// What `work` refuses.
    pub fn read<T>(
        &mut self,
        work: impl FnOnce(&Context<'_, S>) -> Result<T, Fault>,
    ) -> Result<T, ApiError> {
        if self.writer.state.is_due_before_read() {
            self.writer.write(Vec::new(), false);
        }
        let Writer { database, state, .. } = &mut self.writer;
        let now = state.now();
        work(&Context { db: &database.connection, state, now }).map_err(Fault::into_api)
    }

    /// Runs `work`, which must not write, and applies its effects at once.
    ///
    /// # Errors
    ///
    /// What `work` refuses.
    pub fn update<T>(
        &mut self,
        work: impl FnOnce(&mut Context<'_, S>) -> Result<T, Fault>,
    ) -> Result<T, ApiError> {
        let Writer { database, state, .. } = &mut self.writer;
        let now = state.now();
        let before = database.connection.total_changes();
        let done = Context { db: &database.connection, state, now }.update(work);
        assert_eq!(database.connection.total_changes(), before, "only the memory changes");
        done.map_err(Fault::into_api)
    }

    /// Has a note carried out. Returns whether its commit was synced; nothing if it waits for the next.
    pub fn note(&mut self) -> Option<bool> {
        self.carried_out(Durability::Note)
    }

    /// The same of a write that needs no sync.
    pub fn unsynced(&mut self) -> Option<bool> {
        self.carried_out(Durability::Unsynced)
    }

    /// The same of a write that does.
    pub fn synced(&mut self) -> Option<bool> {
        self.carried_out(Durability::Synced)
    }

    /// Returns how the database syncs its next commit: SQLite's number, of which 2 is FULL.
    pub fn level(&self) -> i64 {
        level(self.database())
    }

    fn carried_out(&mut self, durability: Durability) -> Option<bool> {
        let (sender, seen) = std::sync::mpsc::channel();
        let (job, _answer) = job(move |tx: &mut Context<'_, S>| {
            sender.send(level(tx.db)).unwrap();
            Ok(())
        });
        self.writer.carry_out(vec![Command::Write(durability, job)], Place::Task);
        seen.try_recv().ok().map(|level| level == 2)
    }

    /// Continues with a copy of the database in a file.
    pub fn move_to_file(&mut self) {
        let mut file = Connection::open(self.path()).unwrap();
        Backup::new(self.database(), &mut file).unwrap().step(-1).unwrap();
        schema::configure(&file).unwrap();
        file.set_prepared_statement_cache_capacity(ALL_STATEMENTS);
        self.writer.database.connection = file;
    }

    /// Returns how many pages the log of that file has.
    pub fn pages_of_log(&self) -> u64 {
        /// <https://sqlite.org/fileformat2.html#the_write_ahead_log>
        const HEADER: u64 = 32;
        const FRAME: u64 = 24 + 4096;
        let log = std::fs::metadata(beside(&self.path(), "-wal")).unwrap().len();
        log.saturating_sub(HEADER) / FRAME
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("test.db")
    }

    /// Replaces the memory and keeps the database, as another broker does.
    pub fn restart(&mut self, state: S) {
        self.writer.state = state;
    }

    /// Returns the memory beside the database.
    pub fn state(&mut self) -> &mut S {
        &mut self.writer.state
    }

    /// Returns the database itself, for what no interface tells.
    pub fn database(&self) -> &Connection {
        &self.writer.database.connection
    }
}

fn level(database: &Connection) -> i64 {
    database.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap()
}

/// An empty database of the current schema, for one test. It is made by the real migrations, once,
/// and copied: they take longer than most tests.
fn empty() -> Connection {
    static MODEL: LazyLock<Mutex<Connection>> = LazyLock::new(|| {
        let connection = Connection::open_in_memory().unwrap();
        schema::migrate(&connection, 0).unwrap();
        Mutex::new(connection)
    });
    let mut connection = Connection::open_in_memory().unwrap();
    let model = MODEL.lock().unwrap_or_else(PoisonError::into_inner);
    Backup::new(&model, &mut connection).unwrap().step(-1).unwrap();
    schema::configure(&connection).unwrap();
    connection
}

/// A database of an earlier schema that `fill` wrote to, brought to the current one.
pub fn upgraded(version: i64, fill: &str) -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    for step in schema::MIGRATIONS.iter().take(usize::try_from(version).unwrap()) {
        connection.execute_batch(step).unwrap();
    }
    connection.execute_batch(fill).unwrap();
    schema::migrate(&connection, version).unwrap();
    connection
}

fn with<S, T, F>(outcome: Outcome, work: F) -> impl FnOnce(&mut Context<'_, S>) -> Result<T, Fault>
where
    F: FnOnce(&mut Context<'_, S>) -> Result<T, Fault>,
{
    move |tx| {
        let done = work(tx)?;
        match outcome {
            Outcome::Committed => Ok(done),
            Outcome::Refused => {
                Err(ApiError::new(ErrorCode::Unknown, "the test refuses this").into())
            }
            Outcome::Lost => {
                // A key of a peer that does not exist is found out by the commit.
                tx.db.execute_batch(
                    "PRAGMA defer_foreign_keys = ON;
                     INSERT INTO keys (key, peer, bound_at) VALUES ('lost', 'lost', 0);",
                )?;
                Ok(done)
            }
        }
    }
}
