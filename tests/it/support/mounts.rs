//! File systems of a test's own: they are seen by what it runs there, and vanish with it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{PROGRAM, Sandbox};

/// A command of the sandbox that mounts something at `directory`, by `mount` with that as `$1`,
/// and then runs `then`, to which the program under test is `$2`. `None` where that is not allowed.
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
