//! What other systems tell of processes: `ps`.

use std::process::{Command, Stdio};

/// One column of `ps` for one process. Used at registration only, so its cost is no matter.
fn ps(pid: u32, column: &str) -> Option<String> {
    let output = Command::new("ps")
        .args(["-o", column, "-p", &pid.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .env("LC_ALL", "C")
        // Whoever compares two answers may have got them in different time zones.
        .env("TZ", "UTC0")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

pub fn start_time(pid: u32) -> Option<String> {
    ps(pid, "lstart=")
}

pub fn is_readable() -> bool {
    true
}

/// There are no pid namespaces here.
pub fn namespace() -> String {
    String::new()
}

/// Nor those of time.
pub fn boot_time_offset(_pid: Option<u32>) -> i64 {
    0
}

pub fn parent(pid: u32) -> Option<u32> {
    ps(pid, "ppid=")?.parse().ok()
}

/// This boot's id (`kern.bootsessionuuid`), so that a process of another Mac is not taken for
/// one of ours; empty if the kernel does not tell.
#[must_use]
pub fn boot_id() -> String {
    let output = Command::new("/usr/sbin/sysctl")
        .args(["-n", "kern.bootsessionuuid"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}

/// The name of the process's program.
#[must_use]
pub fn command_name(pid: u32) -> Option<String> {
    let path = ps(pid, "comm=")?;
    Some(path.rsplit('/').next().unwrap_or(&path).to_owned())
}

/// The arguments that a process was started with, split at spaces: good enough to look for
/// an option, not to run it again.
#[must_use]
pub fn argv(pid: u32) -> Option<Vec<String>> {
    Some(ps(pid, "args=")?.split_whitespace().map(str::to_owned).collect())
}

/// Not readable here.
#[must_use]
#[allow(clippy::option_option)]
pub fn environment_value(_pid: u32, _name: &str) -> Option<Option<std::ffi::OsString>> {
    None
}

/// Its only number.
pub fn pids_by_namespace(pid: u32) -> Option<Vec<u32>> {
    start_time(pid).map(|_| vec![pid])
}

/// There are no pid namespaces here.
pub fn namespace_of(_pid: u32) -> Option<String> {
    Some(String::new())
}

/// Not asked here.
pub fn owner(_pid: u32) -> Option<u32> {
    None
}

/// Nobody has a number that we do not know.
pub fn processes() -> Vec<u32> {
    Vec::new()
}
