//! Whether a client that finds no broker gets it from the service.
//!
//! Cheap questions first: where no unit is installed, systemctl is never called.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Config, Source};
use crate::endpoint::socket::holder;
use crate::service::error::Unavailable;
use crate::service::systemd::settings::{is_unit_socket, of_service};
use crate::service::systemd::units::{Found, Places};
use crate::service::systemd::{
    SERVICE, SOCKET, TCP_SOCKET, manager_runs, show_within, systemctl_within,
};
use crate::sys::files::{same_place, write_private};
use crate::sys::listening::is_listening;

/// How long the manager may take to answer a client, which has 16 s for its whole call.
const LIMIT: Duration = Duration::from_secs(3);

/// Longer than `RestartSec=` (200 ms): a service whose restart counter grew within this time is
/// in a crash loop.
const CRASH_LOOP: Duration = Duration::from_millis(700);

/// How long it is remembered that the service could not run. Then it is tried once more.
const MEMORY: Duration = Duration::from_secs(10 * 60);

/// Whether the service is there for these settings, as far as files tell.
///
/// # Errors
///
/// If it is not.
pub fn availability(config: &Config) -> Result<(), Unavailable> {
    let places = Places::new(config);
    for unit in [SOCKET, SERVICE] {
        match places.find(unit) {
            Found::File(_) => {}
            Found::Nothing if manager_runs() => return Err(Unavailable::NotInstalled),
            Found::Nothing => return Err(Unavailable::NoManager),
            Found::Masked(_) => return Err(Unavailable::Masked(unit)),
        }
    }
    if !is_unit_socket(config) {
        return Err(Unavailable::OtherSettings("socket"));
    }
    if !manager_runs() {
        return Err(Unavailable::NoManager);
    }
    match remembered(config, &places) {
        Some(result) => Err(Unavailable::Failed { unit: SERVICE, result }),
        None => Ok(()),
    }
}

/// Starts the socket unit. Call it under the spawn lock, where nobody listens.
///
/// A unit that has failed is left alone: it would fail again, and the next client would find
/// nobody as we did. `service start` and `doctor` fix it.
///
/// # Errors
///
/// If the service is not there, or does not serve.
pub fn start(config: &Config) -> Result<(), Unavailable> {
    availability(config)?;
    let manager = Unavailable::Manager;
    let mut units = show_within(LIMIT, &[SOCKET, SERVICE]).map_err(manager)?.into_iter();
    let (socket, service) = (units.next().unwrap_or_default(), units.next().unwrap_or_default());
    for (unit, name) in [(&socket, SOCKET), (&service, SERVICE)] {
        if unit.is_masked() {
            return Err(Unavailable::Masked(name));
        }
        if unit.has_failed() {
            return Err(Unavailable::Failed { unit: name, result: unit.last_words() });
        }
    }
    // A database that only this environment names is one that the service does not serve.
    if config.database.source == Source::Environment
        && !of_service().is_ok_and(|seen| same_place(seen.database_path(), config.database_path()))
    {
        return Err(Unavailable::OtherSettings("database"));
    }
    // It listens, but the path is gone: somebody removed the file.
    let order = if socket.is_active() { "restart" } else { "start" };
    systemctl_within(LIMIT, &[order, SOCKET]).map_err(manager)?;
    if !is_listening(&config.paths.socket) {
        return Err(Unavailable::Deaf);
    }
    // The port may be somebody else's, and this client does not need it.
    let _ = systemctl_within(LIMIT, &["start", "--no-block", TCP_SOCKET]);
    Ok(())
}

/// Why the service does not serve though its socket listens: its program ends as soon as it is
/// started, again and again. `None` if it is only slow, or not ours.
///
/// Takes most of a second, so it is for a client that has waited in vain and found no broker.
#[must_use]
pub fn crash_loop(config: &Config) -> Option<Unavailable> {
    availability(config).ok()?;
    let look = || show_within(LIMIT, &[SERVICE]).ok()?.pop();
    let before = look()?;
    std::thread::sleep(CRASH_LOOP);
    let after = look()?;
    // One that was killed in between, and is back, is none of these.
    (after.restarts > before.restarts && holder(config).is_none())
        .then(|| Unavailable::Failed { unit: SERVICE, result: after.last_words() })
}

/// Closes the sockets of a service that cannot run, so that another broker can have their places,
/// and remembers that: the manager forgets it at once, and the next client would wait again.
pub fn disable(config: &Config, why: &Unavailable) {
    // Whatever the outcome, the fallback takes the path.
    let _ = systemctl_within(LIMIT, &["stop", SOCKET, TCP_SOCKET, SERVICE]);
    if let Unavailable::Failed { result, .. } = why {
        let _ = write_private(&note(config), result);
    }
}

/// Forgets that the service could not run.
pub fn forget(config: &Config) {
    // An error means that there is nothing to forget.
    let _ = std::fs::remove_file(note(config));
}

fn note(config: &Config) -> PathBuf {
    config.paths.runtime().join("service-failed")
}

/// Why the service was given up a while ago, unless its unit has changed since.
fn remembered(config: &Config, places: &Places) -> Option<String> {
    let written = std::fs::metadata(note(config)).and_then(|file| file.modified()).ok()?;
    let Found::File(unit) = places.find(SERVICE) else { return None };
    let changed = std::fs::metadata(unit).and_then(|file| file.modified()).ok()?;
    let recent = written.elapsed().is_ok_and(|age| age < MEMORY);
    if !recent || changed > written {
        return None;
    }
    std::fs::read_to_string(note(config)).ok()
}
