//! The system calls of a process, by `strace`, where there is one and it may attach.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A process whose system calls are being noted.
pub struct Strace {
    strace: Child,
    output: PathBuf,
    _directory: TempDir,
}

impl Strace {
    /// Begins to count the calls of all threads of a process. `None` if that cannot be done here.
    pub fn counting(pid: u32) -> Option<Self> {
        Self::begin(pid, &["-c"])
    }

    /// Begins to write down the calls of all threads, with the time of each and how long it took.
    pub fn writing(pid: u32) -> Option<Self> {
        Self::begin(pid, &["-ttt", "-T", "-s", "28"])
    }

    fn begin(pid: u32, options: &[&str]) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("calls");
        let mut strace = Command::new("strace")
            .args(["-f", "-qq", "-o"])
            .arg(&output)
            .args(options)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        while !is_traced(pid) {
            if strace.try_wait().unwrap().is_some() {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Some(Self { strace, output, _directory: directory })
    }

    /// Ends the counting.
    pub fn counted(self) -> Calls {
        Calls(self.end().lines().filter_map(row).collect())
    }

    /// Ends the writing. Returns each call as it was written, with its time in seconds since the Unix
    /// epoch.
    pub fn written(self) -> Vec<(f64, String)> {
        let line = |line: &str| {
            // The number of the thread is the first word.
            let (time, call) = line.split_once(char::is_whitespace)?.1.trim().split_once(' ')?;
            Some((time.parse().ok()?, call.to_owned()))
        };
        self.end().lines().filter_map(line).collect()
    }

    fn end(mut self) -> String {
        let pid = Pid::from_child(&self.strace);
        kill_process(pid, Signal::INT).unwrap();
        self.strace.wait().unwrap();
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }
}

/// The system calls of a process, by name.
#[derive(Debug)]
pub struct Calls(HashMap<String, u64>);

impl Calls {
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The calls that wait for the disk.
    pub fn syncs(&self) -> u64 {
        let named = |name: &str| self.0.get(name).copied().unwrap_or_default();
        named("fdatasync") + named("fsync")
    }
}

/// Reads a row: "% time, seconds, usecs/call, calls, errors, syscall", where errors may be missing.
fn row(line: &str) -> Option<(String, u64)> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let name = columns.last().filter(|name| **name != "total" && columns.len() >= 5)?;
    Some(((*name).to_owned(), columns[3].parse().ok()?))
}

/// Whether all threads of a process are traced.
fn is_traced(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    })
}
