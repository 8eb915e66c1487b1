//! Brokers that must not be started from here.
//!
//! A container can have the host's socket and a home of its own. A broker started in it would open
//! another database at the host's socket: the host's sessions would be refused, and messages would
//! lie in two places. The socket's lock file says which broker served it last.

use std::path::Path;
use std::time::Duration;

use crate::config::Config;
use crate::endpoint::broker_lock::{Holder, database_lock};
use crate::sys::files::{MAX_RECORD, read_text};
use crate::sys::process;
use crate::sys::process::ProcessStatus;

/// How long a call waits for a broker that only the host can start. A session there starts it
/// at once.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Returns whether the broker of this socket runs outside this container.
///
/// That is so if the socket was named, the last broker there belongs to another pid namespace or
/// another host name, and its database is not the one of these settings.
pub fn is_outside(config: &Config) -> bool {
    if !config.paths.socket_is_named {
        return false;
    }
    let Some(last) = last_holder(&config.paths.broker_lock) else { return false };
    let Some(process) = &last.process else { return false };
    let here = rustix::system::uname();
    let is_of_here = process::status(process) != ProcessStatus::OtherNamespace
        && (last.host.is_empty() || last.host == here.nodename().to_string_lossy());
    let database = config.database_path();
    let real = database.canonicalize().unwrap_or_else(|_| database.to_owned());
    let had_ours =
        || last_holder(&database_lock(&real)).is_some_and(|had| had.process == last.process);
    !is_of_here && !had_ours()
}

/// Returns the owner of a lock, or its last owner.
fn last_holder(lock: &Path) -> Option<Holder> {
    serde_json::from_str(&read_text(lock, MAX_RECORD).ok()?).ok()
}
