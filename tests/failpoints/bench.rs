//! One case: a sandbox, a process with an armed failpoint, and what must hold after its end.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{PATIENCE, Sandbox, Session, SessionOptions, ends, until, within};

/// The variable that arms a failpoint.
const VARIABLE: &str = "CLAUDE_PEERS_FAILPOINT";

/// A failpoint that is to be hit, and where.
pub struct Case {
    pub point: &'static str,
    /// At which hit the process is killed.
    pub hit: u32,
    pub sandbox: Sandbox,
}

impl Case {
    pub fn new(point: &'static str, hit: u32) -> Self {
        Self { point, hit, sandbox: Sandbox::unlimited() }
    }

    fn gate(&self) -> PathBuf {
        self.sandbox.path().join("gate")
    }

    /// From now on hits of the failpoint count.
    pub fn open_gate(&self) {
        std::fs::write(self.gate(), "").unwrap();
    }

    fn armed(&self) -> String {
        format!("{}:{}:kill:{}", self.point, self.hit, self.gate().display())
    }

    /// The program with the failpoint armed.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command(arguments);
        command.env(VARIABLE, self.armed());
        command
    }

    /// Starts a broker with the failpoint armed, and does not wait for it.
    pub fn start_broker(&self, arguments: &[&str]) -> Armed {
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Armed(command.spawn().unwrap())
    }

    /// Starts a broker with the failpoint armed, and waits until it serves.
    pub fn broker(&self) -> Armed {
        let broker = self.start_broker(&["broker"]);
        until("the armed broker serves", || self.sandbox.status_is("running"));
        broker
    }

    /// The options of a session whose server has the failpoint armed.
    pub fn armed_session(&self, name: &str) -> SessionOptions {
        SessionOptions::new(name).with(VARIABLE, &self.armed())
    }

    /// A session that is live: by channel, or by hooks and tools alone.
    pub fn session(&self, name: &str) -> Session {
        SessionOptions::new(name).start(&self.sandbox)
    }

    pub fn without_channel(&self, name: &str) -> Session {
        SessionOptions::new(name).without_channel().start(&self.sandbox)
    }

    /// All messages but notices, oldest first.
    pub fn log(&self) -> Vec<Value> {
        let mut all = self.sandbox.json(["log", "-n", "1000"])["messages"].clone();
        let mut all = std::mem::take(all.as_array_mut().unwrap());
        all.retain(|message| message["from"]["id"] != "broker");
        all.sort_by_key(|message| message["sent_at"].as_str().unwrap_or_default().to_owned());
        all
    }

    /// Checks that each of these texts is stored once, and with the id that its sender was told.
    #[track_caller]
    pub fn stored_once(&self, sent: &[(&str, &str)]) {
        let log = self.log();
        for (text, id) in sent {
            let found: Vec<&Value> =
                log.iter().filter(|message| message["text"] == *text).collect();
            assert_eq!(found.len(), 1, "{text} is stored once: {log:#?}");
            assert_eq!(found[0]["id"], *id, "{text}");
        }
    }
}

/// A process that is to die at its failpoint.
pub struct Armed(pub Child);

impl Armed {
    /// Waits for the end, which must be the failpoint's.
    #[track_caller]
    pub fn dies(&mut self) {
        assert_eq!(ends(&mut self.0).signal(), Some(libc::SIGKILL), "it died at the failpoint");
    }

    /// Whether it ends before this time is over.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        within(limit, || self.0.try_wait().unwrap().is_some())
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads what a killed server has still written.
#[track_caller]
pub fn last_words(mut session: Session) -> Vec<Value> {
    let (end, _) = session.wait_end();
    assert_eq!(end, -libc::SIGKILL, "the server died at the failpoint");
    session.kill9_and_drain()
}

/// The ids of the pushes among these lines, with their marks.
pub fn pushes(lines: &[Value]) -> Vec<(String, bool)> {
    let lines = lines.iter().filter(|line| line["method"] == "notifications/claude/channel");
    let seen = |line: &Value| {
        let meta = &line["params"]["meta"];
        (meta["message_id"].as_str().unwrap().to_owned(), meta["repeat"] == "true")
    };
    lines.map(seen).collect()
}

/// Checks that the session is pushed these messages, in order, and nothing else.
#[track_caller]
pub fn pushed_once(session: &mut Session, ids: &[String], repeat: bool) {
    for id in ids {
        let push = session.push();
        assert_eq!(push["meta"]["message_id"], id.as_str(), "in order: {push}");
        assert_eq!(push["meta"]["repeat"] == "true", repeat, "the mark of a repeat: {push}");
    }
    let more = session.push_within(Duration::from_millis(300));
    assert!(more.is_none(), "pushed twice to one instance: {more:?}");
}

/// The ids that `check_messages` shows, with their marks.
#[track_caller]
pub fn checked(session: &mut Session) -> Vec<(String, bool)> {
    let shown = session.call("check_messages", json!({}));
    let messages = shown["structuredContent"]["messages"].as_array().unwrap();
    let seen = |message: &Value| {
        (message["message_id"].as_str().unwrap().to_owned(), message["repeat"] == true)
    };
    messages.iter().map(seen).collect()
}

/// Waits until a message is in this state.
#[track_caller]
pub fn until_state(case: &Case, id: &str, state: &str) {
    let since = Instant::now();
    loop {
        let message = case.sandbox.message(id);
        if message["state"] == state {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{id} becomes {state}: {message}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
