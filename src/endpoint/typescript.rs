//! The broker of the TypeScript claude-peers, which may run beside ours: it uses our port and, by
//! default, our database's path.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use crate::sys::process;
use crate::sys::socket_owner;
use crate::sys::socket_owner::Owner;

/// The time limit of the whole exchange: what holds the port may answer a byte a second.
const LIMIT: Duration = Duration::from_millis(1500);

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

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
    let deadline = Instant::now() + LIMIT;
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while answer.len() < MAX_ANSWER {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer)? {
            0 => break,
            read => answer.extend_from_slice(&buffer[..read]),
        }
    }
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
