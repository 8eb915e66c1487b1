//! Where everything lies. Socket and locks in the runtime directory, token and log in the state
//! directory, but on macOS the log in `~/Library/Logs`. A broker on another port is another
//! broker, so its files carry the port.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::config::environment::Environment;
use crate::config::error::ConfigError;
use crate::config::settings::DEFAULT_PORT;
use crate::sys::files::beside;
use crate::sys::trust::{check_way, lets_others_write};

/// The longest path a socket can have, in bytes, without the terminating NUL.
pub const MAX_SOCKET_PATH: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// The files of one broker.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The broker's Unix socket.
    pub socket: PathBuf,
    /// `CLAUDE_PEERS_SOCKET` names it: that broker is meant, wherever its database lies.
    pub socket_is_named: bool,
    /// Held by the broker for its whole life.
    pub broker_lock: PathBuf,
    /// Held by a client while it starts a broker.
    pub spawn_lock: PathBuf,
    /// The secret for calls over TCP.
    pub token: PathBuf,
    /// Where a broker that a client started writes its log.
    pub log: PathBuf,
    pub config_file: PathBuf,
    pub home: PathBuf,
    /// The directories in which the socket may lie, best first; none if it is named.
    places: Vec<PathBuf>,
}

pub(super) fn home(environment: &Environment) -> Result<PathBuf, ConfigError> {
    let home = environment.path("HOME").ok_or(ConfigError::NoHome)?;
    // Not made by us: a home that is missing is a mistake, and mail in it would be lost from sight.
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

/// Returns a path with the home directory in the place of `~`.
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

    /// The same, as they are now: a runtime directory comes with a login and goes with the last
    /// logout, and sessions outlive both.
    #[must_use]
    pub fn anew(&self) -> Self {
        let Some(name) = self.socket.file_name().filter(|_| !self.socket_is_named) else {
            return self.clone();
        };
        self.at(best(&self.places, &self.home).join(name))
    }

    /// All places where the socket may lie, best first; none if it is named.
    pub fn all_sockets(&self) -> impl Iterator<Item = PathBuf> {
        let name = self.socket.file_name().unwrap_or_default();
        self.places.iter().map(move |place| place.join(name))
    }

    /// The same, with the socket at another place.
    #[must_use]
    pub fn at(&self, socket: PathBuf) -> Self {
        Self {
            broker_lock: beside(&socket, ".lock"),
            spawn_lock: beside(&socket, ".spawn-lock"),
            socket,
            ..self.clone()
        }
    }

    /// The directory of the socket and its locks.
    #[must_use]
    pub fn runtime(&self) -> &Path {
        self.socket.parent().unwrap_or(Path::new("/"))
    }

    /// The directory of the token.
    #[must_use]
    pub fn state(&self) -> &Path {
        self.token.parent().unwrap_or(Path::new("/"))
    }

    /// What would be lost with the database's own place is saved beside this file.
    #[must_use]
    pub fn refuge(&self) -> PathBuf {
        self.state().join("claude-peers.db")
    }

    /// The directory of the log.
    #[must_use]
    pub fn logs(&self) -> &Path {
        self.log.parent().unwrap_or(Path::new("/"))
    }
}

/// The directories of token and log: those of the XDG base directory specification, or, on a Mac
/// where its variable is not set, Apple's.
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

/// The directories in which the socket may lie, best first: in the runtime directory that the
/// environment names, in the one that logind makes (a cron job has no variable, `su` keeps that of
/// another user), and a private one in the state directory.
fn places(state: &Path, environment: &Environment) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = runtime_directories(environment)
        .into_iter()
        .map(|directory| directory.join("claude-peers"))
        .collect();
    places.push(state.join("run"));
    places
}

/// The first place that is ours alone; else the last, of which it is said what is wrong with it.
fn best<'a>(places: &'a [PathBuf], home: &Path) -> &'a Path {
    let (last, others) = match places.split_last() {
        Some((last, others)) => (last.as_path(), others),
        None => (Path::new("/"), places),
    };
    others.iter().find(|place| is_usable(place, home)).map_or(last, PathBuf::as_path)
}

/// Whether a directory of ours is there, or can be made, where nobody else could put one. What else
/// of ours lies in its place is for a person to move away.
fn is_usable(place: &Path, home: &Path) -> bool {
    let Some(runtime) = place.parent().filter(|runtime| is_ours(runtime)) else { return false };
    let can_be = match std::fs::metadata(place) {
        Ok(there) => there.uid() == crate::sys::files::effective_uid(),
        Err(_) => access(runtime, Access::WRITE_OK | Access::EXEC_OK).is_ok(),
    };
    can_be && check_way(&place.join("broker.sock"), home).is_ok()
}

/// What may be the runtime directory of this user's sessions, best first.
fn runtime_directories(environment: &Environment) -> Vec<PathBuf> {
    let uid = crate::sys::files::effective_uid();
    let logind = cfg!(target_os = "linux").then(|| PathBuf::from(format!("/run/user/{uid}")));
    let named = environment.path("XDG_RUNTIME_DIR");
    named.into_iter().chain(logind).filter(|path| path.is_absolute()).collect()
}

/// A directory of ours in which nobody else can make anything.
fn is_ours(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| {
        m.is_dir() && m.uid() == crate::sys::files::effective_uid() && !lets_others_write(&m)
    })
}

/// Returns the runtime directory of this user's sessions, where the service manager listens, too:
/// `$XDG_RUNTIME_DIR`, or the one that logind makes. `None` if there is none that is truly theirs.
#[must_use]
pub fn session_runtime_directory(environment: &Environment) -> Option<PathBuf> {
    runtime_directories(environment).into_iter().find(|path| is_ours(path))
}
