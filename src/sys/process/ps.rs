//! Processes on other systems, read with `ps`.

use std::io;
use std::process::{Command, Stdio};

/// Returns one column of `ps` for one process.
///
/// It is used at registration only, so its cost does not matter.
fn ps(pid: u32, column: &str) -> Option<String> {
    let output = Command::new("ps")
        .args(["-o", column, "-p", &pid.to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .env("LC_ALL", "C")
        // Two processes that compare start times may have different time zones.
        .env("TZ", "UTC0")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// Returns the start time, in words.
pub fn start_time(pid: u32) -> io::Result<Option<String>> {
    Ok(ps(pid, "lstart="))
}

/// Returns whether processes can be looked up, which is always true here.
pub fn is_readable() -> bool {
    true
}

/// Returns an empty namespace: there are no pid namespaces here.
pub fn namespace() -> String {
    String::new()
}

/// Returns 0: there are no time namespaces here.
pub fn boot_time_offset(_pid: Option<u32>) -> i64 {
    0
}

/// Returns the pid of the parent.
pub fn parent(pid: u32) -> Option<u32> {
    ps(pid, "ppid=")?.parse().ok()
}

/// Returns this boot's id (`kern.bootsessionuuid`), which differs on another Mac; empty if the kernel
/// does not tell it.
#[must_use]
pub fn boot_id() -> String {
    let output = Command::new("/usr/sbin/sysctl")
        .args(["-n", "kern.bootsessionuuid"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}

/// Returns the name of the process's program.
#[must_use]
pub fn command_name(pid: u32) -> Option<String> {
    let path = ps(pid, "comm=")?;
    Some(path.rsplit('/').next().unwrap_or(&path).to_owned())
}

/// Returns the arguments of a process, split at spaces.
///
/// This is enough to find an option, but not to run the command again.
#[must_use]
pub fn argv(pid: u32) -> Option<Vec<String>> {
    Some(ps(pid, "args=")?.split_whitespace().map(str::to_owned).collect())
}

/// Returns `None`: the environment of another process cannot be read here.
#[must_use]
#[allow(clippy::option_option)]
pub fn environment_value(_pid: u32, _name: &str) -> Option<Option<std::ffi::OsString>> {
    None
}

/// Returns the only pid of a process.
pub fn pids_by_namespace(pid: u32) -> Option<Vec<u32>> {
    ps(pid, "pid=").map(|_| vec![pid])
}

/// Returns an empty namespace: there are no pid namespaces here.
pub fn namespace_of(_pid: u32) -> Option<String> {
    Some(String::new())
}

/// Returns `None`: the owner is not needed here.
pub fn owner(_pid: u32) -> Option<u32> {
    None
}

/// Returns no processes: there are no pids of other namespaces to translate here.
pub fn processes() -> Vec<u32> {
    Vec::new()
}
