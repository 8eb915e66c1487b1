//! Which socket the user's broker serves, from any kind of shell.
//!
//! One user can have several runtime directories: `su` keeps another user's variable, a snap has its
//! own, cron runs before the login, some clients pass few variables to their servers, a container has
//! only the home. The database is the same, and its lock says which broker has it open and at which
//! socket that serves. A client that finds the lock held calls that socket.

use std::path::PathBuf;

use crate::config::{Config, Paths};
use crate::endpoint::broker_lock::{Holder, Whereabouts, database_lock, holder_of};
use crate::sys::files::{beside, same_place};
use crate::sys::listening::{Listening, listening};

/// Returns the broker that has the database of these settings open, if it is the one they mean.
#[must_use]
pub fn of_database(config: &Config, paths: &Paths) -> Option<Holder> {
    let holder = holder_of(&database_lock(&config.database_file()))?;
    fits(&holder, config.port, paths).then_some(holder)
}

/// Returns the broker of these settings, if one runs, wherever it serves: by the lock of its
/// database, or by the lock of its socket.
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

/// Returns whether a broker is the one that these settings mean. One with another port has this
/// database by mistake.
fn fits(holder: &Holder, port: u16, paths: &Paths) -> bool {
    let is_of_port = match holder.port {
        Some(theirs) => theirs == port,
        // An older broker: the name of its socket contains the port.
        None => holder.socket.file_name() == paths.socket.file_name(),
    };
    holder.socket.is_absolute() && (is_of_port || same_place(&holder.socket, &paths.socket))
}

/// Returns the sockets to call, the best first: the one where the broker of the database serves,
/// then the one of the settings. A socket that was set explicitly comes first.
#[must_use]
pub fn sockets(config: &Config) -> Vec<PathBuf> {
    let paths = config.paths.anew();
    let elsewhere = of_database(config, &paths).and_then(|holder| elsewhere(&holder, &paths));
    in_order(paths, elsewhere)
}

/// Returns the sockets to call, like [`sockets`], for a call that may start a broker.
///
/// # Errors
///
/// The broker that has the database, if it can neither be reached from here nor is proven to run
/// here. A start could not help then, and a service would be started in vain.
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

/// Returns the socket of the broker that has the database, if it differs and can be reached.
fn elsewhere(holder: &Holder, paths: &Paths) -> Option<PathBuf> {
    // The most common case, and the cheapest to decide.
    if !cfg!(target_os = "linux") && same_place(&holder.socket, &paths.socket) {
        return None;
    }
    let socket = match holder.whereabouts() {
        // A Unix socket cannot lead to another machine, whatever is at its path here.
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
            // A listener at our own path is not that broker, whose socket has the same name in its
            // container.
            None => is_at_ours || listening(&holder.socket) == Listening::Nobody,
        },
    }
}

/// Returns the path here of the socket of a broker in a container, where the home may have another
/// path. The lock beside the socket must be held by the same process.
fn as_seen_here(holder: &Holder, paths: &Paths) -> Option<PathBuf> {
    let is_its = |socket: &PathBuf| {
        holder_of(&beside(socket, ".lock")).is_some_and(|other| other.process == holder.process)
    };
    std::iter::once(holder.socket.clone()).chain(paths.all_sockets()).find(is_its)
}

/// Returns the settings with the socket where their broker serves, for commands that report it.
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

/// Returns whether a broker listens at one of the [`sockets`] of these settings, and which socket
/// that answer is about.
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
