//! The floor: what the machine asks for a message, with nothing done about it.
//!
//! The same bytes go through the same sockets and the same number of processes, and each commit is
//! one `fdatasync`:
//!
//! ```text
//! benchmark ─(pair)─► sender ─(Unix socket)─► store ─(Unix socket)─► receiver ─(pair)─► benchmark
//! benchmark ◄─(pair)─ sender ◄─(Unix socket)── │ writes, syncs
//! ```
//!
//! Each of the three is a process of its own. The lines are as long as those of the program in the
//! same run; the store reads of them only for which receiver they are.

mod relay;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

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

pub struct Floor {
    pub senders: Vec<LineProcess>,
    pub receivers: Vec<LineProcess>,
    store: Child,
    lengths: Lengths,
    _sockets: TempDir,
}

impl Floor {
    /// Starts a store with its file in `disk`, and its relays.
    pub fn start(disk: &Path, senders: usize, receivers: usize, lengths: Lengths) -> Self {
        let sockets = tempfile::Builder::new().prefix("cp-").tempdir().unwrap();
        let socket = sockets.path().join("store");
        let listener = UnixListener::bind(&socket).unwrap();
        let Lengths { call, answer, push } = lengths;
        let mut store = relay("store");
        store
            .arg(disk.join("floor"))
            .args([senders, receivers, call, answer, push].map(|number| number.to_string()));
        let store = store.stdin(Stdio::from(OwnedFd::from(listener))).spawn().unwrap();
        let start = |role: &str, number: usize| {
            let mut command = relay(role);
            command.arg(&socket).arg(number.to_string());
            LineProcess::spawn(command)
        };
        let mut floor = Self {
            senders: (0..senders).map(|number| start("sender", number)).collect(),
            receivers: (0..receivers).map(|number| start("receiver", number)).collect(),
            store,
            lengths,
            _sockets: sockets,
        };
        // When each way has carried a message, all of them have connected.
        for sender in 0..senders {
            for receiver in 0..receivers {
                floor.pass(sender, receiver);
            }
        }
        floor
    }

    /// Returns the line of a message, to be written later.
    pub fn line(&self, sender: usize, receiver: usize, number: usize) -> Vec<u8> {
        relay::line(sender, receiver, number, self.lengths.call)
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

/// This program as a relay.
fn relay(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([relay::ARGUMENT, role]);
    with_default_signals(&mut command);
    command
}
