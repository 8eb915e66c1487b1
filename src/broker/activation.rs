//! The broker's sockets: inherited from systemd, or bound by ourselves.
//!
//! The only place that knows where a listener came from. An inherited socket is told by its
//! family, not by its name or order; what is missing is bound.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, sockopt};

/// Sockets that a service manager handed over at start.
#[derive(Debug, Default)]
pub struct Inherited {
    pub unix: Vec<UnixListener>,
    pub tcp: Vec<TcpListener>,
}

impl Inherited {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unix.is_empty() && self.tcp.is_empty()
    }
}

/// Takes the sockets that systemd passed (`sd_listen_fds(3)`), if any.
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
    for (descriptor, _name) in descriptors {
        use std::os::fd::FromRawFd as _;
        // SAFETY: systemd handed this descriptor to this process, and nobody else takes it.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        match sockopt::socket_domain(&socket) {
            Ok(AddressFamily::UNIX) => inherited.unix.push(UnixListener::from(socket)),
            Ok(AddressFamily::INET | AddressFamily::INET6) => {
                inherited.tcp.push(TcpListener::from(socket));
            }
            // Not a socket of ours: closed.
            _ => {}
        }
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
/// If the directory does not take a socket.
pub fn bind_unix(path: &Path) -> io::Result<(UnixListener, Bound)> {
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
