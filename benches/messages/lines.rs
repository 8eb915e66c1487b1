//! A child process that is talked to by lines, over a pair of sockets each for input and output.
//!
//! A line is written in one piece, and each line that comes is kept with the time at which it came.
//! The program's sessions and the relays of the floor are both talked to like this, so what the
//! benchmark itself costs is in both.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::sandbox::PATIENCE;

/// As much as a reader takes at once, here and in the relays.
pub const CHUNK: usize = 256 * 1024;

/// A line, and when it came.
pub type Line = (Instant, Vec<u8>);

pub struct LineProcess {
    child: Child,
    input: Option<UnixStream>,
    came: Arc<Came>,
}

impl LineProcess {
    pub fn spawn(mut command: Command) -> Self {
        let (input, its_input) = UnixStream::pair().unwrap();
        let (output, its_output) = UnixStream::pair().unwrap();
        let came = Arc::new(Came::default());
        let keeper = Arc::clone(&came);
        std::thread::spawn(move || keeper.keep(output));
        let child = command
            .stdin(Stdio::from(OwnedFd::from(its_input)))
            .stdout(Stdio::from(OwnedFd::from(its_output)))
            .spawn()
            .unwrap();
        Self { child, input: Some(input), came }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line, which ends with a line feed. Returns the instant just before.
    pub fn write(&mut self, line: &[u8]) -> Instant {
        let at = Instant::now();
        self.input.as_mut().unwrap().write_all(line).unwrap();
        at
    }

    /// Waits for the next line.
    pub fn next(&mut self) -> Line {
        self.take(1).pop().unwrap()
    }

    /// Waits until `count` lines are there, and returns them. Is woken once.
    pub fn take(&mut self, count: usize) -> Vec<Line> {
        let mut lines = self.came.lines.lock().unwrap();
        lines.wanted = count;
        while lines.kept.len() < count {
            assert!(!lines.ended, "the process ended; {} of {count} lines came", lines.kept.len());
            let (now, timeout) = self.came.enough.wait_timeout(lines, PATIENCE).unwrap();
            lines = now;
            let came = lines.kept.len();
            assert!(!timeout.timed_out(), "{came} of {count} lines came");
        }
        lines.kept.drain(..count).collect()
    }
}

impl Drop for LineProcess {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Came {
    lines: Mutex<Lines>,
    enough: Condvar,
}

#[derive(Default)]
struct Lines {
    kept: Vec<Line>,
    wanted: usize,
    ended: bool,
}

impl Came {
    fn keep(&self, mut output: UnixStream) {
        let mut chunk = vec![0; CHUNK];
        let mut begun = Vec::new();
        loop {
            let length = output.read(&mut chunk).unwrap_or(0);
            let at = Instant::now();
            let mut lines = self.lines.lock().unwrap();
            lines.ended = length == 0;
            let mut rest = &chunk[..length];
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                begun.extend_from_slice(&rest[..end]);
                lines.kept.push((at, std::mem::take(&mut begun)));
                rest = &rest[end + 1..];
            }
            begun.extend_from_slice(rest);
            if lines.kept.len() >= lines.wanted || lines.ended {
                self.enough.notify_one();
            }
            if lines.ended {
                return;
            }
        }
    }
}
