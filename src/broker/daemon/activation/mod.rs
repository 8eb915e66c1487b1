//! The broker's sockets: inherited from a service manager, or bound by the broker itself.
//!
//! This is the only module that knows where a listener came from. An inherited socket is recognised
//! by its name and its family together, never by its order; the sockets that are missing are bound.

// On Linux only its tests need it.
#[cfg(any(target_os = "macos", test))]
mod launchd;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketType, getsockname, sockopt};

use crate::protocol::health::Started;
use crate::sys::files::same_place;

/// The names of our sockets: `FileDescriptorName=` in their units, their keys in launchd's plist.
pub const UNIX_NAME: &str = "unix";
pub const TCP_NAME: &str = "tcp";

/// The sockets that a service manager passed at the start.
#[derive(Debug, Default)]
pub struct Inherited {
    pub unix: Vec<UnixListener>,
    pub tcp: Vec<TcpListener>,
    /// The manager that passed them, if there are any.
    pub manager: Option<Started>,
    /// Other sockets that were passed, each with the reason why it is not served. They are logged
    /// later, because there is no log yet when they are found.
    pub foreign: Vec<String>,
}

impl Inherited {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unix.is_empty() && self.tcp.is_empty()
    }

    /// Whether one of them is the Unix socket at `path`.
    #[must_use]
    pub fn has_unix(&self, path: &Path) -> bool {
        let is_it = |listener: &UnixListener| {
            let address = listener.local_addr();
            address.is_ok_and(|at| at.as_pathname().is_some_and(|at| same_place(at, path)))
        };
        self.unix.iter().any(is_it)
    }

    /// Whether one of them listens on the TCP port `port`.
    #[must_use]
    pub fn has_tcp(&self, port: u16) -> bool {
        let is_it = |listener: &TcpListener| listener.local_addr().is_ok_and(|a| a.port() == port);
        self.tcp.iter().any(is_it)
    }

    /// Adds a socket that `manager` passed under `name`. A socket that is not ours is closed.
    pub fn adopt(&mut self, manager: Started, name: &str, socket: OwnedFd) {
        match kind(name, &socket) {
            Ok(Kind::Unix) => self.unix.push(UnixListener::from(socket)),
            Ok(Kind::Tcp) => self.tcp.push(TcpListener::from(socket)),
            Err(problem) => return self.foreign.push(format!("\"{name}\" {problem}")),
        }
        self.manager = Some(manager);
    }

    /// Adds the sockets that launchd keeps for this process, if it is a job of launchd.
    ///
    /// # Errors
    ///
    /// If launchd has sockets for this job and does not pass them.
    #[cfg(target_os = "macos")]
    pub fn with_launchd(mut self) -> io::Result<Self> {
        for (name, socket) in launchd::sockets(&[UNIX_NAME, TCP_NAME])? {
            self.adopt(Started::Launchd, name, socket);
        }
        Ok(self)
    }
}

enum Kind {
    Unix,
    Tcp,
}

/// Returns which of our sockets an inherited descriptor is, or why it is none of them.
fn kind(name: &str, socket: &OwnedFd) -> Result<Kind, String> {
    if sockopt::socket_type(socket) != Ok(SocketType::STREAM) {
        return Err("is not a stream socket".to_owned());
    }
    // macOS does not report it. There launchd passes listeners only.
    #[cfg(not(target_vendor = "apple"))]
    if sockopt::socket_acceptconn(socket) != Ok(true) {
        return Err("does not listen".to_owned());
    }
    let address = getsockname(socket).map_err(|error| format!("has no address: {error}"))?;
    let (kind, expected) = match address.address_family() {
        AddressFamily::UNIX => (Kind::Unix, UNIX_NAME),
        AddressFamily::INET | AddressFamily::INET6 => {
            let address = SocketAddr::try_from(address).map_err(|error| error.to_string())?;
            if !address.ip().is_loopback() {
                return Err(format!("listens on {address}, which other machines can reach"));
            }
            (Kind::Tcp, TCP_NAME)
        }
        family => return Err(format!("is of address family {}", family.as_raw())),
    };
    if name == expected || is_placeholder_name(name) {
        Ok(kind)
    } else {
        Err(format!("is not named \"{expected}\", as this socket must be"))
    }
}

