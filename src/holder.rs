//! Who holds the broker's lock: read by clients that must not call it to find out.
//!
//! A service manager would start its service for any connection, so `status` looks here first.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::files::{beside, lock_holder};
use crate::protocol::health::Started;

/// What a broker writes into its lock files. It is true as long as the lock is held.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Holder {
    /// 0 if the holder has not said it yet.
    #[serde(default)]
    pub pid: u32,
    #[serde(default)]
    pub started: Started,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub protocol: u32,
    /// Where it serves.
    #[serde(default)]
    pub socket: PathBuf,
    /// Why a client had to start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_reason: Option<String>,
    /// The lock file that says so.
    #[serde(skip)]
    pub lock: PathBuf,
}

/// The broker that holds a lock file, if one does.
#[must_use]
pub fn holder_of(lock: &Path) -> Option<Holder> {
    let text = lock_holder(lock).ok().flatten()?;
    let unknown = || Holder {
        pid: 0,
        started: Started::Unknown,
        version: String::new(),
        protocol: 0,
        socket: PathBuf::new(),
        fallback_reason: None,
        lock: PathBuf::new(),
    };
    // Held, but not described: it is only just starting, or of a much later version.
    let holder = serde_json::from_str(&text).unwrap_or_else(|_| unknown());
    Some(Holder { lock: lock.to_owned(), ..holder })
}

/// The broker of these settings, if one runs: by the lock on its socket, or, should that file
/// have been removed under it with its directory, by the lock on its database.
#[must_use]
pub fn holder(config: &Config) -> Option<Holder> {
    holder_of(&config.paths.broker_lock).or_else(|| {
        let database = config.database_path();
        let real = database.canonicalize().unwrap_or_else(|_| database.to_owned());
        let of_database = holder_of(&database_lock(&real))?;
        (of_database.socket == config.paths.socket).then_some(of_database)
    })
}

/// The file whose lock makes one database have one broker.
#[must_use]
pub fn database_lock(database: &Path) -> PathBuf {
    beside(database, "-lock")
}

/// How often a refusal is believed at last, and how long it is given. Linux tells a full queue from
/// a socket that nobody has; elsewhere both refuse, but a queue does so for a moment only.
const REFUSALS: u32 = if cfg!(target_os = "linux") { 1 } else { 5 };
const QUEUE: std::time::Duration = std::time::Duration::from_millis(10);

/// Whether somebody listens at `path`. Never blocks for longer than a moment, and never starts
/// anything by itself, except that a service manager that listens there would start its service.
#[must_use]
pub fn is_listening(path: &Path) -> bool {
    let Ok(address) = SocketAddrUnix::new(path) else { return false };
    for refused in 1..=REFUSALS {
        let Ok(socket) = socket_that_never_blocks() else { return false };
        match connect(&socket, &address) {
            // A full queue is somebody who listens, if slowly.
            Ok(()) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INPROGRESS) => return true,
            Err(rustix::io::Errno::CONNREFUSED) if refused < REFUSALS => std::thread::sleep(QUEUE),
            Err(_) => return false,
        }
    }
    false
}

#[cfg(target_os = "linux")]
fn socket_that_never_blocks() -> rustix::io::Result<OwnedFd> {
    use rustix::net::{SocketFlags, socket_with};

    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Elsewhere a socket gets its flags after it was made.
#[cfg(not(target_os = "linux"))]
fn socket_that_never_blocks() -> rustix::io::Result<OwnedFd> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

impl Holder {
    /// Sends SIGTERM.
    pub fn ask_to_stop(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// Sends SIGKILL: for one that does not react. What it had accepted is in the database.
    pub fn kill(&self) {
        self.signal(rustix::process::Signal::KILL);
    }

    /// Signals the holder and nobody else, should it end meanwhile and its pid be given away.
    fn signal(&self, signal: rustix::process::Signal) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw)
        else {
            return;
        };
        // A handle on the process first, then a look whether that one still holds the lock: if it
        // does, the handle is the holder's, whatever becomes of the number.
        #[cfg(target_os = "linux")]
        let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
        if !self.still_holds() {
            return;
        }
        // Errors mean that it is gone already, which is what was wanted.
        #[cfg(target_os = "linux")]
        if let Ok(process) = process {
            let _ = rustix::process::pidfd_send_signal(process, signal);
            return;
        }
        // Without handles (macOS, Linux before 5.3) the look alone must do.
        let _ = rustix::process::kill_process(pid, signal);
    }

    fn still_holds(&self) -> bool {
        holder_of(&self.lock).is_some_and(|now| now.pid == self.pid)
    }
}
