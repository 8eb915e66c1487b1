//! Which processes listen on a socket, from `/proc`. On systems without it nothing is known.

use std::fmt;
use std::net::{Ipv6Addr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use crate::sys::files::{effective_uid, same_place};
use crate::sys::process::command_name;

/// How long a connection to `[::1]` may take.
const V6_LIMIT: Duration = Duration::from_millis(200);

/// The owner of a listening socket, as far as it can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// The processes that have it open. Those of other users cannot be seen.
    pub processes: Vec<u32>,
    /// The user who owns the socket.
    pub user: Option<u32>,
}

impl Owner {
    pub fn has(&self, process: u32) -> bool {
        self.processes.contains(&process)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |pid: &u32| {
            format!("{} (process {pid})", command_name(*pid).unwrap_or_else(|| "?".to_owned()))
        };
        match (self.processes.as_slice(), self.user) {
            ([], Some(user)) => write!(f, "a process of user {}", user_name(user)),
            ([], None) => f.write_str("an unknown process"),
            (processes, _) => {
                f.write_str(&processes.iter().map(name).collect::<Vec<_>>().join(" and "))
            }
        }
    }
}

/// Returns a user's name and number, such as "bob (1001)", or the number alone.
///
/// Reads `/etc/passwd` only, so users of a directory service (LDAP) have no name here.
pub fn user_name(user: u32) -> String {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(user)).then(|| name.to_owned())
    });
    found.map_or_else(|| user.to_string(), |name| format!("{name} ({user})"))
}

/// Returns the owner of the socket that listens at a Unix socket's path.
#[must_use]
pub fn unix(path: &Path) -> Option<Owner> {
    owner(&inodes_at(path), None)
}

/// Returns whether a process of our user listens at a Unix socket's path.
///
/// Makes no connection, which would start a socket-activated service.
#[must_use]
pub fn is_there(path: &Path) -> bool {
    let is_ours = std::fs::metadata(path).is_ok_and(|there| there.uid() == effective_uid());
    // Without /proc the path must do: a broker removes its socket when it exits.
    is_ours && (!cfg!(target_os = "linux") || !inodes_at(path).is_empty())
}

fn inodes_at(path: &Path) -> Vec<u64> {
    let table = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    unix_inodes(&table, path)
}

/// Returns the owner of the socket that listens on a TCP port of loopback or of all addresses.
pub fn tcp(port: u16) -> Option<Owner> {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let mut found = tcp_inodes(&read("/proc/net/tcp"), port, &LOOPBACK);
    found.extend(tcp_inodes(&read("/proc/net/tcp6"), port, &LOOPBACK));
    owner_of(found)
}

/// Returns the owner of the socket that listens on a TCP port of `[::1]` or of all IPv6 addresses.
///
/// Where the system does not tell, a connection does, but not who listens.
pub fn tcp_v6(port: u16) -> Option<Owner> {
    if !cfg!(target_os = "linux") {
        let address = (Ipv6Addr::LOCALHOST, port).into();
        return TcpStream::connect_timeout(&address, V6_LIMIT).ok().map(|_| Owner::default());
    }
    let table = std::fs::read_to_string("/proc/net/tcp6").unwrap_or_default();
    owner_of(tcp_inodes(&table, port, &LOOPBACK_V6))
}

fn owner_of(found: Vec<(u64, u32)>) -> Option<Owner> {
    let user = found.first().map(|(_, user)| *user);
    let inodes: Vec<u64> = found.into_iter().map(|(inode, _)| inode).collect();
    owner(&inodes, user)
}

fn owner(inodes: &[u64], user: Option<u32>) -> Option<Owner> {
    if inodes.is_empty() { None } else { Some(Owner { processes: holders(inodes), user }) }
}