/// Whether `name` is what systemd passes for a socket without a name of its own: the name of its
/// unit, or "unknown" (sd_listen_fds_with_names(3)). Then the family alone decides.
fn is_placeholder_name(name: &str) -> bool {
    name.is_empty() || name == "unknown" || name.ends_with(".socket")
}

/// Takes the sockets that the service manager passed (`sd_listen_fds(3)`), if any.
///
/// # Safety
///
/// It removes variables from the environment, so it must be the first thing in `main`, before
/// any thread is started. It takes ownership of descriptors 3 and up only where `LISTEN_PID`
/// names this very process.
#[must_use]
pub unsafe fn inherit() -> Inherited {
    let mut inherited = Inherited::default();
    // SAFETY: passed on to our caller.
    let Ok(descriptors) = (unsafe { sd_notify::listen_fds_with_names_and_unset_env() }) else {
        return inherited;
    };
    for (descriptor, name) in descriptors {
        use std::os::fd::FromRawFd as _;
        // SAFETY: systemd passed this descriptor to this process, and no other code takes it.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        inherited.adopt(Started::Systemd, &name, socket);
    }
    inherited
}

/// A Unix socket that the broker has bound itself, and removes when it stops.
#[derive(Debug)]
pub struct BoundSocket {
    path: PathBuf,
    inode: u64,
}

impl BoundSocket {
    /// Removes the socket's path, unless another socket has replaced it there.
    pub fn remove(&self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("the socket {} cannot be removed: {error}", self.path.display());
        }
    }
}

/// Binds the Unix socket at `path`, and replaces the socket that a dead broker left there.
///
/// The socket is bound under another name and then renamed, so that the path never names a dead
/// socket in between. The caller must hold the broker lock.
///
/// # Errors
///
/// If no socket can be made in the directory, or if `path` is something other than a socket, which
/// a broker cannot have left.
pub fn bind_unix(path: &Path) -> io::Result<(UnixListener, BoundSocket)> {
    if std::fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the existing file is not a socket",
        ));
    }
    // The lock is ours, so no other process uses this name. It is short, because the length of a
    // socket's path is limited.
    let temporary = path.with_file_name(".s");
    remove_if_present(&temporary)?;
    // The mode is set before the socket gets its name. The directory has mode 0700 anyway.
    let listener = UnixListener::bind(&temporary)?;
    let permissions = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    std::fs::set_permissions(&temporary, permissions)?;
    let inode = std::fs::symlink_metadata(&temporary)?.ino();
    std::fs::rename(&temporary, path)?;
    Ok((listener, BoundSocket { path: path.into(), inode }))
}

fn remove_if_present(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Binds the TCP listener, on the loopback address only.
///
/// # Errors
///
/// If the port is in use.
pub fn bind_tcp(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_socket_is_ours_alone_replaces_no_file_and_is_removed_by_its_own_broker_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("broker.sock");
        std::fs::write(&path, "a file").unwrap();
        bind_unix(&path).unwrap_err();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
        std::fs::remove_file(&path).unwrap();
        let (_first, bound) = bind_unix(&path).unwrap();
        let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (_second, bound_again) = bind_unix(&path).unwrap();
        bound.remove();
        assert!(path.exists(), "it is the socket of another now");
        bound_again.remove();
        assert!(!path.exists());
    }

    #[test]
    fn the_port_is_bound_on_this_machine_alone() {
        let listener = bind_tcp(0).unwrap();
        assert!(listener.local_addr().unwrap().ip().is_loopback());
    }
}
