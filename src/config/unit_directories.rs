//! The directories of the user's systemd units: systemd.unit(5), "User Unit Search Path".

use std::path::{Path, PathBuf};

use crate::config::Environment;
use crate::config::paths::session_runtime_directory;

/// The directories for packages, which do not depend on the environment.
const FIXED: [&str; 5] = [
    "/usr/local/share/systemd/user",
    "/usr/share/systemd/user",
    "/usr/local/lib/systemd/user",
    "/usr/lib/systemd/user",
    "/lib/systemd/user",
];

/// Returns the directories in which the user's service manager finds units, without the user's own.
///
/// These are the directories of the administrator, the user's packages, and packages, in order of
/// precedence. They depend on the manager's environment, which is that of the login; the environment
/// of a shell is the best approximation.
#[must_use]
pub fn unit_directories(environment: &Environment) -> Vec<PathBuf> {
    let several = |name: &str, default: &str| {
        let list = environment.get(name).unwrap_or(default.as_ref());
        std::env::split_paths(list).filter(|path| path.is_absolute()).collect::<Vec<_>>()
    };
    let data_home = environment
        .absolute_path("XDG_DATA_HOME")
        .or_else(|| environment.absolute_path("HOME").map(|home| home.join(".local/share")));
    let below = |directory: &Path| directory.join("systemd/user");

    let mut found: Vec<PathBuf> =
        several("XDG_CONFIG_DIRS", "/etc/xdg").iter().map(|directory| below(directory)).collect();
    found.push("/etc/systemd/user".into());
    found.extend(session_runtime_directory(environment).map(|directory| below(&directory)));
    found.push("/run/systemd/user".into());
    found.extend(data_home.map(|directory| below(&directory)));
    found.extend(several("XDG_DATA_DIRS", "").iter().map(|directory| below(directory)));
    found.extend(FIXED.map(PathBuf::from));
    let mut seen = std::collections::HashSet::new();
    found.retain(|directory| seen.insert(directory.clone()));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_a_users_own_packages_are_seen() {
        let listed = |set: &[(&str, &str)]| unit_directories(&set.iter().copied().collect());
        let plain = listed(&[("HOME", "/home/a"), ("XDG_RUNTIME_DIR", "/nonexistent")]);
        let at = |list: &[PathBuf], path: &str| {
            list.iter().position(|directory| directory == Path::new(path))
        };
        assert_eq!(
            plain[..3],
            ["/etc/xdg", "/etc", "/run"].map(|d| Path::new(d).join("systemd/user"))
        );
        assert!(at(&plain, "/home/a/.local/share/systemd/user") < at(&plain, FIXED[0]));
        let nix = listed(&[
            ("HOME", "/home/a"),
            ("XDG_RUNTIME_DIR", "/nonexistent"),
            ("XDG_DATA_HOME", "/data"),
            ("XDG_DATA_DIRS", "/home/a/.nix-profile/share:relative:/usr/share"),
            ("XDG_CONFIG_DIRS", "/opt/etc"),
        ]);
        assert_eq!(at(&nix, "/opt/etc/systemd/user"), Some(0));
        assert!(
            at(&nix, "/data/systemd/user") < at(&nix, "/home/a/.nix-profile/share/systemd/user")
        );
        assert!(at(&nix, "/home/a/.nix-profile/share/systemd/user").is_some());
        assert_eq!(nix.iter().filter(|d| **d == Path::new("/usr/share/systemd/user")).count(), 1);
        assert!(nix.iter().all(|directory| directory.is_absolute()));
    }
}
