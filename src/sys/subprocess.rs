//! Threads and programs that are given up when they take too long.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Runs `work` on a thread of its own.
pub fn off_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Receiver<T>> {
    let (sender, receiver) = channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        // Whoever waits may have given up.
        .spawn(move || drop(sender.send(work())))?;
    Ok(receiver)
}

/// Runs `work` on a thread of its own, and waits for it without keeping other tasks from running.
/// The runtime's own threads for such work bring their caller down where none can be started.
///
/// # Errors
///
/// If no thread can be started, or `work` came to no end.
pub async fn in_background<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        // Whoever waits may have given up.
        .spawn(move || drop(sender.send(work())))?;
    receiver.await.map_err(|_| io::Error::other(format!("the thread {name} ended early")))
}

/// Finds a program in the directories of `PATH`, whose value is given.
pub fn in_path(path: &OsStr, program: &str) -> Option<PathBuf> {
    in_directories(std::env::split_paths(path), program.as_ref())
}

/// The same in those of the directories that have one meaning wherever one stands.
pub fn in_absolute_path(path: &OsStr, program: &str) -> Option<PathBuf> {
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

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub status: ExitStatus,
    pub output: String,
    pub errors: String,
}

impl Said {
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status.success()
    }

    /// Why it failed, as far as its first line tells.
    #[must_use]
    pub fn complaint(&self) -> &str {
        let mut lines = self.errors.lines().chain(self.output.lines()).map(str::trim);
        lines.find(|line| !line.is_empty()).unwrap_or("it says nothing")
    }

    /// Why it failed, in all its words on one line; how it ended if it has none.
    #[must_use]
    pub fn words(&self) -> String {
        let words = self.errors.split_whitespace().chain(self.output.split_whitespace());
        let words: Vec<&str> = words.collect();
        if words.is_empty() { self.status.to_string() } else { words.join(" ") }
    }
}

/// Runs a program to its end. One that takes longer is ended with all that it started, and gives
/// `None`.
///
/// # Errors
///
/// If it cannot be run.
pub fn run(command: &mut Command, limit: Duration) -> io::Result<Option<Said>> {
    let child = command
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let group = child.id();
    let name = command.get_program().to_string_lossy();
    // It reads both pipes at once: a program that fills one of them would wait for us.
    let ended = off_thread(&name, move || child.wait_with_output());
    let ended = ended.inspect_err(|_| end_group(group))?;
    if let Ok(output) = ended.recv_timeout(limit) {
        let output = output?;
        return Ok(Some(Said {
            status: output.status,
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }));
    }
    end_group(group);
    Ok(None)
}

/// The same by a name or path, and in words for a person where nothing was heard.
///
/// # Errors
///
/// If it cannot be run, or takes longer than `limit`.
pub fn program(program: &str, arguments: &[&str], limit: Duration) -> Result<Said, String> {
    let said = run(Command::new(program).args(arguments), limit)
        .map_err(|error| format!("{program} cannot be run: {error}"))?;
    said.ok_or_else(|| {
        let line = format!("{program} {}", arguments.join(" "));
        format!("`{line}` did not end within {} s", limit.as_secs())
    })
}

/// How listening to another program came to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// It has said enough.
    Enough,
    /// It closed the pipe before, and said this.
    Closed(Vec<u8>),
    TooSlow,
}

/// Reads a pipe until what was said is enough, it closes, or `limit` is over.
///
/// # Errors
///
/// If it cannot be read.
pub fn hear(
    mut pipe: impl io::Read + AsFd,
    limit: Duration,
    enough: impl Fn(&[u8]) -> bool,
) -> io::Result<Heard> {
    let since = Instant::now();
    let mut said = Vec::new();
    loop {
        let left = limit.saturating_sub(since.elapsed());
        // It fits: the limits are seconds.
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let fd = pipe.as_fd();
        if poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout))? == 0 {
            return Ok(Heard::TooSlow);
        }
        let mut bytes = [0u8; 4096];
        match pipe.read(&mut bytes)? {
            0 => return Ok(Heard::Closed(said)),
            count => said.extend_from_slice(&bytes[..count]),
        }
        if enough(&said) {
            return Ok(Heard::Enough);
        }
    }
}

/// Ends a process that was started as the first of its group, and all that it started.
pub fn end_group(first: u32) {
    if let Some(group) = i32::try_from(first).ok().and_then(rustix::process::Pid::from_raw) {
        // An error means that it has ended just now.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sys::process;

    fn shell(script: &str, limit: Duration) -> Option<Said> {
        run(Command::new("sh").args(["-c", script]), limit).unwrap()
    }

    #[test]
    fn a_program_is_heard_to_its_end() {
        let limit = Duration::from_secs(60);
        let said = shell("echo one; echo '  two  ' >&2; exit 3", limit).unwrap();
        assert_eq!((said.status.code(), said.output.as_str()), (Some(3), "one\n"));
        assert_eq!((said.complaint(), said.words().as_str()), ("two", "two one"));
        let silent = shell("exit 3", limit).unwrap();
        assert_eq!(
            (silent.complaint(), silent.words().as_str()),
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
