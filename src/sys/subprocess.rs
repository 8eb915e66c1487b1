//! Threads and other programs, with time limits.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Runs `work` on a thread of its own, and returns the receiver of its result.
pub fn run_on_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Receiver<T>> {
    let (sender, receiver) = channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        // The receiver may have given up.
        .spawn(move || drop(sender.send(work())))?;
    Ok(receiver)
}

/// Runs `work` on a thread of its own, and waits for it without blocking other tasks.
///
/// `tokio::task::spawn_blocking` is not used, because it panics if no thread can be started.
///
/// # Errors
///
/// If no thread can be started, or `work` panicked.
pub async fn run_in_background<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        // The receiver may have given up.
        .spawn(move || drop(sender.send(work())))?;
    receiver.await.map_err(|_| io::Error::other(format!("the thread {name} ended early")))
}

/// Finds a program in the directories of a value of `PATH`.
pub fn find_in_path(path: &OsStr, program: &str) -> Option<PathBuf> {
    in_directories(std::env::split_paths(path), program.as_ref())
}

/// Finds a program in the absolute directories of a value of `PATH`.
pub fn find_in_absolute_path(path: &OsStr, program: &str) -> Option<PathBuf> {
    let mut directories = std::env::split_paths(path).filter(|directory| directory.is_absolute());
    in_directories(&mut directories, program.as_ref())
}

fn in_directories(
    mut directories: impl Iterator<Item = PathBuf>,
    program: &OsStr,
) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let is_program = |file: &PathBuf| {
        std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    directories.find_map(|directory| Some(directory.join(program)).filter(is_program))
}

/// The output of a program, and how it ended.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub output: String,
    pub errors: String,
}

impl Output {
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status.success()
    }

    /// Returns the first line of the error output, else of the output, that is not empty.
    #[must_use]
    pub fn first_line(&self) -> &str {
        let mut lines = self.errors.lines().chain(self.output.lines()).map(str::trim);
        lines.find(|line| !line.is_empty()).unwrap_or("it says nothing")
    }

    /// Returns error output and output on one line; the exit status if both are empty.
    #[must_use]
    pub fn one_line(&self) -> String {
        let words = self.errors.split_whitespace().chain(self.output.split_whitespace());
        let words: Vec<&str> = words.collect();
        if words.is_empty() { self.status.to_string() } else { words.join(" ") }
    }
}

/// Runs a program to its end, and returns its output.
///
/// `None` if it takes longer than `limit`: it is killed then, with all processes that it started.
///
/// # Errors
///
/// If the program cannot be run.
pub fn run(command: &mut Command, limit: Duration) -> io::Result<Option<Output>> {
    let child = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let group = child.id();
    let name = command.get_program().to_string_lossy();
    // Reads both pipes at once: a program that fills one of them would block.
    let ended = run_on_thread(&name, move || child.wait_with_output());
    let ended = ended.inspect_err(|_| kill_group(group))?;
    if let Ok(output) = ended.recv_timeout(limit) {
        let output = output?;
        return Ok(Some(Output {
            status: output.status,
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }));
    }
    kill_group(group);
    Ok(None)
}

/// Runs the program with this name or path to its end, and returns its output.
///
/// # Errors
///
/// A sentence for people, if the program cannot be run or takes longer than `limit`.
pub fn run_named(program: &str, arguments: &[&str], limit: Duration) -> Result<Output, String> {
    let output = run(Command::new(program).args(arguments), limit)
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    output.ok_or_else(|| {
        let line = format!("{program} {}", arguments.join(" "));
        format!("`{line}` did not end within {} s", limit.as_secs())
    })
}

/// How [`read_until`] ended.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadUntil {
    /// Enough was read.
    Enough,
    /// The pipe was closed before that. Holds what was read.
    Closed(Vec<u8>),
    /// The time limit was over before that.
    TooSlow,
}

/// Reads a pipe until `enough` accepts what was read, the pipe is closed, or `limit` is over.
///
/// # Errors
///
/// If the pipe cannot be read.
pub fn read_until(
    mut pipe: impl io::Read + AsFd,
    limit: Duration,
    enough: impl Fn(&[u8]) -> bool,
) -> io::Result<ReadUntil> {
    let since = Instant::now();
    let mut output = Vec::new();
    loop {
        let left = limit.saturating_sub(since.elapsed());
        // The conversion cannot fail: the limits are seconds.
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let fd = pipe.as_fd();
        if poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout))? == 0 {
            return Ok(ReadUntil::TooSlow);
        }
        let mut bytes = [0u8; 4096];
        match pipe.read(&mut bytes)? {
            0 => return Ok(ReadUntil::Closed(output)),
            count => output.extend_from_slice(&bytes[..count]),
        }
        if enough(&output) {
            return Ok(ReadUntil::Enough);
        }
    }
}

/// Kills a process group, given its first process.
pub fn kill_group(first: u32) {
    if let Some(group) = i32::try_from(first).ok().and_then(rustix::process::Pid::from_raw) {
        // An error means that the group has just ended.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sys::process;

    fn shell(script: &str, limit: Duration) -> Option<Output> {
        run(Command::new("sh").args(["-c", script]), limit).unwrap()
    }

    #[test]
    fn the_whole_output_of_a_program_is_read() {
        let limit = Duration::from_secs(60);
        let output = shell("echo one; echo '  two  ' >&2; exit 3", limit).unwrap();
        assert_eq!((output.status.code(), output.output.as_str()), (Some(3), "one\n"));
        assert_eq!((output.first_line(), output.one_line().as_str()), ("two", "two one"));
        let silent = shell("exit 3", limit).unwrap();
        assert_eq!(
            (silent.first_line(), silent.one_line().as_str()),
            ("it says nothing", "exit status: 3")
        );
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_all_that_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let script = format!("sleep 600 & echo $! >'{}'; wait", file.display());
        let mut limit = Duration::from_millis(50);
        let pid: u32 = loop {
            assert!(shell(&script, limit).is_none());
            if let Ok(pid) = std::fs::read_to_string(&file).unwrap_or_default().trim().parse() {
                break pid;
            }
            limit *= 2;
        };
        let since = Instant::now();
        while process::of_pid(pid).is_some() {
            assert!(since.elapsed() < Duration::from_secs(30), "it runs on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
