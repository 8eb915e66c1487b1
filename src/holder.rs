//! Who holds the broker's lock: read by clients that must not call it to find out.
//!
//! A service manager would start its service for any connection, so `status` looks here first.

use serde::{Deserialize, Serialize};

use crate::config::Paths;
use crate::files::lock_holder;
use crate::protocol::health::Started;

/// What a broker writes into its lock file. It is true as long as the lock is held.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    pub pid: u32,
    pub started: Started,
    pub version: String,
    pub protocol: u32,
}

/// The broker that holds the lock, if one does and has said who it is.
#[must_use]
pub fn holder(paths: &Paths) -> Option<Holder> {
    let text = lock_holder(&paths.broker_lock).ok().flatten()?;
    serde_json::from_str(&text).ok()
}

impl Holder {
    /// Sends SIGTERM.
    pub fn ask_to_stop(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Sends SIGKILL: for one that does not react. What it had accepted is in the database.
    pub fn kill(&self) {
        self.signal(rustix::process::Signal::KILL);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw) {
            // An error means that it is gone already, which is what was wanted.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}
