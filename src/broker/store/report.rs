//! What became of the database while the broker ran: for `status`, `doctor` and whoever stops it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by the database's thread, which knows, and the calls, which tell.
#[derive(Debug, Clone, Default)]
pub struct Report(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    moved_to: Option<PathBuf>,
    note: Option<String>,
    problem: Option<String>,
}

impl Report {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A damaged database went there.
    pub fn set_moved_to(&self, path: &Path) {
        self.lock().moved_to = Some(path.to_owned());
    }

    #[must_use]
    pub fn moved_to(&self) -> Option<PathBuf> {
        self.lock().moved_to.clone()
    }

    /// What happened to the database's files last, one sentence.
    pub fn set_note(&self, note: &str) {
        self.lock().note = Some(note.to_owned());
    }

    #[must_use]
    pub fn note(&self) -> Option<String> {
        self.lock().note.clone()
    }

    /// Why nothing can be stored now, or that it can. Says whether that is news.
    pub fn set_problem(&self, problem: Option<&str>) -> bool {
        let mut told = self.lock();
        let is_news = told.problem.as_deref() != problem;
        told.problem = problem.map(ToOwned::to_owned);
        is_news
    }

    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.lock().problem.clone()
    }
}
