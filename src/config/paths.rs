//! The paths of all files.
//!
//! Socket and locks are in the runtime directory, token and log in the state directory, but on macOS
//! the log is in `~/Library/Logs`. The files of a broker on another port have the port in their names.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::config::environment::Environment;
use crate::config::error::ConfigError;
use crate::config::settings::DEFAULT_PORT;
use crate::sys::files::beside;
use crate::sys::private_group::lets_others_write;
use crate::sys::trust::check_way;

/// The longest path of a socket, in bytes, without the terminating NUL.
pub const MAX_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The files of one broker.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The broker's Unix socket.
    pub socket: PathBuf,
    /// `CLAUDE_PEERS_SOCKET` names the socket: that broker is meant, whatever its database is.
    pub socket_is_named: bool,
    /// The broker lock, which the broker keeps for its whole life.
    pub broker_lock: PathBuf,
    /// The lock that a client keeps while it starts a broker.
    pub spawn_lock: PathBuf,
    /// The file with the token for calls over TCP.
    pub token: PathBuf,
    /// The log file of a broker that a client started.
    pub log: PathBuf,
    pub config_file: PathBuf,
    pub home: PathBuf,
    /// The directories in which the socket may be, best first; none if the socket is named.
    places: Vec<PathBuf>,
}

pub(super) fn home(environment: &Environment) -> Result<PathBuf, ConfigError> {
    let home = environment.path("HOME").ok_or(ConfigError::NoHome)?;
    // A missing home is not created: it is a mistake, and mail in it would not be found again.
    match (home.is_absolute(), home.is_dir()) {
        (false, _) => Err(ConfigError::RelativeHome(home)),
        (true, false) => Err(ConfigError::MissingHome(home)),
        (true, true) => Ok(home),
    }
}

pub(super) fn config_file(home: &Path, environment: &Environment) -> PathBuf {
    let base = environment.absolute_path("XDG_CONFIG_HOME");
    base.unwrap_or_else(|| home.join(".config")).join("claude-peers/config.toml")
}

/// Returns a path with `~` replaced by the home directory.
pub(super) fn absolute(path: &Path, home: &Path) -> PathBuf {
    path.strip_prefix("~").map_or_else(|_| path.to_owned(), |rest| home.join(rest))
}

impl Paths {
    pub(super) fn new(
        home: &Path,
        port: u16,
        named: Option<&Path>,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let (state, logs) = state_and_logs(home, environment, cfg!(target_os = "macos"));
        let tag = if port == DEFAULT_PORT { String::new() } else { format!("-{port}") };
        let socket_is_named = named.is_some();
        let places = if socket_is_named { Vec::new() } else { places(&state, environment) };
        let socket = match named {
            Some(path) => absolute(path, home),
            None => best(&places, home).join(format!("broker{tag}.sock")),
        };
        let length = socket.as_os_str().as_bytes().len();
        if length > MAX_SOCKET_PATH {
            let path = socket.display().to_string();
            return Err(ConfigError::SocketPathTooLong { path, length, limit: MAX_SOCKET_PATH });
        }
        Ok(Self {
            broker_lock: beside(&socket, ".lock"),
            spawn_lock: beside(&socket, ".spawn-lock"),
            token: state.join(format!("token{tag}")),
            log: logs.join(format!("broker{tag}.log")),
            config_file: config_file(home, environment),
            home: home.to_owned(),
            socket,
            socket_is_named,
            places,
        })
    }

    /// Returns these paths with the place of the socket as it is now.
    ///
    /// A runtime directory is created at login and removed at the last logout, and sessions outlive
    /// both.
    #[must_use]
    pub fn anew(&self) -> Self {
        let Some(name) = self.socket.file_name().filter(|_| !self.socket_is_named) else {
            return self.clone();
        };
        self.at(best(&self.places, &self.home).join(name))
    }

    /// Returns all places where the socket may be, best first; none if the socket is named.
    pub fn all_sockets(&self) -> impl Iterator<Item = PathBuf> {
        let name = self.socket.file_name().unwrap_or_default();
        self.places.iter().map(move |place| place.join(name))
    }

    /// Returns these paths with the socket in another place.
    #[must_use]
    pub fn at(&self, socket: PathBuf) -> Self {
        Self {
            broker_lock: beside(&socket, ".lock"),
            spawn_lock: beside(&socket, ".spawn-lock"),
            socket,
            ..self.clone()
        }
    }

    /// Returns the directory of the socket and its locks.
    #[must_use]
    pub fn runtime(&self) -> &Path {
        self.socket.parent().unwrap_or(Path::new("/"))
    }

