//! Processes on Linux, read from `/proc`.

use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use rustix::io::Errno;

/// Returns whether `/proc` shows the processes of our own pid namespace.
///
/// A `/proc` that was mounted in another namespace has that namespace's pids.
pub fn is_readable() -> bool {
    let own = std::fs::read_link("/proc/self").ok();
    own.is_some_and(|own| own.to_str() == Some(&std::process::id().to_string()))
}

/// The inode of the initial pid namespace of a machine (`PROC_PID_INIT_INO` of the kernel).
const INITIAL_NAMESPACE: &str = "4026531836";

/// Returns the inode of our pid namespace; empty for the initial one of the machine, and where it
/// cannot be read.
pub fn namespace() -> String {
    namespace_at("self").unwrap_or_default()
}

/// Returns the inode of a process's pid namespace; empty for the initial one of the machine, `None`
/// where it cannot be read.
pub fn namespace_of(pid: u32) -> Option<String> {
    namespace_at(&pid.to_string()).filter(|_| is_readable())
}

fn namespace_at(process: &str) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/{process}/ns/pid")).ok()?;
    let inode: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    Some(if inode == INITIAL_NAMESPACE { String::new() } else { inode })
}

/// Returns the user id of a process.
pub fn owner(pid: u32) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(format!("/proc/{pid}")).ok().filter(|_| is_readable()).map(|p| p.uid())
}

/// Returns by how much the boot clock of a process is set ahead, in ticks of a start time.
///
/// `None` stands for our own process. See time_namespaces(7).
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

/// Ticks per second in what the kernel shows to programs (`USER_HZ`).
const TICKS: i64 = 100;

/// How often, and after which pause, a file is opened again where descriptors or memory are short.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(5);

/// Reads a file of `/proc`. A shortage that passes must not look like a process that has ended.
fn read(path: &str) -> io::Result<Vec<u8>> {
    for _ in 1..ATTEMPTS {
        match std::fs::read(path) {
            Err(error) if is_shortage(&error) => std::thread::sleep(PAUSE),
            read => return read,
        }
    }
    std::fs::read(path)
}

fn is_shortage(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}

/// Reads a file of the process with this pid in our namespace.
pub fn file(pid: u32, name: &str) -> Option<Vec<u8>> {
    read(&format!("/proc/{pid}/{name}")).ok().filter(|_| is_readable())
}

/// Returns the fields of `/proc/PID/stat` from the state on. The name before it may contain any
/// character.
fn fields(stat: &[u8]) -> Option<Vec<String>> {
    let text = String::from_utf8_lossy(stat).into_owned();
    let (_, rest) = text.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Returns the start time, field 22 of proc_pid_stat(5), in ticks since boot. `None` for a zombie and
/// where there is no such process.
///
/// # Errors
///
/// If it cannot be read for another reason, which proves nothing.
pub fn start_time(pid: u32) -> io::Result<Option<String>> {
    let stat = match read(&format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) => {
            return match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::SRCH) => Ok(None),
                _ => Err(error),
            };
        }
    };
    let Some(fields) = fields(&stat).filter(|_| is_readable()) else { return Ok(None) };
    if fields.first().is_some_and(|state| state == "Z" || state == "X") {
        return Ok(None);
    }
    Ok(fields.get(19).cloned())
}

/// Returns the pid of the parent.
pub fn parent(pid: u32) -> Option<u32> {
    fields(&file(pid, "stat")?)?.get(1)?.parse().ok()
}

/// Returns this boot's id; empty if the kernel does not tell it.
#[must_use]
pub fn boot_id() -> String {
    read("/proc/sys/kernel/random/boot_id")
        .map(|id| String::from_utf8_lossy(&id).trim().to_owned())
        .unwrap_or_default()
}

/// Returns the name under which the process runs (`comm`).
#[must_use]
pub fn command_name(pid: u32) -> Option<String> {
    let name = file(pid, "comm")?;
    Some(String::from_utf8_lossy(&name).trim_end().to_owned())
}

/// Returns the arguments of a process of our user.
#[must_use]
pub fn argv(pid: u32) -> Option<Vec<String>> {
    let bytes = file(pid, "cmdline").filter(|b| !b.is_empty())?;
    let words = bytes.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned());
    Some(words.collect())
}

/// Returns a variable from the initial environment of a process of our user.
///
/// `None` if the environment cannot be read, `Some(None)` if it has no such variable.
#[must_use]
#[allow(clippy::option_option)]
pub fn environment_value(pid: u32, name: &str) -> Option<Option<std::ffi::OsString>> {
    let bytes = file(pid, "environ")?;
    let value = bytes.split(|b| *b == 0).find_map(|entry| {
        entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec)
    });
    Some(value.map(std::ffi::OsString::from_vec))
}

/// Returns the pids of a process, from our namespace down to its own (`NSpid`).
///
/// A kernel without `NSpid` has no other namespaces that are visible here.
pub fn pids_by_namespace(pid: u32) -> Option<Vec<u32>> {
    let status = file(pid, "status")?;
    let status = String::from_utf8_lossy(&status);
    match status.lines().find_map(|line| line.strip_prefix("NSpid:")) {
        Some(line) => line.split_whitespace().map(|number| number.parse().ok()).collect(),
        None => Some(vec![pid]),
    }
}

/// Returns the pids of all visible processes.
pub fn processes() -> Vec<u32> {
    let listed = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    if is_readable() { numbers.collect() } else { Vec::new() }
}
