//! What is being done to the database while it is opened, for those who wait for it.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A step of opening the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Step {
    #[default]
    Opening,
    Checking,
    /// One of the TypeScript claude-peers becomes ours.
    TakingOver,
    /// One of an earlier version becomes one of this version.
    Migrating,
}

/// The step under way, as whoever opens the database says and whoever watches it reads.
#[derive(Debug, Clone, Default)]
pub struct Doing(Arc<Mutex<Step>>);

impl Doing {
    pub fn now(&self, step: Step) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }

    /// It in words: "taking over …".
    #[must_use]
    pub fn words(&self, path: &Path) -> String {
        let database = path.display();
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Step::Opening => format!("opening the database {database}"),
            Step::Checking => format!("checking the database {database}"),
            Step::TakingOver => {
                format!("taking over the database {database} of the TypeScript claude-peers")
            }
            Step::Migrating => {
                format!("taking over the database {database} of an earlier version")
            }
        }
    }
}
