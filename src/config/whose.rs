//! Checks to which user the directories for our files belong.
//!
//! Root in a user's home (`sudo` that keeps HOME, `su` without `-`) would create files there that the
//! user can neither read nor remove, and so make the user's own database unusable. So nothing is done
//! there at all. Other users cannot create most of these files, and a home that a group shares is
//! fine.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, access};

use crate::config::environment::Environment;
use crate::config::error::ConfigError;
use crate::config::paths::absolute;
use crate::config::settings::{SettingId, setting};
use crate::config::value::is_absolute;
use crate::sys::files::effective_uid;

const ROOT: u32 = 0;

/// The variables that name a directory in which files are created.
const PLACES: [&str; 2] = ["XDG_STATE_HOME", "XDG_CONFIG_HOME"];

/// Refuses directories of another user, in which our files would cause trouble.
///
/// # Errors
///
/// [`ConfigError::AnothersPlace`].
pub fn refuse_others_places(environment: &Environment) -> Result<(), ConfigError> {
    let Some(home) = environment.absolute_path("HOME") else {
        // An invalid value is reported elsewhere.
        return Ok(());
    };
    refuse("HOME", &home)?;
    for name in PLACES {
        if let Some(place) = environment.absolute_path(name) {
            refuse_root(name, &place)?;
        }
    }
    let database = environment.path(setting(SettingId::Database).variable);
    match database.filter(|path| is_absolute(path)) {
        Some(database) => check_database(&absolute(&database, &home)),
        None => Ok(()),
    }
}

/// Refuses a database in a directory of another user.
pub(super) fn check_database(database: &Path) -> Result<(), ConfigError> {
    // If the database is a link, its target counts.
    let real = crate::sys::files::real_path(database);
    refuse_root(setting(SettingId::Database).variable, real.parent().unwrap_or(Path::new("/")))
}

fn refuse(name: &'static str, home: &Path) -> Result<(), ConfigError> {
    refuse_root(name, home)?;
    let Some(owner) = owner_of(home) else { return Ok(()) };
    // A directory of root is no user's home, as in many containers and services.
    let is_ours = owner == effective_uid() || owner == ROOT;
    if is_ours || access(home, Access::WRITE_OK | Access::EXEC_OK).is_ok() {
        return Ok(());
    }
    Err(another(name, home, owner))
}

fn refuse_root(name: &'static str, place: &Path) -> Result<(), ConfigError> {
    if effective_uid() != ROOT {
        return Ok(());
    }
    match owner_of(place) {
        Some(owner) if owner != ROOT => Err(another(name, place, owner)),
        _ => Ok(()),
    }
}

fn another(name: &'static str, place: &Path, owner: u32) -> ConfigError {
    ConfigError::AnothersPlace { name, place: place.to_owned(), owner, user: effective_uid() }
}

/// Returns the owner of a path, or of the directory in which it would be created; `None` if unknown.
fn owner_of(place: &Path) -> Option<u32> {
    for path in place.ancestors() {
        match std::fs::metadata(path) {
            Ok(metadata) => return Some(metadata.uid()).filter(|owner| !is_unknown(*owner)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return None,
        }
    }
    None
}

/// Returns whether this id stands for users without an id here: in a user namespace they all have the
/// same one.
fn is_unknown(owner: u32) -> bool {
    let number = std::fs::read_to_string("/proc/sys/kernel/overflowuid");
    let hidden = number.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(HIDDEN);
    owner == hidden && std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !is_all(&map))
}

/// The default overflow user id of Linux.
const HIDDEN: u32 = 65_534;

/// Returns whether a user map is that of the whole machine, where every id is a real user.
fn is_all(map: &str) -> bool {
    let fields: Vec<&str> = map.split_whitespace().collect();
    fields == ["0", "0", "4294967295"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_the_whole_machine_hides_nobody() {
        assert!(is_all("         0          0 4294967295\n"));
        assert!(!is_all("         0       1000          1\n"));
        assert!(!is_all("         0       1000          1\n         1     100000      65536\n"));
        assert!(!is_all(""));
    }

    #[test]
    fn a_place_that_is_not_there_belongs_to_whoever_has_the_directory_above_it() {
        let directory = tempfile::tempdir().unwrap();
        let owner = std::fs::metadata(directory.path()).unwrap().uid();
        assert_eq!(owner_of(&directory.path().join("not/there/yet")), Some(owner));
        assert_eq!(owner_of(directory.path()), Some(owner));
    }
}
