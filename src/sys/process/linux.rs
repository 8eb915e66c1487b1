//! What Linux tells of processes: `/proc`.

use std::os::unix::ffi::OsStringExt as _;

/// Whether `/proc` shows the processes of our own namespace: one that was mounted in another
/// numbers them in another way.
pub fn is_readable() -> bool {
    let own = std::fs::read_link("/proc/self").ok();
    own.is_some_and(|own| own.to_str() == Some(&std::process::id().to_string()))
}

/// The inode of the namespace that a machine boots with (`PROC_PID_INIT_INO` of the kernel).
const INITIAL_NAMESPACE: &str = "4026531836";

/// The inode of our pid namespace; empty for the one that the machine booted with, and where
/// it cannot be read.
pub fn namespace() -> String {
    namespace_at("self").unwrap_or_default()
}

/// The inode of a process's pid namespace, in the same way; `None` where it cannot be read.
pub fn namespace_of(pid: u32) -> Option<String> {
    namespace_at(&pid.to_string()).filter(|_| is_readable())
}

fn namespace_at(process: &str) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/{process}/ns/pid")).ok()?;
    let inode: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    Some(if inode == INITIAL_NAMESPACE { String::new() } else { inode })
}

/// Whose process it is.
pub fn owner(pid: u32) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(format!("/proc/{pid}")).ok().filter(|_| is_readable()).map(|p| p.uid())
}

/// By how much the boot clock of a process, or ours, is set ahead (see time_namespaces(7)), in
/// the ticks of a start time.
pub fn boot_time_offset(pid: Option<u32>) -> i64 {
    let process = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let offsets = std::fs::read_to_string(format!("/proc/{process}/timens_offsets"));
    let offsets = offsets.unwrap_or_default();
    let line = offsets.lines().find_map(|line| line.strip_prefix("boottime"));
    let mut numbers = line.unwrap_or_default().split_whitespace().map(str::parse::<i64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(seconds)), Some(Ok(nanoseconds))) => {
            seconds.saturating_mul(TICKS) + nanoseconds / (1_000_000_000 / TICKS)
        }
        _ => 0,
    }
}

/// The ticks of a second that the kernel shows to programs (`USER_HZ`).
const TICKS: i64 = 100;

/// A file of the process with this number in our namespace.
pub fn file(pid: u32, name: &str) -> Option<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/{name}")).ok().filter(|_| is_readable())
}

/// `/proc/PID/stat` from the state on; the name before it may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = String::from_utf8_lossy(&file(pid, "stat")?).into_owned();
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Field 22 of proc_pid_stat(5): ticks since boot. A zombie counts as gone.
pub fn start_time(pid: u32) -> Option<String> {
    let fields = stat(pid)?;
    if fields.first().is_some_and(|state| state == "Z" || state == "X") {
        return None;
    }
    fields.get(19).cloned()
}

pub fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// This boot's id; empty if the kernel does not tell.
#[must_use]
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}

/// The name that the process runs under (`comm`).
#[must_use]
pub fn command_name(pid: u32) -> Option<String> {
    let name = file(pid, "comm")?;
    Some(String::from_utf8_lossy(&name).trim_end().to_owned())
}

/// The arguments that a process of ours was started with.
#[must_use]
pub fn argv(pid: u32) -> Option<Vec<String>> {
    let bytes = file(pid, "cmdline").filter(|b| !b.is_empty())?;
    let words = bytes.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned());
    Some(words.collect())
}

/// What a process of ours was started with in variable `name`: `None` if its environment
/// cannot be read, `Some(None)` if it has no such variable.
#[must_use]
#[allow(clippy::option_option)]
pub fn environment_value(pid: u32, name: &str) -> Option<Option<std::ffi::OsString>> {
    let bytes = file(pid, "environ")?;
    let value = bytes.split(|b| *b == 0).find_map(|entry| {
        entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec)
    });
    Some(value.map(std::ffi::OsString::from_vec))
}

/// Its numbers, from our namespace down to its own (`NSpid`). A kernel that does not tell them
/// knows no other namespaces that we could see.
pub fn pids_by_namespace(pid: u32) -> Option<Vec<u32>> {
    let status = file(pid, "status")?;
    let status = String::from_utf8_lossy(&status);
    match status.lines().find_map(|line| line.strip_prefix("NSpid:")) {
        Some(line) => line.split_whitespace().map(|number| number.parse().ok()).collect(),
        None => Some(vec![pid]),
    }
}

/// All processes that we can see.
pub fn processes() -> Vec<u32> {
    let listed = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    if is_readable() { numbers.collect() } else { Vec::new() }
}
