//! A broker that does something before it can serve, such as taking an earlier database over: its
//! lock file says what, and its callers wait or are told.

use std::sync::{Arc, Mutex, PoisonError};

use crate::client::error::StartError;
use crate::config::Config;
use crate::endpoint::socket::holder;

/// For whoever waits for a busy broker however long it takes: is told what that does, once.
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

/// What the broker does before it can serve, if that takes long.
pub fn busy(config: &Config) -> Option<String> {
    holder(config).and_then(|holder| holder.busy)
}

/// # Errors
///
/// [`StartError::Busy`], if a broker is: another one must not be started.
pub fn refuse_if_busy(config: &Config) -> Result<(), StartError> {
    match busy(config) {
        Some(what) => Err(StartError::Busy { what, listens: false }),
        None => Ok(()),
    }
}
