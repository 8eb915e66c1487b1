//! File systems that only the processes of one test see, and that vanish with them.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{PROGRAM, Sandbox};

/// Returns a command of the sandbox that mounts something at `directory` and then runs `then`.
///
/// In `mount` and `then`, `$1` is the directory and `$2` the program under test. Returns `None`
/// where mounting is not allowed.
pub fn mounted(sandbox: &Sandbox, directory: &Path, mount: &str, then: &str) -> Option<Command> {
    let in_namespace = |script: &str| {
        let mut command = sandbox.command_of("unshare", ["-m", "sh", "-c", script, "sh"]);
        command.arg(directory).arg(PROGRAM).stdin(Stdio::null());
        command
    };
    if in_namespace(mount).output().is_ok_and(|output| output.status.success()) {
        return Some(in_namespace(&format!("{mount} && {then}")));
    }
    println!("skipped: mounting is not allowed here");
    None
}
