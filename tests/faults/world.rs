//! What all parts of a run share: the sandbox, the processes that run, the history, the counts.

use std::collections::{BTreeMap, HashSet};
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::history::Recorder;
use crate::shim::Shim;
use crate::support::{PROGRAM, Sandbox};

/// Locks, also after a panic elsewhere: each use leaves the value whole.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The kinds of processes, besides the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Server,
    Hook,
    CommandLine,
    /// A broker that the run itself started.
    Broker,
}

/// A process of the run.
pub struct Process {
    pub kind: Kind,
    child: Mutex<Child>,
}

impl Process {
    /// Sends a signal, unless the process has ended.
    pub fn signal(&self, signal: Signal) -> bool {
        let mut child = locked(&self.child);
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
    }

    pub fn has_ended(&self) -> bool {
        !matches!(locked(&self.child).try_wait(), Ok(None))
    }

    /// Waits for its end. Returns whether it ended with success.
    pub fn wait(&self) -> bool {
        loop {
            if let Ok(Some(status)) = locked(&self.child).try_wait() {
                return status.success();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A session of the run.
pub struct Session {
    pub name: String,
    /// The peer's id, once it is known.
    pub peer: OnceLock<String>,
    pub has_channel: bool,
    /// Whether it never asks for its mail, so that all must be pushed to it.
    pub only_listens: bool,
    /// Whether its client reads nothing now.
    pub is_deaf: AtomicBool,
}

pub struct World {
    pub sandbox: Sandbox,
    pub shim: Option<Shim>,
    pub sessions: Vec<Session>,
    /// The peer of the command line.
    pub cli: OnceLock<String>,
    pub recorder: Recorder,
    processes: Mutex<Vec<Arc<Process>>>,
    number: AtomicU64,
    /// Whether nothing more is begun.
    pub is_over: AtomicBool,
    /// Whether nothing more is sent, so that all comes to rest.
    pub is_settling: AtomicBool,
    started: Instant,
    pub gaps: Mutex<Gaps>,
    pub counts: Mutex<BTreeMap<&'static str, u64>>,
    /// What is wrong, besides what the checker finds.
    pub problems: Mutex<Vec<String>>,
    /// The faults, with their times.
    pub log: Mutex<Vec<String>>,
    pub ready: AtomicU32,
    /// The ids of all messages that were pushed, or shown as an answer.
    pub shown: Mutex<HashSet<String>>,
}

/// The longest time without a successful call of anyone.
pub struct Gaps {
    last: Instant,
    /// Until when calls may fail, because the disk is full or everything is suspended.
    excused: Instant,
    pub longest: Duration,
    pub longest_at: Duration,
    pub is_watched: bool,
}

impl World {
    pub fn new(sandbox: Sandbox, shim: Option<Shim>, sessions: usize) -> Self {
        let sessions = (0..sessions).map(|n| Session {
            name: format!("s{n:02}"),
            peer: OnceLock::new(),
            has_channel: n % 5 < 3,
            only_listens: n % 5 == 0,
            is_deaf: AtomicBool::new(false),
        });
        let now = Instant::now();
        Self {
            sandbox,
            shim,
            sessions: sessions.collect(),
            cli: OnceLock::new(),
            recorder: Recorder::new(),
            processes: Mutex::default(),
            number: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            is_settling: AtomicBool::new(false),
            started: now,
            gaps: Mutex::new(Gaps {
                last: now,
                excused: now,
                longest: Duration::ZERO,
                longest_at: Duration::ZERO,
                is_watched: false,
            }),
            counts: Mutex::default(),
            problems: Mutex::default(),
            log: Mutex::default(),
            ready: AtomicU32::new(0),
            shown: Mutex::default(),
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    pub fn is_settling(&self) -> bool {
        self.is_settling.load(Ordering::SeqCst)
    }

    pub fn count(&self, what: &'static str) {
        *locked(&self.counts).entry(what).or_default() += 1;
    }

    pub fn problem(&self, text: String) {
        locked(&self.problems).push(text);
    }

    /// A text that nobody else sends.
    pub fn text(&self, from: &str) -> String {
        format!("number {} of {from}", self.number.fetch_add(1, Ordering::Relaxed))
    }

    /// Notes that a call succeeded now.
    pub fn succeeded(&self) {
        let now = Instant::now();
        let mut gaps = locked(&self.gaps);
        let since = gaps.last.max(gaps.excused);
        let gap = now.saturating_duration_since(since);
        if gaps.is_watched && gap > gaps.longest {
            (gaps.longest, gaps.longest_at) = (gap, self.started.elapsed());
        }
        gaps.last = now;
    }

    /// Excuses calls that fail until `until`.
    pub fn excuse(&self, until: Instant) {
        let mut gaps = locked(&self.gaps);
        gaps.excused = gaps.excused.max(until);
    }

    pub fn watch_gaps(&self, is_watched: bool) {
        let mut gaps = locked(&self.gaps);
        gaps.last = Instant::now();
        gaps.is_watched = is_watched;
    }

    fn program(&self) -> PathBuf {
        self.shim.as_ref().map_or_else(|| PathBuf::from(PROGRAM), |shim| shim.program.clone())
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.sandbox.command_of(self.program(), arguments)
    }

    /// Starts a process that faults may hit.
    pub fn spawn(&self, kind: Kind, command: &mut Command) -> Option<(Arc<Process>, Pipes)> {
        let mut child = command.stderr(Stdio::null()).spawn().ok()?;
        let pipes = Pipes { input: child.stdin.take(), output: child.stdout.take() };
        let process = Arc::new(Process { kind, child: Mutex::new(child) });
        let mut processes = locked(&self.processes);
        processes.retain(|process| !process.has_ended());
        processes.push(Arc::clone(&process));
        Some((process, pipes))
    }

    /// The processes of a kind that run now.
    pub fn running(&self, kind: Kind) -> Vec<Arc<Process>> {
        let processes = locked(&self.processes);
        processes.iter().filter(|one| one.kind == kind && !one.has_ended()).cloned().collect()
    }

    /// Runs a command that faults may hit to its end. Returns its output, and whether it succeeded.
    pub fn run(&self, kind: Kind, command: &mut Command, input: Option<&str>) -> (String, bool) {
        let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
        let command = command.stdin(stdin).stdout(Stdio::piped());
        let Some((process, mut pipes)) = self.spawn(kind, command) else {
            return (String::new(), false);
        };
        if let (Some(text), Some(mut pipe)) = (input, pipes.input.take()) {
            use std::io::Write as _;
            // A process that was killed reads nothing.
            let _ = pipe.write_all(text.as_bytes());
        }
        let mut bytes = Vec::new();
        if let Some(output) = &mut pipes.output {
            let _ = output.read_to_end(&mut bytes);
        }
        let success = process.wait();
        (String::from_utf8_lossy(&bytes).into_owned(), success)
    }

    /// Ends all processes of the run, except the broker that a client started.
    pub fn end_all(&self) {
        for process in locked(&self.processes).drain(..) {
            process.signal(Signal::KILL);
            process.wait();
        }
    }
}

pub struct Pipes {
    pub input: Option<std::process::ChildStdin>,
    pub output: Option<std::process::ChildStdout>,
}
