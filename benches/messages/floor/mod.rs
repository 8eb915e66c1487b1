//! The floor: what the machine asks for a message, with nothing done about it.
//!
//! The same bytes go through the same sockets and the same number of processes, and each commit is
//! one `fdatasync`:
//!
//! ```text
//! benchmark ─(pair)─► sender ─(Unix socket)─► store ─(Unix socket)─► receiver ─(pair)─► benchmark
//! benchmark ◄─(pair)─ sender ◄─(Unix socket)─── │ writes, syncs
//! ```
//!
//! Each of the three is a process of its own, started from this program. The lines are as long as
//! those of claude-peers in the same run; the store reads of them only for which receiver they are.

mod relay;
mod store;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::lines::LineProcess;
use crate::sandbox::with_default_signals;
pub use relay::run;

/// The lengths of the lines of one message, each with its line feed.
#[derive(Debug, Clone, Copy)]
pub struct Lengths {
    pub call: usize,
    pub answer: usize,
    pub push: usize,
}

/// What a relay says it is when it connects to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Its lines are stored, pushed and answered.
    Sender,
    /// Its lines are answered.
    Asker,
    Receiver,
}

impl Role {
    const fn byte(self) -> u8 {
        self as u8
    }

    fn from_byte(byte: u8) -> Self {
        let all = [Self::Sender, Self::Asker, Self::Receiver];
        all.into_iter().find(|role| role.byte() == byte).unwrap()
    }
}

/// A store, and the relays that stand for sessions.
pub struct Floor {
    pub senders: Vec<LineProcess>,
    pub receivers: Vec<LineProcess>,
    store: Child,
    lengths: Lengths,
    sockets: TempDir,
}

impl Floor {
    /// Starts a store with its file in `disk`, and its relays.
    pub fn start(disk: &Path, senders: usize, receivers: usize, lengths: Lengths) -> Self {
        let mut floor = Self::of(disk, "sender", senders, receivers, lengths);
        for sender in 0..senders {
            floor.pass(sender, 0);
        }
        floor
    }

    /// Starts a store and a relay whose lines are answered, and neither stored nor pushed.
    pub fn asking(disk: &Path, call: usize, answer: usize) -> Self {
        let mut floor = Self::of(disk, "asker", 1, 0, Lengths { call, answer, push: answer });
        floor.ask();
        floor
    }

    fn of(disk: &Path, role: &str, senders: usize, receivers: usize, lengths: Lengths) -> Self {
        let sockets = tempfile::Builder::new().prefix("cp-").tempdir().unwrap();
        let socket = sockets.path().join("store");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut store = store_command(&disk.join("floor"), lengths);
        let store = store.stdin(Stdio::from(OwnedFd::from(listener))).spawn().unwrap();
        let start = |role: &str, number: usize| {
            LineProcess::spawn(relay([role, socket.to_str().unwrap(), &number.to_string()]))
        };
        let mut receivers: Vec<_> = (0..receivers).map(|n| start("receiver", n)).collect();
        for receiver in &mut receivers {
            // It is connected.
            receiver.next();
        }
        Self {
            receivers,
            senders: (0..senders).map(|number| start(role, number)).collect(),
            store,
            lengths,
            sockets,
        }
    }

    /// Returns the line of a message, to be written later.
    pub fn line(&self, sender: usize, receiver: usize, number: usize) -> Vec<u8> {
        store::line(sender, receiver, number, self.lengths.call)
    }

    /// Sends one message. Returns when it was called, pushed and answered.
    pub fn pass(&mut self, sender: usize, receiver: usize) -> [Instant; 3] {
        let line = self.line(sender, receiver, 0);
        let called = self.senders[sender].write(&line);
        let (pushed, push) = self.receivers[receiver].next();
        let (answered, answer) = self.senders[sender].next();
        assert_eq!([push.len() + 1, answer.len() + 1], [self.lengths.push, self.lengths.answer]);
        [called, pushed, answered]
    }

    /// Asks something that is only answered. Returns how long that took.
    pub fn ask(&mut self) -> Duration {
        let line = self.line(0, 0, 0);
        let called = self.senders[0].write(&line);
        self.senders[0].next().0 - called
    }

    /// Starts a process that sends one message, or with `ask` only asks, and waits for its end.
    pub fn run(&self, ask: bool) -> Duration {
        let Lengths { call, answer, .. } = self.lengths;
        let socket = self.sockets.path().join("store");
        let what = if ask { "ask" } else { "send" };
        let command =
            relay([what, socket.to_str().unwrap(), &call.to_string(), &answer.to_string()]);
        timed(command)
    }

    /// The processes: sender, store, receiver.
    pub fn pids(&self) -> [u32; 3] {
        [self.senders[0].pid(), self.store.id(), self.receivers[0].pid()]
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.store.kill();
        let _ = self.store.wait();
    }
}

/// Starts a process that answers its first line. Returns how long the answer took.
pub fn echo(lengths: Lengths) -> Duration {
    let since = Instant::now();
    let mut process = LineProcess::spawn(relay(["echo", "-", &lengths.answer.to_string()]));
    process.write(&store::line(0, 0, 0, lengths.call));
    process.next().0 - since
}

/// Starts a process that starts a store, asks it something, and ends. Returns how long that took.
pub fn cold(disk: &Path, lengths: Lengths) -> Duration {
    let directory = tempfile::tempdir_in(disk).unwrap();
    let socket: PathBuf = directory.path().join("store");
    let [call, answer] = [lengths.call, lengths.answer].map(|number| number.to_string());
    timed(relay(["start", socket.to_str().unwrap(), &call, &answer]))
}

/// Runs a command to its end.
fn timed(mut command: Command) -> Duration {
    let since = Instant::now();
    let output = command.stdin(Stdio::null()).output().unwrap();
    let took = since.elapsed();
    assert!(output.status.success(), "{output:?}");
    took
}

fn store_command(file: &Path, lengths: Lengths) -> Command {
    let Lengths { call, answer, push } = lengths;
    let [call, answer, push] = [call, answer, push].map(|number| number.to_string());
    relay(["store", file.to_str().unwrap(), &call, &answer, &push])
}

/// This program as a relay.
fn relay<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(relay::ARGUMENT).args(arguments);
    with_default_signals(&mut command);
    command
}
