//! What tests ask of a sandbox: its program run by the command line, and its broker.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use serde_json::Value;

use super::{PROGRAM, Sandbox, Session, SessionOptions, until};

/// The findings in the output of `doctor --json`.
#[track_caller]
pub fn findings_of(output: &Output) -> Vec<Value> {
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    report["findings"].as_array().unwrap().clone()
}

/// Reads `claude-peers log --json`, which has one message a line, as the list that the broker has;
/// `None` if it is no such output.
pub fn log_lines(output: &[u8]) -> Option<Value> {
    let lines = serde_json::Deserializer::from_slice(output).into_iter();
    let messages = lines.collect::<Result<Vec<Value>, _>>().ok()?;
    Some(serde_json::json!({ "messages": messages }))
}

impl Sandbox {
    /// The same user in a shell that differs in one variable; an empty value unsets it.
    pub fn shell_with(&self, name: &str, value: impl Into<String>) -> Self {
        Self { directory: Arc::clone(&self.directory), variables: self.variables.clone() }
            .with(name, value)
    }

    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    pub fn port(&self) -> u16 {
        self.config().port
    }

    pub fn database(&self) -> PathBuf {
        self.config().database
    }

    /// The TCP token; the broker must have run.
    pub fn token(&self) -> String {
        std::fs::read_to_string(self.config().paths.token).unwrap().trim().to_owned()
    }

    /// Runs the program with `--json`, which must succeed. `log` prints one message a line, which is
    /// returned as the list that the broker has.
    pub fn json<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Value {
        let mut command = self.command(arguments);
        let is_log = command.get_args().next().is_some_and(|word| word == "log");
        let output = command.arg("--json").stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        if is_log {
            return log_lines(&output.stdout).unwrap();
        }
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs the program, which must fail. Returns its exit code and standard error.
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

    /// Runs a line in `sh`, where `claude-peers` is the program under test.
    pub fn shell(&self, line: &str) -> Output {
        self.shell_command(line).output().unwrap()
    }

    /// A line in `sh`, where `claude-peers` is the program under test.
    pub fn shell_command(&self, line: &str) -> Command {
        let bin = self.path().join("bin");
        if !bin.exists() {
            std::fs::create_dir(&bin).unwrap();
            std::os::unix::fs::symlink(PROGRAM, bin.join("claude-peers")).unwrap();
        }
        let path = format!("{}:{}", bin.display(), self.variable("PATH").unwrap());
        let mut command = self.command_of("sh", ["-c", line]);
        command.env("PATH", path).stdin(Stdio::null());
        command
    }

    /// Starts a broker in the foreground and waits until it serves.
    pub fn start_broker(&self) -> Child {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.path().join("broker.log"))
            .unwrap();
        self.start_broker_by(self.command(["broker"]).stderr(log))
    }

    /// Starts a broker by this command, which says where its standard error goes, and waits until it
    /// serves.
    pub fn start_broker_by(&self, command: &mut Command) -> Child {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        until("the broker serves", || self.status_is("running"));
        child
    }

    /// Starts a broker that may have few descriptors, and so few connections.
    pub fn start_small_broker(&self) -> Child {
        let line = "ulimit -n 256; exec \"$0\" broker";
        self.start_broker_by(self.command_of("sh", ["-c", line, PROGRAM]).stderr(Stdio::null()))
    }

    /// Ends the broker with SIGKILL, if one runs; returns its pid.
    pub fn kill9_broker(&self) -> Option<u32> {
        let running = self.broker()?;
        running.kill();
        Some(running.pid)
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

    /// The names of all live peers.
    pub fn live_names(&self) -> Vec<String> {
        self.live("name")
    }

    /// The ids of all live peers.
    pub fn live_ids(&self) -> Vec<String> {
        self.live("id")
    }

    fn live(&self, key: &str) -> Vec<String> {
        let list = self.json(["peers"]);
        let peers = list["peers"].as_array().unwrap().iter();
        peers.map(|peer| peer[key].as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the peer with this id is not live.
    #[track_caller]
    pub fn until_away(&self, id: &str) {
        until("the peer is away", || self.live_ids().iter().all(|live| live != id));
    }

    /// A session called `name`, in a directory of that name, whose client takes pushes.
    pub fn session(&self, name: &str) -> Session {
        SessionOptions::new(name).start(self)
    }

    /// A message as `log` shows it.
    pub fn message(&self, id: &str) -> Value {
        self.json(["log", id])["messages"][0].clone()
    }

    /// Checks a message's state, and by which way it came to it.
    #[track_caller]
    pub fn assert_state(&self, id: &str, state: &str, via: &str) {
        let message = self.message(id);
        assert_eq!(message["state"], state, "{message}");
        let key = if state == "read" { "read_via" } else { "offered_via" };
        assert_eq!(message[key], via, "{message}");
    }
}
