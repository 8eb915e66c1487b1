//! What the black-box tests stand on: a private home, real processes, raw JSON.
//!
//! Every test has a sandbox of its own: home, XDG directories, port and database. Nothing of the
//! user's is touched, and a broker that a test left running is ended by its pid.

#![allow(
    dead_code,
    unused_imports,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::needless_pass_by_value
)]

mod chance;
pub mod containers;
pub mod http;
mod inherited;
mod manager;
mod mounts;
#[cfg(target_os = "linux")]
pub mod seccomp;
mod session;

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use claude_peers::config::Config;
use claude_peers::endpoint::broker_lock::Holder;
use claude_peers::endpoint::socket::holder;
use serde_json::Value;
use tempfile::TempDir;

pub use chance::{Chance, messages, rounds};
pub use inherited::afresh;
pub use manager::{Manager, Notifications};
pub use mounts::mounted;
pub use session::{Session, SessionOptions, initialize};

/// How long anything that must happen may take on a slow machine. No test measures time by it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_claude-peers");

/// How long a hook waits for the broker, in milliseconds.
pub const HOOK_WAIT: &str = "CLAUDE_PEERS_HOOK_MILLISECONDS";

/// A private world for one test.
pub struct Sandbox {
    directory: Arc<TempDir>,
    variables: Vec<(String, String)>,
}

impl Sandbox {
    pub fn new() -> Self {
        inherited::reset();
        let directory = tempfile::Builder::new().prefix("cp-").tempdir().unwrap();
        let mut variables = vec![
            ("PATH".to_owned(), std::env::var("PATH").unwrap_or_default()),
            // The machine's journal is the user's.
            ("CLAUDE_PEERS_LOG".to_owned(), "stderr".to_owned()),
            // A test is about what a hook does, and the machine may be slow.
            (HOOK_WAIT.to_owned(), (PATIENCE.as_millis() / 2).to_string()),
        ];
        for (name, part) in [
            ("HOME", "home"),
            ("XDG_RUNTIME_DIR", "run"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_CONFIG_HOME", "config"),
        ] {
            let path = directory.path().join(part);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
            variables.push((name.to_owned(), path.display().to_string()));
        }
        variables.push(("CLAUDE_PEERS_PORT".to_owned(), free_port().to_string()));
        Self { directory: Arc::new(directory), variables }
    }

    /// The same, with limits on rate and backlog switched off.
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

    /// The same user in a shell that differs in one variable; an empty value unsets it.
    pub fn shell_with(&self, name: &str, value: impl Into<String>) -> Self {
        Self { directory: Arc::clone(&self.directory), variables: self.variables.clone() }
            .with(name, value)
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn port(&self) -> u16 {
        self.config().port
    }

    pub fn config(&self) -> Config {
        Config::from_environment(&self.variables.iter().cloned().collect()).unwrap()
    }

    pub fn database(&self) -> PathBuf {
        self.config().database
    }

    pub fn socket(&self) -> PathBuf {
        self.config().paths.socket
    }

    /// The TCP token; the broker must have run.
    pub fn token(&self) -> String {
        std::fs::read_to_string(self.config().paths.token).unwrap().trim().to_owned()
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
        afresh(&mut command);
        command
    }

    /// Runs the program to its end.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs the program; it must succeed. Gives its standard output.
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

    /// Runs the program with `--json`, which must succeed.
    pub fn json<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Value {
        let mut command = self.command(arguments);
        let output = command.arg("--json").stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs the program; it must fail. Gives its exit code and standard error.
    pub fn fails<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> (i32, String) {
        let output = self.run(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success(),
            "it succeeded: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        (output.status.code().unwrap_or(-1), error)
    }

    /// The broker that runs here now.
    pub fn holder(&self) -> Option<Holder> {
        holder(&self.config())
    }

    /// Starts a broker in the foreground and waits until it serves.
    pub fn start_broker(&self) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path().join("broker.log"))
            .unwrap();
        let child = self
            .command(["broker"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        until("the broker serves", || self.status_is("running"));
        child
    }

    pub fn status_is(&self, state: &str) -> bool {
        let output = self.run(["status", "--json"]);
        serde_json::from_slice::<Value>(&output.stdout).is_ok_and(|status| status["state"] == state)
    }

    /// How many peers are live; `None` while no broker answers.
    pub fn live_peers(&self) -> Option<u64> {
        let output = self.run(["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        status["health"]["peers"].as_u64()
    }

    /// A session called `name`, in a directory of that name, whose client takes pushes.
    pub fn session(&self, name: &str) -> Session {
        SessionOptions::new(name).start(self)
    }

    /// A message as `log` shows it.
    pub fn message(&self, id: &str) -> Value {
        self.json(["log", id])["messages"][0].clone()
    }

    /// Ends the broker with SIGKILL, if one runs; gives its pid.
    pub fn kill9_broker(&self) -> Option<u32> {
        let running = self.holder()?;
        running.kill();
        Some(running.pid)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if Arc::strong_count(&self.directory) > 1 {
            return;
        }
        // Sessions that are still to be dropped may start another: ask until nobody answers.
        let since = Instant::now();
        while let Some(running) = self.holder()
            && since.elapsed() < Duration::from_secs(5)
        {
            running.kill();
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A number that a person may set for longer runs than everyday's.
pub fn setting(name: &str, everyday: u64) -> u64 {
    std::env::var(name).map_or(everyday, |number| number.parse().unwrap())
}

/// A port of 127.0.0.1 that is this caller's alone, and none that the system gives to whoever asks
/// for any: what was free a moment ago would be a connection's by now.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_240;
    const COUNT: u32 = 22_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Another run of the tests begins elsewhere.
    let start = std::process::id().wrapping_mul(997);
    loop {
        let number = start.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + number % COUNT).unwrap();
        // Not tried by binding it: a program that starts just then would hold it for a moment.
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            return port;
        }
    }
}

/// Who may do what with a file, not with what it may be a link to.
#[track_caller]
pub fn mode(path: &Path) -> u32 {
    let metadata = std::fs::symlink_metadata(path);
    metadata.unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
}

/// Makes `path` a script, or other bytes, that can be run.
pub fn write_program(path: &Path, script: impl AsRef<[u8]>) {
    let mut writer = writing_program(path).stdin(Stdio::piped()).spawn().unwrap();
    writer.stdin.take().unwrap().write_all(script.as_ref()).unwrap();
    assert!(writer.wait().unwrap().success());
}

/// Makes `path` a copy of the program under test.
pub fn copy_program(path: &Path) {
    let original = std::fs::File::open(PROGRAM).unwrap();
    assert!(writing_program(path).stdin(original).status().unwrap().success());
}

/// Another process writes it: a child that one of our threads starts in that moment would keep
/// a file of ours open for writing, and such a file cannot be run.
fn writing_program(path: &Path) -> Command {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "cat > \"$0\" && chmod 755 \"$0\""]).arg(path);
    command
}

/// Waits for the end of a process, with a limit; gives how it ended.
#[track_caller]
pub fn ends(child: &mut Child) -> ExitStatus {
    let mut end = None;
    until("the process ends", || {
        end = child.try_wait().unwrap();
        end.is_some()
    });
    end.unwrap()
}

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "it never came to be: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
