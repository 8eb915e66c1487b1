//! On-demand start by systemd, for a client that finds no broker.
//!
//! Cheap checks come first: if no unit is installed, systemctl is not run.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Config, SettingId, Source};
use crate::endpoint::socket::holder;
use crate::service::error::Unavailable;
use crate::service::systemd::settings::{is_unit_socket, of_service};
use crate::service::systemd::units::{Found, Places};
use crate::service::systemd::{
    SERVICE, SOCKET, TCP_SOCKET, manager_runs, show_within, systemctl_within,
};
use crate::sys::files::{same_place, write_private};
use crate::sys::listening::is_listening;

/// The limit of one call of systemctl. The client has 16 s for its whole call.
const LIMIT: Duration = Duration::from_secs(3);

/// Longer than `RestartSec=` (200 ms): a service whose restart counter grew within this time is
/// in a crash loop.
const CRASH_LOOP: Duration = Duration::from_millis(700);

/// How long a crash loop is remembered. After that the service is tried once more.
const MEMORY: Duration = Duration::from_secs(10 * 60);

/// Checks that the service is there for these settings, as far as files tell.
///
/// # Errors
///
/// If it is not.
pub fn availability(config: &Config) -> Result<(), Unavailable> {
    let places = Places::new(config);
    for unit in [SOCKET, SERVICE] {
        match places.find(unit) {
            Found::File(_) => {}
            Found::Nothing if manager_runs(&config.environment) => {
                return Err(Unavailable::NotInstalled);
            }
            Found::Nothing => return Err(Unavailable::NoManager),
            Found::Masked(_) => return Err(Unavailable::Masked(unit)),
        }
    }
    if !is_unit_socket(&config.environment, config) {
        return Err(Unavailable::OtherSettings("socket"));
    }
    if !manager_runs(&config.environment) {
        return Err(Unavailable::NoManager);
    }
    match remembered(config, &places) {
        Some(result) => Err(Unavailable::Failed { unit: SERVICE, result }),
        None => Ok(()),
    }
}

/// Starts the socket unit. Requires the spawn lock.
///
/// A failed unit is not started: it would fail again, and the next client would find no broker
/// either. `service start` and `doctor` fix it.
///
/// # Errors
///
/// If the service is not there, or does not serve.
pub fn start(config: &Config) -> Result<(), Unavailable> {
    availability(config)?;
    let manager = Unavailable::Manager;
    let mut units =
        show_within(&config.environment, LIMIT, &[SOCKET, SERVICE]).map_err(manager)?.into_iter();
    let (socket, service) = (units.next().unwrap_or_default(), units.next().unwrap_or_default());
    for (unit, name) in [(&socket, SOCKET), (&service, SERVICE)] {
        if unit.is_masked() {
            return Err(Unavailable::Masked(name));
        }
        if unit.has_failed() {
            return Err(Unavailable::Failed { unit: name, result: unit.last_words() });
        }
    }
    // The service does not serve a database that is set only in this environment.
    if config.source(SettingId::Database) == Source::Environment
        && !of_service(&config.environment)
            .is_ok_and(|seen| same_place(seen.database_path(), config.database_path()))
    {
        return Err(Unavailable::OtherSettings("database"));
    }
    // It listens, but the socket's file was removed.
    let order = if socket.is_active() { "restart" } else { "start" };
    systemctl_within(&config.environment, LIMIT, &[order, SOCKET]).map_err(manager)?;
    if !is_listening(&config.paths.socket) {
        return Err(Unavailable::Deaf);
    }
    // Another program may have the port, and this client does not need it.
    let _ = systemctl_within(&config.environment, LIMIT, &["start", "--no-block", TCP_SOCKET]);
    Ok(())
}

/// Returns the failure of a service in a crash loop; `None` if it is only slow, or not ours.
///
/// Takes 0.7 s, so it is for a client that has waited in vain and found no broker.
#[must_use]
pub fn crash_loop(config: &Config) -> Option<Unavailable> {
    availability(config).ok()?;
    let look = || show_within(&config.environment, LIMIT, &[SERVICE]).ok()?.pop();
    let before = look()?;
    std::thread::sleep(CRASH_LOOP);
    let after = look()?;
    // A service that was killed once, and runs again, is not in a crash loop.
    (after.restarts > before.restarts && holder(config).is_none())
        .then(|| Unavailable::Failed { unit: SERVICE, result: after.last_words() })
}

/// Closes the sockets of a service that cannot run, so that another broker can have their paths.
///
/// The reason is noted in a file, because the manager forgets it, and the next client would wait
/// again.
pub fn disable(config: &Config, why: &Unavailable) {
    // The fallback broker takes the path, whatever the outcome.
    let _ = systemctl_within(&config.environment, LIMIT, &["stop", SOCKET, TCP_SOCKET, SERVICE]);
    if let Unavailable::Failed { result, .. } = why {
        let _ = write_private(&note(config), result);
    }
}

/// Removes the note about a crash loop.
pub fn forget(config: &Config) {
    // An error means that there is no note.
    let _ = std::fs::remove_file(note(config));
}

fn note(config: &Config) -> PathBuf {
    config.paths.runtime().join("service-failed")
}

/// Returns why the service was disabled recently, unless its unit has changed since.
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
