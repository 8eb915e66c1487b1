//! The queue: everything that callers ask of the database, in the order in which they came.
//!
//! Whoever leads carries out what is queued. Without a leader the next caller becomes it, and it
//! hands the lead to the writer's thread where something blocks. So there is one order, wherever the
//! work is done.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::broker::store::transaction::Job;
use crate::protocol::ApiError;

/// Limit of commands that are carried out together.
const MAX_BATCH: usize = 256;

/// How durable the transaction of a job must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// Its commit is fsynced before the answer.
    Synced,
    /// It needs no fsync.
    Unsynced,
    /// It needs no fsync, and may wait for the next commit.
    Note,
}

/// Work between two commits. It returns whether it met damage.
pub(super) type BetweenCommits<S> = Box<dyn FnOnce(&Connection, &mut S) -> bool + Send>;

/// What is to be done.
pub(super) enum Command<S> {
    Write(Durability, Box<dyn Job<S>>),
    Between(BetweenCommits<S>),
    /// Write the notes that wait.
    WriteNotes,
    /// Answer these jobs: they are committed, and it is to be found out where to.
    Conclude(Vec<Box<dyn Job<S>>>),
    /// Replace the database, which is damaged.
    Repair,
    /// The log may have grown.
    Checkpoint,
    StartFreshDatabase(oneshot::Sender<Result<Option<PathBuf>, ApiError>>),
    Stop(oneshot::Sender<()>),
}

impl<S> Command<S> {
    /// Whether this is for the writer's thread, and carried out alone.
    const fn blocks(&self) -> bool {
        !matches!(self, Self::Write(..) | Self::Between(_) | Self::WriteNotes)
    }
}

/// Who carries out what is queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leader {
    None,
    Caller,
    Thread,
}

/// What a leader is to do next.
pub(super) enum Next<S> {
    /// Carry these out together.
    Commands(Vec<Command<S>>),
    /// Carry this out, which blocks.
    Blocking(Command<S>),
    /// Nothing is queued, and the lead is given up.
    Nothing,
}

pub(super) struct Queue<S> {
    inner: Mutex<Inner<S>>,
    /// Notified when the thread is to lead, or to end.
    changed: Condvar,
}

struct Inner<S> {
    commands: VecDeque<Command<S>>,
    leader: Leader,
    /// Whether no caller is left.
    is_abandoned: bool,
    /// Whether nothing is carried out any more.
    is_closed: bool,
}

impl<S> Queue<S> {
    pub fn new() -> Self {
        let inner = Inner {
            commands: VecDeque::new(),
            leader: Leader::None,
            is_abandoned: false,
            is_closed: false,
        };
        Self { inner: Mutex::new(inner), changed: Condvar::new() }
    }

    /// Appends a command. Returns whether the caller leads from now on.
    ///
    /// # Errors
    ///
    /// If nothing is carried out any more.
    pub fn push(&self, command: Command<S>) -> Result<bool, ApiError> {
        let mut inner = self.lock();
        if inner.is_closed {
            return Err(ApiError::stopping());
        }
        inner.commands.push_back(command);
        let leads = inner.leader == Leader::None;
        if leads {
            inner.leader = Leader::Caller;
        }
        Ok(leads)
    }

    /// Takes what is to be done next. For the leader alone.
    pub fn next(&self) -> Next<S> {
        let mut inner = self.lock();
        if inner.commands.front().is_some_and(Command::blocks)
            && let Some(command) = inner.commands.pop_front()
        {
            return Next::Blocking(command);
        }
        let together = inner.commands.iter().take(MAX_BATCH);
        let count = together.take_while(|command| !command.blocks()).count();
        if count == 0 {
            inner.leader = Leader::None;
            if inner.is_abandoned {
                inner.leader = Leader::Thread;
                self.changed.notify_one();
            }
            return Next::Nothing;
        }
        Next::Commands(inner.commands.drain(..count).collect())
    }

    /// Puts back what blocks, and hands the lead to the thread.
    pub fn hand_over(&self, rest: Vec<Command<S>>) {
        let mut inner = self.lock();
        for command in rest.into_iter().rev() {
            inner.commands.push_front(command);
        }
        inner.leader = Leader::Thread;
        self.changed.notify_one();
    }

    /// Blocks until the thread is to lead. Returns false when it is to end.
    pub fn wait_for_lead(&self) -> bool {
        let mut inner = self.lock();
        while inner.leader != Leader::Thread && !inner.is_closed {
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        !(inner.is_closed || inner.is_abandoned && inner.commands.is_empty())
    }

    pub fn is_empty(&self) -> bool {
        self.lock().commands.is_empty()
    }

    /// Has the thread end once everything is done, because no caller is left.
    pub fn abandon(&self) {
        let mut inner = self.lock();
        inner.is_abandoned = true;
        if inner.leader == Leader::None {
            inner.leader = Leader::Thread;
        }
        self.changed.notify_one();
    }

    /// Refuses everything that is queued, and all that comes.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.is_closed = true;
        self.changed.notify_one();
        let refused = std::mem::take(&mut inner.commands);
        // Their callers are told by the end of the channels, and may call at once.
        drop(inner);
        drop(refused);
    }

    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        // A panic elsewhere leaves the queue whole: every change to it is a single step.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
