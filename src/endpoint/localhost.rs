//! Who listens where `localhost` may lead, beside the broker.
//!
//! The broker's port is that of 127.0.0.1. `localhost` may be `[::1]` as well, and the same port of
//! that address can be another user's. The broker does not listen there: many systems have no IPv6,
//! a service manager passes one address, and whoever comes first to an address has it. So
//! documentation names 127.0.0.1, and `status` and `doctor` name who has the other.

use crate::sys::process::command_name;
use crate::sys::socket_owner;
use crate::sys::socket_owner::Owner;

/// Returns the owner of the port of `[::1]`, if it is neither the broker nor a service manager.
#[must_use]
pub fn other_listener(port: u16, broker: Option<u32>) -> Option<Owner> {
    let owner = socket_owner::tcp_v6(port)?;
    let is_manager = |pid: &u32| {
        *pid == 1 || command_name(*pid).is_some_and(|name| name == "systemd" || name == "launchd")
    };
    let is_ours =
        broker.is_some_and(|pid| owner.has(pid)) || owner.processes.iter().any(is_manager);
    (!is_ours).then_some(owner)
}

/// Describes it: who has the address, and what not to do.
#[must_use]
pub fn described(port: u16, owner: &Owner) -> String {
    format!("[::1]:{port} is held by {owner}, not by the broker")
}

/// What follows from another listener.
pub const ADVICE: &str = "`localhost` may lead there, and a script that calls it would give away the token: call 127.0.0.1";
