//! Which socket this user's broker serves, however the shell came about.
//!
//! One user may have two runtime directories: `su` keeps the variable of another user, a snap has
//! its own, cron runs before the login, a client hands its server few variables, a container has
//! only the home. The database is one all the same, and its lock says which broker has it open and
//! where that serves. So whoever finds it held goes there; and nobody is closed out who could be
//! served.

use std::path::PathBuf;

use crate::config::{Config, Paths};
use crate::endpoint::broker_lock::{Holder, Whereabouts, database_lock, holder_of};
use crate::sys::files::{beside, same_place};
use crate::sys::listening::{Listening, listening};

/// Returns the broker that has the database of these settings open, if it is theirs.
#[must_use]
pub fn of_database(config: &Config, paths: &Paths) -> Option<Holder> {
    let holder = holder_of(&database_lock(&config.database_file()))?;
    fits(&holder, config.port.value, paths).then_some(holder)
}

/// The broker of these settings, if one runs, wherever it serves: by the
/// lock on its database, or by the one on its socket.
#[must_use]
pub fn holder(config: &Config) -> Option<Holder> {
    let paths = config.paths.anew();
    let of_database = || of_database(config, &paths);
    if paths.socket_is_named {
        holder_of(&paths.broker_lock).or_else(of_database)
    } else {
        of_database().or_else(|| holder_of(&paths.broker_lock))
    }
}

/// Whether a broker is the one that these settings mean. A port that differs names another one,
/// which has this database by mistake.
fn fits(holder: &Holder, port: u16, paths: &Paths) -> bool {
    let is_of_port = match holder.port {
        Some(theirs) => theirs == port,
        // An older one: the name of its socket tells the port.
        None => holder.socket.file_name() == paths.socket.file_name(),
    };
    holder.socket.is_absolute() && (is_of_port || same_place(&holder.socket, &paths.socket))
}

/// Returns the sockets to call, the best first: where the broker that has the database says that
/// it serves, and where the settings say. A socket that a person named comes before all.
#[must_use]
pub fn sockets(config: &Config) -> Vec<PathBuf> {
    let paths = config.paths.anew();
    let elsewhere = of_database(config, &paths).and_then(|holder| elsewhere(&holder, &paths));
    in_order(paths, elsewhere)
}

/// The same, for a call: an error if another broker has the database that can neither be reached
/// from here nor is proven to run here. Then no start can help, and a service that listens would
/// be started in vain.
///
/// # Errors
///
/// That broker.
pub fn route(config: &Config) -> Result<Vec<PathBuf>, Box<Holder>> {
    let paths = config.paths.anew();
    let holder = of_database(config, &paths);
    match holder {
        Some(holder) if !paths.socket_is_named && is_out_of_reach(&holder, &paths) => {
            Err(Box::new(holder))
        }
        holder => {
            let elsewhere = holder.and_then(|holder| elsewhere(&holder, &paths));
            Ok(in_order(paths, elsewhere))
        }
    }
}

fn in_order(paths: Paths, elsewhere: Option<PathBuf>) -> Vec<PathBuf> {
    let named = paths.socket_is_named;
    let mut all: Vec<PathBuf> = [Some(paths.socket), elsewhere].into_iter().flatten().collect();
    if !named {
        all.reverse();
    }
    all
}

/// Where a broker that has the database serves, if that is another place, to which there is a way.
fn elsewhere(holder: &Holder, paths: &Paths) -> Option<PathBuf> {
    // The most common case, and the cheapest.
    if !cfg!(target_os = "linux") && same_place(&holder.socket, &paths.socket) {
        return None;
    }
    let socket = match holder.whereabouts() {
        // A socket leads to nobody on another machine, whatever lies at its path here.
        Whereabouts::OtherMachine => return None,
        Whereabouts::OtherContainer => as_seen_here(holder, paths),
        Whereabouts::Here | Whereabouts::Unknown => None,
    };
    let socket = socket.unwrap_or_else(|| holder.socket.clone());
    (!same_place(&socket, &paths.socket)).then_some(socket)
}

fn is_out_of_reach(holder: &Holder, paths: &Paths) -> bool {
    let is_at_ours = same_place(&holder.socket, &paths.socket);
    if holder.pid == 0 || !cfg!(target_os = "linux") && is_at_ours {
        return false;
    }
    match holder.whereabouts() {
        Whereabouts::Here => false,
        Whereabouts::OtherMachine => true,
        Whereabouts::OtherContainer | Whereabouts::Unknown => match as_seen_here(holder, paths) {
            Some(socket) => listening(&socket) == Listening::Nobody,
            // What listens at our own path is not that broker, which has one of that name where
            // it runs.
            None => is_at_ours || listening(&holder.socket) == Listening::Nobody,
        },
    }
}

/// The socket of a broker in a container, which may name the home, and all in it, otherwise: the
/// lock beside it is held by the same process.
fn as_seen_here(holder: &Holder, paths: &Paths) -> Option<PathBuf> {
    let is_its = |socket: &PathBuf| {
        holder_of(&beside(socket, ".lock")).is_some_and(|other| other.process == holder.process)
    };
    std::iter::once(holder.socket.clone()).chain(paths.all_sockets()).find(is_its)
}

/// Returns the settings with the socket where their broker serves, for who looks at that.
#[must_use]
pub fn settled(config: &Config) -> Config {
    let mut settled = config.anew();
    let is_served =
        |paths: &Paths| paths.socket_is_named && listening(&paths.socket) != Listening::Nobody;
    let holder = of_database(config, &settled.paths);
    if let Some(socket) = holder.and_then(|holder| elsewhere(&holder, &settled.paths))
        && !is_served(&settled.paths)
        && listening(&socket) == Listening::Yes
    {
        settled.paths = settled.paths.at(socket);
    }
    settled
}

/// Whether anybody listens for clients of these settings, at any of their [`sockets`], and the
/// socket of which that is said.
#[must_use]
pub fn answers(config: &Config) -> (Listening, PathBuf) {
    let mut all = (Listening::Nobody, config.paths.socket.clone());
    for socket in sockets(config) {
        match listening(&socket) {
            Listening::Nobody => {}
            Listening::Yes => return (Listening::Yes, socket),
            unknown @ Listening::Unknown(_) => all = (unknown, socket),
        }
    }
    all
}
