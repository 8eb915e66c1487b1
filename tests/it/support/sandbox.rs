//! A private home for one test: its own home, XDG directories, port, database and processes.
//!
//! This file depends on no other file of the tests, because the benchmarks include it as well.
//! It holds what both need; what only tests ask of a sandbox is in `commands.rs`.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use claude_peers::config::Config;
use claude_peers::endpoint::broker_lock::Holder;
use claude_peers::endpoint::socket::holder;
use rustix::fs::{Mode, RawMode};
use rustix::process::{Resource, getrlimit, setrlimit, umask};
use tempfile::TempDir;

/// The timeout for anything that must happen, on a slow machine too. No test measures time by it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_claude-peers");

/// The variable that sets how long a hook waits for the broker, in milliseconds.
pub const HOOK_WAIT: &str = "CLAUDE_PEERS_HOOK_MILLISECONDS";

/// The variable that multiplies the rounds of the tests that repeat.
pub const ROUNDS: &str = "CLAUDE_PEERS_TEST_ROUNDS";

/// The home of one test. Dropping the last clone ends the broker that still runs in it, by its pid.
pub struct Sandbox {
    pub(super) directory: Arc<TempDir>,
    pub(super) variables: Vec<(String, String)>,
}

impl Sandbox {
    pub fn new() -> Self {
        reset_this_process();
        let directory = tempfile::Builder::new().prefix("cp-").tempdir().unwrap();
        let mut variables = vec![
            ("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()),
            // The machine's journal belongs to the user.
            ("CLAUDE_PEERS_LOG".to_owned(), "stderr".to_owned()),
            // Tests are about what a hook does, not about its time limit on a slow machine.
            (HOOK_WAIT.to_owned(), (PATIENCE.as_millis() / 2).to_string()),
        ];
        for (name, part) in [
            ("HOME", "home"),
            ("XDG_RUNTIME_DIR", "run"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_CONFIG_HOME", "config"),
        ] {
            let path = directory.path().join(part);
            rustix::fs::mkdir(&path, Mode::RWXU).unwrap();
            variables.push((name.to_owned(), path.display().to_string()));
        }
        variables.push(("CLAUDE_PEERS_PORT".to_owned(), free_port().to_string()));
        Self { directory: Arc::new(directory), variables }
    }

    /// A sandbox without limits on rate and backlog.
    pub fn unlimited() -> Self {
        Self::new()
            .with("CLAUDE_PEERS_MESSAGES_PER_MINUTE", "0")
            .with("CLAUDE_PEERS_MAX_UNREAD", "0")
    }

    /// Sets a variable for all processes of this sandbox.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.retain(|(n, _)| n != name);
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn config(&self) -> Config {
        Config::from_environment(&self.variables.iter().cloned().collect()).unwrap()
    }

    pub fn socket(&self) -> PathBuf {
        self.config().paths.socket
    }

    /// The program in this sandbox.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        self.command_of(PROGRAM, arguments)
    }

    /// Any program in this sandbox.
    pub fn command_of<S: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.variables.iter().cloned())
            .args(arguments)
            .current_dir(self.path());
        with_default_signals(&mut command);
        command
    }

    /// Runs the program to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs the program, which must succeed. Returns its standard output.
    pub fn ok<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{:?}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// The broker that runs in this sandbox now, by its lock.
    pub fn broker(&self) -> Option<Holder> {
        holder(&self.config())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if Arc::strong_count(&self.directory) > 1 {
            return;
        }
        // A failed test may leave a configuration that cannot be read, and a panic here would end
        // all tests.
        let config = Config::from_environment(&self.variables.iter().cloned().collect());
        let Ok(config) = config else { return };
        // Sessions that are dropped later may start another broker, so this is repeated.
        let since = Instant::now();
        while let Some(running) = holder(&config)
            && since.elapsed() < Duration::from_secs(5)
        {
            running.kill();
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Waits until a condition holds.
#[track_caller]
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    assert!(within(PATIENCE, holds), "timed out waiting: {what}");
}

/// Whether a condition holds within the limit.
pub fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let since = Instant::now();
    while !holds() {
        if since.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Returns a port of 127.0.0.1 for this caller alone.
///
/// It lies below the range that the system assigns to connections: a port of that range that was
/// free a moment ago may belong to a connection by now.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_240;
    const COUNT: u32 = 22_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Each run of the tests begins at another port.
    let start = std::process::id().wrapping_mul(997);
    loop {
        let number = start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + number % COUNT).unwrap();
        // A test bind would leave the port in a program that is started at that moment.
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            return port;
        }
    }
}

/// The umask that a person's shell sets.
const UMASK: RawMode = 0o022;

/// Gives this process, once, the umask, limits and signals that a person's terminal gives.
///
/// `nohup`, many CI runners, a git hook and a careful shell leave signals ignored, another umask,
/// low limits and variables behind, which every process inherits.
fn reset_this_process() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        umask(Mode::from_raw_mode(UMASK));
        // SAFETY: no handler is installed. With the signal ignored, no child could be waited for.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        for resource in [Resource::Nofile, Resource::Fsize] {
            let mut limit = getrlimit(resource);
            limit.current = limit.maximum;
            // A limit that cannot be raised is the machine's. The tests that need more say so.
            let _ = setrlimit(resource, limit);
        }
    });
}

/// How long a process of a test may live, in seconds: far longer than any test needs, so that a
/// process that hangs is ended by SIGALRM and its test fails.
fn longest_life() -> u32 {
    let rounds = std::env::var(ROUNDS).ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(1);
    let life = 8 * PATIENCE + Duration::from_secs(60) * rounds;
    life.as_secs().try_into().unwrap()
}

/// Has a program begin with every signal at its default, and with a limit on its life.
pub fn with_default_signals(command: &mut Command) {
    let life = longest_life();
    let begin = move || {
        // The signals that all systems share. The others are never ignored.
        for signal in 1..=31 {
            if ![libc::SIGKILL, libc::SIGSTOP].contains(&signal) {
                // SAFETY: no handler is installed.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
        }
        // SAFETY: a system call. Its timer survives the start of the program.
        unsafe { libc::alarm(life) };
        Ok(())
    };
    // SAFETY: the closure makes system calls only. The standard library has emptied the mask.
    unsafe { command.pre_exec(begin) };
}
