//! File systems of a test's own: they are seen by what it runs there, and vanish with it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::{PROGRAM, Sandbox};

/// A command of the sandbox that mounts something at `directory`, by `mount` with that as `$1`,
/// and then runs `then`, to which the program under test is `$2`. `None` where that is not allowed.
pub fn mounted(sandbox: &Sandbox, directory: &Path, mount: &str, then: &str) -> Option<Command> {
    let in_namespace = |script: &str| {
        let ours = sandbox.command(["peers"]);
        let mut shell = Command::new("unshare");
        shell.env_clear().envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.args(["-m", "sh", "-c", script, "sh"]).arg(directory).arg(PROGRAM);
        shell.stdin(Stdio::null());
        shell
    };
    if in_namespace(mount).output().is_ok_and(|output| output.status.success()) {
        return Some(in_namespace(&format!("{mount} && {then}")));
    }
    println!("skipped: mounting is not allowed here");
    None
}
