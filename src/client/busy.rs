//! A broker that is still opening its database, for example importing an earlier one. Its lock file
//! says what it does; callers wait for it, or report it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::client::error::StartError;
use crate::config::Config;
use crate::endpoint::socket::holder;

/// Reports what a broker does before it can serve, each description once.
#[derive(Clone)]
pub struct Tell {
    how: Arc<dyn Fn(&str) + Send + Sync>,
    said: Arc<Mutex<String>>,
}

impl Tell {
    #[must_use]
    pub fn new(how: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self { how: Arc::new(how), said: Arc::default() }
    }

    pub fn say(&self, what: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != what {
            what.clone_into(&mut said);
            (self.how)(what);
        }
    }
}

impl fmt::Debug for Tell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tell").field("said", &self.said).finish_non_exhaustive()
    }
}

/// Returns what the broker does before it can serve, if that takes long.
pub fn busy(config: &Config) -> Option<String> {
    holder(config).and_then(|holder| holder.busy)
}

/// Refuses a start while a broker is still opening its database.
///
/// # Errors
///
/// [`StartError::Busy`] in that case.
pub fn refuse_if_busy(config: &Config) -> Result<(), StartError> {
    match busy(config) {
        Some(what) => Err(StartError::Busy { what, listens: false }),
        None => Ok(()),
    }
}
