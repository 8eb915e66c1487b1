//! Observers: people who look at what is going on. Without one, nothing of this costs anything.
//!
//! While there is an observer, the database reports which rows its transactions change. After the commit
//! they are told to each observer, which then reads what it shows. So an observer that is slow has
//! a set of numbers that wait, and no copies of messages.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The most observers at a time. Each may hold a few large messages that it does not read.
pub const MAX_OBSERVERS: usize = 32;

/// From this number of changed messages on an observer begins anew.
const MAX_PENDING: usize = 20_000;

/// What has changed since an observer last looked.
#[derive(Debug, Default)]
pub struct Changes {
    /// The sequence numbers of messages that are new, or whose state changed.
    pub messages: BTreeSet<i64>,
    /// Any of the peers may have changed.
    pub peers: bool,
    /// So much has changed, or another database is in use, that the observer begins anew.
    pub everything: bool,
}

impl Changes {
    fn add(&mut self, other: &Self) {
        self.peers |= other.peers;
        self.everything |= other.everything;
        if self.messages.len() + other.messages.len() > MAX_PENDING {
            self.everything = true;
        }
        if self.everything {
            self.messages.clear();
        } else {
            self.messages.extend(&other.messages);
        }
    }

    fn is_empty(&self) -> bool {
        self.messages.is_empty() && !self.peers && !self.everything
    }
}

/// What one observer has not looked at yet.
#[derive(Debug, Default)]
struct Pending {
    changes: Mutex<Changes>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    count: AtomicUsize,
    observers: Mutex<Vec<Arc<Pending>>>,
    /// What the transaction that is under way has changed.
    uncommitted: Mutex<Changes>,
}

/// The register of observers. Each clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Observers(Arc<Inner>);

impl Observers {
    /// Adds an observer, unless there are too many.
    #[must_use]
    pub fn add(&self) -> Option<Observer> {
        let mut observers = lock(&self.0.observers);
        if observers.len() >= MAX_OBSERVERS {
            return None;
        }
        let pending = Arc::new(Pending::default());
        observers.push(Arc::clone(&pending));
        self.0.count.store(observers.len(), Ordering::Release);
        Some(Observer { all: self.clone(), pending })
    }

    /// Whether anybody looks.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.count.load(Ordering::Acquire) > 0
    }

    /// Records that a transaction changed a row of a table.
    pub fn row_changed(&self, table: &str, row: i64) {
        let mut uncommitted = lock(&self.0.uncommitted);
        match table {
            // The messages of probes are negative, and concern nobody.
            "messages" if row > 0 => {
                uncommitted.messages.insert(row);
                // Its recipient's backlog.
                uncommitted.peers = true;
            }
            "peers" => uncommitted.peers = true,
            _ => {}
        }
    }

    /// Tells all observers what the transaction changed, and that peers changed in memory if `peers`.
    pub fn committed(&self, peers: bool) {
        let mut changes = std::mem::take(&mut *lock(&self.0.uncommitted));
        changes.peers |= peers;
        self.tell(&changes);
    }

    /// Forgets what a transaction changed that is lost.
    pub fn aborted(&self) {
        *lock(&self.0.uncommitted) = Changes::default();
    }

    /// Makes all observers begin anew.
    pub fn reset(&self) {
        self.aborted();
        self.tell(&Changes { everything: true, ..Changes::default() });
    }

    fn tell(&self, changes: &Changes) {
        if changes.is_empty() {
            return;
        }
        for pending in lock(&self.0.observers).iter() {
            lock(&pending.changes).add(changes);
            pending.notify.notify_one();
        }
    }
}

/// One observer. Dropping it ends it.
#[derive(Debug)]
pub struct Observer {
    all: Observers,
    pending: Arc<Pending>,
}

impl Observer {
    /// Returns once something has changed.
    pub async fn changed(&self) {
        loop {
            let notified = self.pending.notify.notified();
            if !lock(&self.pending.changes).is_empty() {
                return;
            }
            notified.await;
        }
    }

    /// Takes what has changed.
    #[must_use]
    pub fn take(&self) -> Changes {
        std::mem::take(&mut lock(&self.pending.changes))
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let mut observers = lock(&self.all.0.observers);
        observers.retain(|pending| !Arc::ptr_eq(pending, &self.pending));
        self.all.0.count.store(observers.len(), Ordering::Release);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is complete in itself, so a panic elsewhere leaves nothing half-done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observer_is_told_what_was_committed_and_nothing_else() {
        let observers = Observers::default();
        assert!(!observers.is_any());
        let observer = observers.add().unwrap();
        observers.row_changed("messages", 7);
        assert!(observer.take().is_empty(), "it is not committed");
        observers.aborted();
        observers.committed(false);
        assert!(observer.take().is_empty(), "it was lost");
        observers.row_changed("messages", 8);
        observers.row_changed("messages", -1);
        observers.row_changed("offers", 9);
        observers.committed(false);
        let taken = observer.take();
        assert_eq!(taken.messages.into_iter().collect::<Vec<_>>(), [8]);
        assert!(observer.take().is_empty(), "it was taken");
        drop(observer);
        assert!(!observers.is_any());
    }

    #[test]
    fn a_slow_observer_begins_anew_instead_of_growing() {
        let observers = Observers::default();
        let observer = observers.add().unwrap();
        for row in 0..=i64::try_from(MAX_PENDING).unwrap() {
            observers.row_changed("messages", row + 1);
            observers.committed(false);
        }
        let taken = observer.take();
        assert!(taken.everything && taken.messages.is_empty());
    }

    #[test]
    fn there_are_never_too_many() {
        let observers = Observers::default();
        let held: Vec<_> = std::iter::from_fn(|| observers.add()).take(1_000).collect();
        assert_eq!(held.len(), MAX_OBSERVERS);
        drop(held);
        assert!(observers.add().is_some());
    }
}
