//! Whether a process listens on a Unix socket, found out without starting anything.
//!
//! An error of the system is not a verdict: where the answer is unknown, callers start, stop and
//! advise nothing.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, connect};

/// The number of consecutive `ECONNREFUSED` results that mean that no process listens, and the
/// pause between two tries.
///
/// Linux distinguishes a full backlog (`EAGAIN`) from a socket without a listener. Other systems
/// refuse in both cases, but a backlog is full for a moment only.
const REFUSALS: u32 = if cfg!(target_os = "linux") { 1 } else { 5 };
const REFUSAL_PAUSE: Duration = Duration::from_millis(10);

/// Whether a process listens at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listening {
    Yes,
    /// The system says so: `ECONNREFUSED` or `ENOENT`, and nothing else.
    Nobody,
    /// It cannot be found out from here: a sandbox without Unix sockets, no descriptors left, …
    Unknown(Errno),
}

/// Returns whether a process listens at `path`.
///
/// Blocks for at most 50 ms. A service manager that listens there starts its service for the
/// connection; nothing else is started.
#[must_use]
pub fn listening(path: &Path) -> Listening {
    let address = match SocketAddrUnix::new(path) {
        Ok(address) => address,
        Err(error) => return Listening::Unknown(error),
    };
    let mut refused = 0;
    loop {
        let socket = match nonblocking_socket() {
            Ok(socket) => socket,
            Err(error) => return Listening::Unknown(error),
        };
        match connect(&socket, &address) {
            // A full backlog means a slow listener.
            Ok(()) | Err(Errno::AGAIN | Errno::INPROGRESS) => return Listening::Yes,
            Err(Errno::CONNREFUSED) if refused + 1 < REFUSALS => {
                refused += 1;
                std::thread::sleep(REFUSAL_PAUSE);
            }
            Err(Errno::CONNREFUSED | Errno::NOENT) => return Listening::Nobody,
            Err(error) => return Listening::Unknown(error),
        }
    }
}

/// Returns whether a process is known to listen at `path`.
///
/// A `false` is no proof that none does; [`listening`] tells the two apart.
#[must_use]
pub fn is_listening(path: &Path) -> bool {
    listening(path) == Listening::Yes
}

/// Checks that this process may make Unix sockets, which a sandbox can forbid.
///
/// # Errors
///
/// The system's reason, if it may not.
pub fn may_use_sockets() -> Result<(), Errno> {
    nonblocking_socket().map(drop)
}

#[cfg(target_os = "linux")]
fn nonblocking_socket() -> rustix::io::Result<OwnedFd> {
    use rustix::net::{SocketFlags, socket_with};

    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// Only Linux sets a socket's flags as it makes it.
#[cfg(not(target_os = "linux"))]
fn nonblocking_socket() -> rustix::io::Result<OwnedFd> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}
