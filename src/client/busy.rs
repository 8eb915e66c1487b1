//! A broker that is still opening its database, for example importing an earlier one. Its lock file
//! says what it does; callers wait for it, or report it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::client::error::StartError;
use crate::config::Config;
use crate::endpoint::socket::holder;

/// Reports what a broker does before it can serve, each description once.
#[derive(Debug, Clone)]
pub struct Tell {
    how: fn(&str),
    said: Arc<Mutex<String>>,
}

impl Tell {
    #[must_use]
    pub fn new(how: fn(&str)) -> Self {
        Self { how, said: Arc::default() }
    }

    pub fn say(&self, what: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if *said != what {
            what.clone_into(&mut said);
            (self.how)(what);
        }
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
