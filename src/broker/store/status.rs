//! What became of the database while the broker ran: for `status`, `doctor` and `kill-broker`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The state of the database's files. The writer sets it and calls read it; each clone is the same.
#[derive(Debug, Clone, Default)]
pub struct DatabaseStatus(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    moved_to: Option<PathBuf>,
    note: Option<String>,
    problem: Option<String>,
}

impl DatabaseStatus {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that a damaged database was moved to `path`.
    pub fn set_moved_to(&self, path: &Path) {
        self.lock().moved_to = Some(path.to_owned());
    }

    /// Returns where a damaged database was moved, if one was.
    #[must_use]
    pub fn moved_to(&self) -> Option<PathBuf> {
        self.lock().moved_to.clone()
    }

    /// Records, in one sentence, what happened to the database's files last.
    pub fn set_note(&self, note: &str) {
        self.lock().note = Some(note.to_owned());
    }

    /// Returns what happened to the database's files last.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        self.lock().note.clone()
    }

    /// Records why nothing can be stored now, or with `None` that all is well. Returns whether that
    /// differs from the state before.
    pub fn set_problem(&self, problem: Option<&str>) -> bool {
        let mut inner = self.lock();
        let is_new = inner.problem.as_deref() != problem;
        inner.problem = problem.map(ToOwned::to_owned);
        is_new
    }

    /// Returns why nothing can be stored now.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }
}