/// Returns the inodes of the sockets that listen at `path`, from the text of `/proc/net/unix`.
///
/// Its columns are Num RefCount Protocol Flags Type St Inode Path. The path stands there as it was
/// passed to bind(2), so it may be another name of the same place.
fn unix_inodes(table: &str, path: &Path) -> Vec<u64> {
    /// `SO_ACCEPTCON`, as unix(7) calls the flag of a listening socket.
    const LISTENS: u64 = 0x10000;
    let inode = |line: &str| {
        let mut fields = line.split_whitespace();
        let flags = u64::from_str_radix(fields.nth(3)?, 16).ok()?;
        let inode = fields.nth(2)?.parse().ok()?;
        let bound = line.find('/').map(|start| Path::new(&line[start..]))?;
        let here = bound.file_name() == path.file_name() && same_place(bound, path);
        (here && flags & LISTENS != 0).then_some(inode)
    };
    table.lines().skip(1).filter_map(inode).collect()
}

/// 127.0.0.1 and the wildcard, as IPv4, IPv6 and IPv4-mapped IPv6, in the kernel's notation.
const LOOPBACK: [&str; 5] = [
    "0100007F",
    "00000000",
    "00000000000000000000000000000000",
    "0000000000000000FFFF00000100007F",
    "0000000000000000FFFF000000000000",
];

/// `::1` and the wildcard, in the kernel's notation.
const LOOPBACK_V6: [&str; 2] =
    ["00000000000000000000000001000000", "00000000000000000000000000000000"];

/// Returns inode and user of each socket that listens on the port of one of these addresses, from the text of
/// `/proc/net/tcp` (proc_net_tcp(5)).
fn tcp_inodes(table: &str, port: u16, addresses: &[&str]) -> Vec<(u64, u32)> {
    /// `TCP_LISTEN` of the kernel's tcp_states.h.
    const LISTEN: &str = "0A";
    let socket = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, at) = fields.get(1)?.split_once(':')?;
        let fits = addresses.contains(&address)
            && u16::from_str_radix(at, 16) == Ok(port)
            && *fields.get(3)? == LISTEN;
        fits.then_some((fields.get(9)?.parse().ok()?, fields.get(7)?.parse().ok()?))
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// Returns the processes that have one of these sockets open.
fn holders(inodes: &[u64]) -> Vec<u32> {
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let holds = |pid: u32| {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        descriptors.flatten().any(|descriptor| {
            std::fs::read_link(descriptor.path())
                .is_ok_and(|target| wanted.iter().any(|socket| target.as_os_str() == &**socket))
        })
    };
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let mut pids: Vec<u32> = processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| holds(*pid))
        .collect();
    pids.sort_unstable();
    pids
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn who_listens_on_the_other_localhost_is_found() {
        let Ok(listener) = std::net::TcpListener::bind(("::1", 0)) else {
            // No IPv6 here.
            return;
        };
        let port = listener.local_addr().unwrap().port();
        let is_mine = |owner: &Owner| owner.processes.contains(&std::process::id());
        assert!(is_mine(&tcp_v6(port).unwrap()));
        // It does not have the broker's address.
        assert!(tcp(port).is_none_or(|owner| !is_mine(&owner)));
        let other = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = other.local_addr().unwrap().port();
        assert!(tcp_v6(port).is_none_or(|owner| !is_mine(&owner)));
    }

    #[test]
    fn the_one_who_listens_is_found_and_who_only_connects_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a socket");
        let _listens = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let _talks = std::os::unix::net::UnixStream::connect(&path).unwrap();
        // A program that another test starts just now has our sockets open as well until it runs.
        let is_mine = |owner: &Owner| owner.processes.contains(&std::process::id());
        assert!(is_mine(&unix(&path).unwrap()));
        assert_eq!(unix(&directory.path().join("socket")), None);

        for address in ["127.0.0.1", "0.0.0.0"] {
            let listener = std::net::TcpListener::bind((address, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let owner = tcp(port).unwrap();
            assert!(is_mine(&owner) && owner.user == Some(effective_uid()));
            drop(listener);
            // The port may be another's by now.
            assert!(tcp(port).is_none_or(|owner| !is_mine(&owner)));
        }
    }
}
