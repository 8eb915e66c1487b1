//! The broker of the TypeScript claude-peers, which may run beside ours: it uses our port and, by
//! default, our database's path.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::sys::process;
use crate::sys::socket_owner;
use crate::sys::socket_owner::Owner;

/// The time limit of each step of its answer.
const LIMIT: Duration = Duration::from_millis(500);

/// Returns whether it answers on this port. It answers `GET /health` with
/// `{"status":"ok","peers":…}`; our broker also names its protocol.
#[must_use]
pub fn answers(port: u16) -> bool {
    ask(port).is_ok_and(|answer| {
        answer.contains("\"status\"")
            && answer.contains("\"peers\"")
            && !answer.contains("\"protocol\"")
    })
}

fn ask(port: u16) -> std::io::Result<String> {
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Returns the owner of this port, if it is that broker. A port of the service manager is not called,
/// because the call would start our own broker.
#[must_use]
pub fn broker_at(port: u16) -> Option<Owner> {
    let owner = socket_owner::tcp(port);
    if owner.is_none() && cfg!(target_os = "linux") {
        return None;
    }
    let owner = owner.unwrap_or_default();
    let is_manager = |pid: &u32| {
        *pid == 1 || process::command_name(*pid).is_some_and(|n| n == "systemd" || n == "launchd")
    };
    (!owner.processes.iter().any(is_manager) && answers(port)).then_some(owner)
}
