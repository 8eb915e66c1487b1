//! Processes by identity: boot, pid namespace, start time and number. Only where all four agree are
//! two processes the same; a bare number means nothing across containers and machines.
//!
//! Used by the MCP server, to say whose session it belongs to, by the broker, to check it, and by
//! whoever signals a process. Where the system does not tell, the answer is "unknown" and never a
//! guess.

mod ended;

use std::fmt;

use serde::{Deserialize, Serialize};

/// One process for its whole life, and no other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// Start time, in the system's own words; empty where it cannot be read.
    #[serde(default)]
    pub start: String,
    /// The boot that the start time counts from; empty where it cannot be read.
    #[serde(default)]
    pub boot: String,
    /// The pid namespace that the number counts in, by its inode (see pid_namespaces(7)); empty
    /// where it cannot be read, and for the namespace that a machine boots with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// What can be said of a process from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It runs.
    Alive,
    /// It has ended: its number is free, or another process has it.
    Gone,
    /// It is of another boot of this machine, or of another machine.
    OtherBoot,
    /// It is of another pid namespace: what our numbers say is about other processes.
    OtherNamespace,
    /// Not enough is known to tell.
    Unknown,
}

/// The text form `PID:START:BOOT`, with `:NAMESPACE` behind it in a container.
impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.pid, self.start, self.boot)?;
        if self.namespace.is_empty() { Ok(()) } else { write!(f, ":{}", self.namespace) }
    }
}

impl Process {
    /// The running process with this pid in our own namespace, if there is one.
    #[must_use]
    pub fn find(pid: u32) -> Option<Self> {
        Some(Self {
            pid,
            start: system::start_time(pid)?,
            boot: boot_id(),
            namespace: system::namespace(),
        })
    }

    /// This process. Start and namespace are empty where the system does not tell them.
    #[must_use]
    pub fn own() -> Self {
        let pid = std::process::id();
        Self::find(pid).unwrap_or_else(|| Self {
            pid,
            start: String::new(),
            boot: boot_id(),
            namespace: system::namespace(),
        })
    }

    /// Reads the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let pid = parts.next()?.parse().ok()?;
        // A start time of macOS has colons of its own; a boot and a namespace have none.
        let rest: Vec<&str> = parts.collect();
        let (start, boot, namespace) = match rest.as_slice() {
            [start, boot] => ((*start).to_owned(), *boot, ""),
            [start, boot, namespace] if !cfg!(target_os = "macos") => {
                ((*start).to_owned(), *boot, *namespace)
            }
            [start @ .., boot] => (start.join(":"), *boot, ""),
            [] => return None,
        };
        Some(Self { pid, start, boot: boot.to_owned(), namespace: namespace.to_owned() })
    }

    /// What can be said of it from here.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let here = boot_id();
        if self.boot != here && !self.boot.is_empty() && !here.is_empty() {
            return Standing::OtherBoot;
        }
        if self.namespace != system::namespace() {
            return Standing::OtherNamespace;
        }
        if self.pid == 0 || self.start.is_empty() || self.boot != here || !system::is_readable() {
            return Standing::Unknown;
        }
        match Self::find(self.pid) {
            Some(now) if now == *self => Standing::Alive,
            _ => Standing::Gone,
        }
    }

    /// Whether this very process is known to run.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.standing() == Standing::Alive
    }
}

/// The pid of our parent.
#[must_use]
pub fn parent_pid() -> u32 {
    std::os::unix::process::parent_id()
}

/// The pids above `pid`, nearest first, without init. Empty where this cannot be read.
#[must_use]
pub fn ancestors(pid: u32) -> Vec<u32> {
    let mut chain = Vec::new();
    let mut at = pid;
    while let Some(parent) = system::parent(at).filter(|p| *p > 1 && !chain.contains(p)) {
        chain.push(parent);
        at = parent;
        if chain.len() > 64 {
            break;
        }
    }
    chain
}

pub use ended::{Parent, ended};
pub use system::{argv, boot_id, command_name, environment_value};

#[cfg(target_os = "linux")]
mod system {
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
        let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let inode: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
        if inode == INITIAL_NAMESPACE { String::new() } else { inode }
    }

    /// A file of the process with this number in our namespace.
    fn file(pid: u32, name: &str) -> Option<Vec<u8>> {
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
}

#[cfg(not(target_os = "linux"))]
mod system {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself_and_its_ancestors() {
        let me = Process::find(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert_eq!(ancestors(me.pid).first().copied().unwrap_or(1), parent_pid().max(1));
        assert_eq!(Process::parse(&me.to_string()), Some(me.clone()));
        let other = Process { start: "0".to_owned(), ..me.clone() };
        assert_eq!(other.standing(), Standing::Gone);
        let unsaid = Process { start: String::new(), ..me };
        assert_eq!(unsaid.standing(), Standing::Unknown);
    }

    #[test]
    fn a_number_of_another_namespace_or_machine_is_nobody_here() {
        let me = Process::find(std::process::id()).unwrap();
        let contained = Process { namespace: "4026539999".to_owned(), ..me.clone() };
        assert_eq!(contained.standing(), Standing::OtherNamespace);
        assert_eq!(Process::parse(&contained.to_string()), Some(contained));
        let elsewhere = Process { boot: "of another machine".to_owned(), ..me };
        assert_eq!(elsewhere.standing(), Standing::OtherBoot);
        assert!(!elsewhere.is_alive());
    }
}