    /// Returns the directory of the token.
    #[must_use]
    pub fn state(&self) -> &Path {
        self.token.parent().unwrap_or(Path::new("/"))
    }

    /// Returns the path beside which data is saved that would be lost with the database's own place.
    #[must_use]
    pub fn refuge(&self) -> PathBuf {
        self.state().join("claude-peers.db")
    }

    /// Returns the directory of the log.
    #[must_use]
    pub fn logs(&self) -> &Path {
        self.log.parent().unwrap_or(Path::new("/"))
    }
}

/// Returns the directories of token and log.
///
/// They follow the XDG base directory specification; on macOS, if its variable is not set, Apple's
/// conventions.
pub(super) fn state_and_logs(
    home: &Path,
    environment: &Environment,
    apple: bool,
) -> (PathBuf, PathBuf) {
    let default = if apple { "Library/Application Support" } else { ".local/state" };
    let base = environment.absolute_path("XDG_STATE_HOME");
    let state = base.unwrap_or_else(|| home.join(default)).join("claude-peers");
    let logs = match home.join("Library") {
        library if apple && state.starts_with(&library) => library.join("Logs/claude-peers"),
        _ => state.clone(),
    };
    (state, logs)
}

/// Returns the directories in which the socket may be, best first.
///
/// These are in the runtime directory that the environment names, in the one that logind creates (a
/// cron job has no variable, `su` keeps that of another user), and a private one in the state
/// directory.
fn places(state: &Path, environment: &Environment) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = runtime_directories(environment)
        .into_iter()
        .map(|directory| directory.join("claude-peers"))
        .collect();
    places.push(state.join("run"));
    places
}

/// Returns the first place that only our user can change; else the last one, whose problem is
/// reported later.
fn best<'a>(places: &'a [PathBuf], home: &Path) -> &'a Path {
    let (last, others) = match places.split_last() {
        Some((last, others)) => (last.as_path(), others),
        None => (Path::new("/"), places),
    };
    others.iter().find(|place| is_usable(place, home)).map_or(last, PathBuf::as_path)
}

/// Returns whether a directory of our user exists or can be created where no other user can create
/// one. A person has to move away anything else of ours in its place.
fn is_usable(place: &Path, home: &Path) -> bool {
    let Some(runtime) = place.parent().filter(|runtime| is_ours(runtime)) else { return false };
    let can_be = match std::fs::metadata(place) {
        Ok(there) => there.uid() == crate::sys::files::effective_uid(),
        Err(_) => access(runtime, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
    };
    can_be && check_way(&place.join("broker.sock"), home).is_ok()
}

/// Returns the possible runtime directories of this user's sessions, best first.
fn runtime_directories(environment: &Environment) -> Vec<PathBuf> {
    let uid = crate::sys::files::effective_uid();
    let logind = cfg!(target_os = "linux").then(|| PathBuf::from(format!("/run/user/{uid}")));
    let named = environment.path("XDG_RUNTIME_DIR");
    named.into_iter().chain(logind).filter(|path| path.is_absolute()).collect()
}

/// Returns whether a directory is our user's, and no other user can create files in it.
fn is_ours(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| {
        m.is_dir() && m.uid() == crate::sys::files::effective_uid() && !lets_others_write(&m)
    })
}

/// Returns the runtime directory of this user's sessions, where the service manager listens, too.
///
/// That is `$XDG_RUNTIME_DIR`, or the one that logind creates; `None` if neither is our user's.
#[must_use]
pub fn session_runtime_directory(environment: &Environment) -> Option<PathBuf> {
    runtime_directories(environment).into_iter().find(|path| is_ours(path))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    #[test]
    fn a_runtime_directory_is_our_users_and_closed_to_others() {
        let top = tempfile::tempdir().unwrap();
        let run = top.path().join("run");
        std::fs::create_dir(&run).unwrap();
        let mode = |mode| {
            std::fs::set_permissions(&run, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let chosen = |named: &Path| {
            let named = (OsString::from("XDG_RUNTIME_DIR"), OsString::from(named));
            session_runtime_directory(&std::iter::once(named).collect())
        };
        let is_chosen = || chosen(&run).as_ref() == Some(&run);
        for closed in [0o700, 0o755] {
            mode(closed);
            assert!(is_chosen(), "{closed:o}");
        }
        for open in [0o777, 0o1777, 0o757] {
            mode(open);
            assert!(!is_chosen(), "{open:o}");
        }
        mode(0o700);
        std::fs::write(run.join("file"), "").unwrap();
        assert_ne!(chosen(&run.join("file")), Some(run.join("file")));
        // Only root can give it away.
        if chown(&run, Some(12_345), None).is_ok() {
            assert!(!is_chosen(), "another user's");
        }
    }
}
