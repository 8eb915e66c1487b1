//! The broker's sockets: inherited from a service manager, or bound by ourselves.
//!
//! The only place that knows where a listener came from. An inherited socket is told by its name
//! and its family together, never by its order; what is missing is bound.

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

/// Sockets that a service manager handed over at start.
#[derive(Debug, Default)]
pub struct Inherited {
    pub unix: Vec<UnixListener>,
    pub tcp: Vec<TcpListener>,
    /// Who handed them over, if anybody did.
    pub manager: Option<Started>,
    /// What else was handed over, and why it is not served. There is no log yet when it is found.
    pub foreign: Vec<String>,
}

impl Inherited {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unix.is_empty() && self.tcp.is_empty()
    }

    /// Whether the Unix socket at `path` is among them.
    #[must_use]
    pub fn has_unix(&self, path: &Path) -> bool {
        let is_it = |listener: &UnixListener| {
            let address = listener.local_addr();
            address.is_ok_and(|at| at.as_pathname().is_some_and(|at| same_place(at, path)))
        };
        self.unix.iter().any(is_it)
    }

    /// Whether a listener on `port` is among them.
    #[must_use]
    pub fn has_tcp(&self, port: u16) -> bool {
        let is_it = |listener: &TcpListener| listener.local_addr().is_ok_and(|a| a.port() == port);
        self.tcp.iter().any(is_it)
    }

    /// Takes a socket that `manager` handed over under `name`; one that is not ours is closed.
    pub fn adopt(&mut self, manager: Started, name: &str, socket: OwnedFd) {
        match kind(name, &socket) {
            Ok(Kind::Unix) => self.unix.push(UnixListener::from(socket)),
            Ok(Kind::Tcp) => self.tcp.push(TcpListener::from(socket)),
            Err(problem) => return self.foreign.push(format!("\"{name}\" {problem}")),
        }
        self.manager = Some(manager);
    }

    /// Adds the sockets that launchd keeps for this process, if it is launchd's job.
    ///
    /// # Errors
    ///
    /// If launchd has sockets for us and does not hand them over.
    #[cfg(target_os = "macos")]
    pub fn with_launchd(mut self) -> io::Result<Self> {
        for (name, socket) in launchd::sockets()? {
            self.adopt(Started::Launchd, name, socket);
        }
        Ok(self)
    }
}

enum Kind {
    Unix,
    Tcp,
}

/// What an inherited descriptor is; otherwise, why it is not ours.
fn kind(name: &str, socket: &OwnedFd) -> Result<Kind, String> {
    if sockopt::socket_type(socket) != Ok(SocketType::STREAM) {
        return Err("is no stream socket".to_owned());
    }
    // macOS does not tell. There launchd hands over listeners only.
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
                return Err(format!("listens on {address}, which others can reach"));
            }
            (Kind::Tcp, TCP_NAME)
        }
        family => return Err(format!("is of address family {}", family.as_raw())),
    };
    if name == expected || is_no_name(name) {
        Ok(kind)
    } else {
        Err(format!("has not the name of such a socket, which is \"{expected}\""))
    }
}

/// What systemd says where a unit gives no name (sd_listen_fds_with_names(3)): the name of the
/// socket's unit, or that it is unknown. Then the family alone decides.
fn is_no_name(name: &str) -> bool {
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
        // SAFETY: systemd handed this descriptor to this process, and nobody else takes it.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        inherited.adopt(Started::Systemd, &name, socket);
    }
    inherited
}

/// A Unix socket that we bound and must remove again.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
    inode: u64,
}

impl Bound {
    /// Removes the socket's path, unless somebody else has taken it over.
    pub fn remove(&self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!("removing {}: {error}", self.path.display());
        }
    }
}

/// Binds the Unix socket at `path`, replacing what a dead broker left there. It is bound under
/// another name and moved into place, so that the path never names a dead socket in between.
///
/// Call it under the broker's lock only.
///
/// # Errors
///
/// If the directory does not take a socket, or something else lies there: only a socket can be
/// what a broker left, and the rest is somebody's.
pub fn bind_unix(path: &Path) -> io::Result<(UnixListener, Bound)> {
    if std::fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "what lies there is no socket"));
    }
    // The lock is ours, so nobody else uses this name; it is no longer than a socket's own.
    let temporary = path.with_file_name(".s");
    remove_if_there(&temporary)?;
    // The mode is set before the socket gets its name. The directory is 0700 all the while.
    let listener = UnixListener::bind(&temporary)?;
    let permissions = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    std::fs::set_permissions(&temporary, permissions)?;
    let inode = std::fs::symlink_metadata(&temporary)?.ino();
    std::fs::rename(&temporary, path)?;
    Ok((listener, Bound { path: path.into(), inode }))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Binds the TCP listener, on loopback only.
///
/// # Errors
///
/// If the port is in use.
pub fn bind_tcp(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}
