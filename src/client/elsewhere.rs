//! Brokers that are not ours to start.
//!
//! A container has the host's socket and a home of its own. A broker that it started there would
//! open another database at the host's socket: the host's sessions would be refused, and mail
//! would be in two places. Who served at the socket last is in its lock file.

use std::path::Path;
use std::time::Duration;

use crate::config::Config;
use crate::endpoint::broker_lock::{Holder, database_lock};
use crate::sys::process::Standing;

/// How long a call waits for a broker that only others can start: their sessions do so at once.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the broker of this socket is one of outside: the socket was named, who served there
/// last counts in another pid namespace or is of a host of another name, and what it had open is
/// not the database of these settings.
pub fn is_outside(config: &Config) -> bool {
    if !config.paths.socket_is_named {
        return false;
    }
    let Some(last) = last_holder(&config.paths.broker_lock) else { return false };
    let Some(process) = &last.process else { return false };
    let here = rustix::system::uname();
    let is_of_here = process.standing() != Standing::OtherNamespace
        && (last.host.is_empty() || last.host == here.nodename().to_string_lossy());
    let database = config.database_path();
    let real = database.canonicalize().unwrap_or_else(|_| database.to_owned());
    let had_ours =
        || last_holder(&database_lock(&real)).is_some_and(|had| had.process == last.process);
    !is_of_here && !had_ours()
}

/// Who holds a lock, or held it last.
fn last_holder(lock: &Path) -> Option<Holder> {
    serde_json::from_str(&std::fs::read_to_string(lock).ok()?).ok()
}
