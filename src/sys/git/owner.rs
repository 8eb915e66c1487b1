//! Which repositories may be used, by the rules of git: those that belong to the user, and those that
//! the user's own git configuration calls safe.
//!
//! Without this check another user's `/tmp/.git` would hold every directory below.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::sys::git::repository::NoRepository;
use crate::sys::git::settings;

/// The user, and the configuration files that name other trusted repositories.
#[derive(Debug, Clone)]
pub struct Trust {
    users: Vec<u32>,
    system: PathBuf,
    home: Option<PathBuf>,
    config_home: Option<PathBuf>,
}

impl Trust {
    /// Reads from an environment the trust of this process's user.
    #[must_use]
    pub fn of(environment: &[(OsString, OsString)]) -> Self {
        let variable = |name: &str| {
            let (_, value) = environment.iter().find(|(n, _)| n == name)?;
            Some(value.clone()).filter(|value| !value.is_empty())
        };
        let path = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let home = path("HOME");
        let user = rustix::process::geteuid().as_raw();
        // Under sudo, repositories of the user who called it are trusted as well.
        let invoker = variable("SUDO_UID").filter(|_| user == 0);
        let invoker = invoker.and_then(|id| id.to_str()?.parse().ok());
        Self {
            users: std::iter::once(user).chain(invoker).collect(),
            system: PathBuf::from("/etc/gitconfig"),
            config_home: path("XDG_CONFIG_HOME")
                .or_else(|| home.as_ref().map(|home| home.join(".config"))),
            home,
        }
    }

    /// Checks that all `parts` of a repository belong to the user, or that `named` is called safe.
    ///
    /// # Errors
    ///
    /// [`NoRepository`] with the first part that belongs to another user.
    pub fn check(&self, parts: &[&Path], named: &Path) -> Result<(), NoRepository> {
        let foreign = parts.iter().find_map(|part| {
            let owner = std::fs::symlink_metadata(part).ok()?.uid();
            (!self.users.contains(&owner)).then(|| (part.to_path_buf(), owner))
        });
        match foreign {
            Some((path, owner)) if !self.calls_safe(named) => {
                Err(NoRepository::Foreign { path, owner })
            }
            _ => Ok(()),
        }
    }

    /// Returns whether `safe.directory` covers a directory, in the configuration of system or user.
    ///
    /// Git ignores the setting in a repository's own configuration.
    fn calls_safe(&self, directory: &Path) -> bool {
        let of_user = self.config_home.as_ref().map(|config| config.join("git/config"));
        let in_home = self.home.as_ref().map(|home| home.join(".gitconfig"));
        let files = std::iter::once(self.system.clone()).chain(of_user).chain(in_home);
        let mut safe = false;
        for value in files.flat_map(|file| settings::values(&file, "safe", "directory")) {
            // An empty value cancels the earlier ones.
            safe = !value.is_empty() && (safe || self.covers(&value, directory));
        }
        safe
    }

    fn covers(&self, value: &OsStr, directory: &Path) -> bool {
        if value == "*" {
            return true;
        }
        let path = match (value.as_bytes().strip_prefix(b"~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(OsStr::from_bytes(rest)),
            _ => PathBuf::from(value),
        };
        let canonical = |path: &Path| std::fs::canonicalize(path).ok();
        if path.file_name() == Some(OsStr::new("*")) {
            let above = path.parent().and_then(canonical);
            return above.is_some_and(|above| directory != above && directory.starts_with(above));
        }
        path.is_absolute() && canonical(&path).is_some_and(|path| path == directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_user_owns_is_used_only_if_the_users_configuration_calls_it_safe() {
        let home = tempfile::tempdir().unwrap();
        let base = home.path().canonicalize().unwrap();
        let (shop, other) = (base.join("shop"), base.join("shop-2"));
        std::fs::create_dir_all(shop.join("deep")).unwrap();
        std::fs::create_dir(&other).unwrap();
        let environment = [("HOME".into(), base.clone().into_os_string())];
        let own = Trust::of(&environment);
        assert_eq!(own.check(&[&shop], &shop), Ok(()));
        // No user who runs this test has this id.
        let strange = Trust { users: vec![u32::MAX - 2], system: base.join("none"), ..own };
        let owner = rustix::process::geteuid().as_raw();
        let refused = Err(NoRepository::Foreign { path: shop.clone(), owner });
        assert_eq!(strange.check(&[&shop], &shop), refused);
        for (config, safe) in [
            ("[safe]\n\tdirectory = *\n".to_owned(), true),
            (format!("[safe]\n\tdirectory = {}\n", shop.display()), true),
            ("[safe]\n\tdirectory = ~/shop\n".to_owned(), true),
            (format!("[safe]\n\tdirectory = {}/*\n", base.display()), true),
            (format!("[safe]\n\tdirectory = {}\n", other.display()), false),
            (format!("[safe]\n\tdirectory = {}/*\n", shop.display()), false),
            ("[safe]\n\tdirectory = shop\n".to_owned(), false),
            ("[safe]\n\tdirectory = *\n\tdirectory =\n".to_owned(), false),
            ("[unsafe]\n\tdirectory = *\n".to_owned(), false),
        ] {
            std::fs::write(base.join(".gitconfig"), &config).unwrap();
            assert_eq!(strange.check(&[&shop], &shop).is_ok(), safe, "{config}");
            std::fs::create_dir_all(base.join(".config/git")).unwrap();
            std::fs::rename(base.join(".gitconfig"), base.join(".config/git/config")).unwrap();
            assert_eq!(strange.check(&[&shop], &shop).is_ok(), safe, "{config}");
            std::fs::remove_file(base.join(".config/git/config")).unwrap();
        }
    }
}
