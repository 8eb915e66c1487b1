//! Who carries out what is queued: a caller on its own task, or the writer's thread.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::task::Poll;

use crate::broker::store::queue::{Command, Next, Queue};
use crate::broker::store::transaction::TransactionHooks;
use crate::broker::store::writer::{Place, Writer};
use crate::protocol::ApiError;

/// The queue and the writer, which callers and the thread share.
pub(super) struct Lane<S> {
    queue: Queue<S>,
    /// `None` once the database is closed. Only the leader locks it.
    writer: Mutex<Option<Writer<S>>>,
}

impl<S: TransactionHooks> Lane<S> {
    pub fn new(writer: Writer<S>) -> Self {
        Self { queue: Queue::new(), writer: Mutex::new(Some(writer)) }
    }

    /// Queues `command`. The caller that finds no leader carries out all that is queued then.
    ///
    /// # Errors
    ///
    /// If the database is closed.
    pub async fn submit(&self, command: Command<S>) -> Result<(), ApiError> {
        let shares_commit = matches!(command, Command::Write(..));
        if !self.queue.push(command)? {
            return Ok(());
        }
        let lead = Lead(self);
        if !shares_commit {
            lead.carry_out();
            return Ok(());
        }
        // All tasks that are ready, and those whose requests have arrived, queue theirs as well.
        tokio::task::yield_now().await;
        lead.carry_out();
        // The effects of a commit, a push say, go out before our own answer.
        after_others().await;
        Ok(())
    }

    /// Has the thread carry out `command`.
    ///
    /// # Errors
    ///
    /// If the database is closed.
    pub fn submit_to_thread(&self, command: Command<S>) -> Result<(), ApiError> {
        if self.queue.push(command)? {
            self.queue.hand_over(Vec::new());
        }
        Ok(())
    }

    /// Has the thread end once everything is done.
    pub fn abandon(&self) {
        self.queue.abandon();
    }

    /// Carries out what is handed over, until the order to stop or until no caller is left. Then the
    /// database is closed.
    pub fn run_thread(self: Arc<Self>) {
        let closing = Closing(&self.queue);
        let mut stopped = None;
        while stopped.is_none() && self.queue.wait_for_lead() {
            // A panic in the writer ends the broker, on whichever thread it happened.
            let Ok(mut writer) = self.writer.lock() else { return };
            let Some(writer) = writer.as_mut() else { return };
            stopped = self.lead_on_thread(writer);
        }
        drop(closing);
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            writer.close();
        }
        if let Some(done) = stopped {
            let _ = done.send(());
        }
    }

    /// Carries out what is queued. Returns the channel of the order to stop if it came.
    fn lead_on_thread(&self, writer: &mut Writer<S>) -> Option<tokio::sync::oneshot::Sender<()>> {
        loop {
            match self.queue.next() {
                Next::Commands(commands) => {
                    let rest = writer.carry_out(commands, Place::Thread);
                    debug_assert!(rest.is_empty(), "the thread may block");
                    writer.checkpoint(self.queue.is_empty());
                }
                Next::Blocking(Command::Stop(done)) => {
                    writer.write_notes();
                    return Some(done);
                }
                Next::Blocking(command) => {
                    writer.carry_out_blocking(command);
                    writer.checkpoint(self.queue.is_empty());
                }
                Next::Nothing => return None,
            }
        }
    }

    /// Carries out what is queued, until something blocks. Returns what is left for the thread.
    fn lead_on_task(&self) -> Option<Vec<Command<S>>> {
        // The thread finds out that the writer has panicked, which ends it as well.
        let mut writer = match self.writer.try_lock() {
            Ok(writer) => writer,
            Err(TryLockError::WouldBlock | TryLockError::Poisoned(_)) => return Some(Vec::new()),
        };
        let Some(writer) = writer.as_mut() else { return Some(Vec::new()) };
        loop {
            match self.queue.next() {
                Next::Commands(commands) => {
                    let rest = writer.carry_out(commands, Place::Task);
                    if !rest.is_empty() {
                        return Some(rest);
                    }
                }
                Next::Blocking(command) => return Some(vec![command]),
                Next::Nothing => return None,
            }
        }
    }
}

/// The lead of a caller. If the caller goes away, or panics, the thread leads on.
struct Lead<'a, S>(&'a Lane<S>);

impl<S: TransactionHooks> Lead<'_, S> {
    fn carry_out(self) {
        let Lead(lane) = &self;
        let rest = lane.lead_on_task();
        let lane = *lane;
        // A panic drops it instead.
        std::mem::forget(self);
        if let Some(rest) = rest {
            lane.queue.hand_over(rest);
        }
    }
}

impl<S> Drop for Lead<'_, S> {
    fn drop(&mut self) {
        self.0.queue.hand_over(Vec::new());
    }
}

/// Closes the queue when the thread ends, for whatever reason.
struct Closing<'a, S>(&'a Queue<S>);

impl<S> Drop for Closing<'_, S> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Lets the tasks that are ready now run first, in this turn of the runtime's loop.
async fn after_others() {
    let mut is_first = true;
    std::future::poll_fn(|context| {
        if std::mem::take(&mut is_first) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}
