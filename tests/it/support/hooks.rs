//! Hooks as a client runs them, waiting hooks, and a session's inbox socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use super::{PATIENCE, Sandbox, Session, SessionOptions, until};

/// Longer than the gather time before a wake.
const QUIET: Duration = Duration::from_millis(2_500);

/// Runs `claude-peers hook` to its end.
pub fn hook(sandbox: &Sandbox, event: &str, input: &Value) -> Output {
    run_hook(sandbox.command(["hook", event]), input)
}

/// Runs a hook's command with this input to its end.
pub fn run_hook(command: Command, input: &Value) -> Output {
    run_with_input(command, input.to_string().as_bytes())
}

/// Runs a command with this input to its end.
pub fn run_with_input(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // What exits early does not read all of it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Runs a hook of a client process, which must print nothing on standard error. Returns its output.
#[track_caller]
pub fn hook_of(sandbox: &Sandbox, client: u32, session: &str, event: &str, more: Value) -> String {
    let mut command = sandbox.command(["hook", event]);
    command.env("CLAUDE_PID", client.to_string());
    let mut input = json!({
        "session_id": session, "hook_event_name": event, "prompt_id": format!("t{client}"),
    });
    input.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let output = run_hook(command, &input);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a hook of the session of this name in a turn. Returns the context for the model; empty if
/// there is none.
#[track_caller]
pub fn context(sandbox: &Sandbox, event: &str, session: &str, turn: &str, more: Value) -> String {
    let mut input = json!({
        "session_id": format!("session-{session}"),
        "hook_event_name": event,
        "prompt_id": turn,
        "cwd": "/",
    });
    input.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    let output = hook(sandbox, event, &input);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    if output.stdout.is_empty() {
        return String::new();
    }
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["hookSpecificOutput"]["hookEventName"], event);
    said["hookSpecificOutput"]["additionalContext"].as_str().unwrap().to_owned()
}

/// Starts the sessions `backend` and `frontend`, without channels.
pub fn backend_and_frontend(sandbox: &Sandbox) -> (Session, Session) {
    let start = |name: &str| SessionOptions::new(name).without_channel().start(sandbox);
    (start("backend"), start("frontend"))
}

/// Starts both, and sends "one" from the backend to the frontend. Returns the id of the message.
pub fn one_sent() -> (Sandbox, Session, Session, String) {
    let sandbox = Sandbox::new();
    let (mut backend, frontend) = backend_and_frontend(&sandbox);
    let id = backend.send("frontend", "one");
    (sandbox, backend, frontend, id)
}

/// A session's inbox socket, which its client would own.
pub struct Inbox {
    pub path: PathBuf,
    lines: Receiver<Value>,
}

impl Inbox {
    pub fn open(sandbox: &Sandbox) -> Self {
        let path = sandbox.path().join("inbox.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                for line in BufReader::new(stream.unwrap()).lines() {
                    let _ = sender.send(serde_json::from_str(&line.unwrap()).unwrap());
                }
            }
        });
        Self { path, lines }
    }

    /// A session with this inbox socket and without a channel.
    pub fn session(&self, name: &str) -> SessionOptions {
        SessionOptions::new(name)
            .without_channel()
            .with("CLAUDE_CODE_MESSAGING_SOCKET", self.path.to_str().unwrap())
            .with("CLAUDE_CODE_MESSAGING_TOKEN", "the-token")
    }

    /// Waits for one wake. Returns its text.
    #[track_caller]
    pub fn woken(&self) -> String {
        let auth = self.lines.recv_timeout(PATIENCE).unwrap();
        assert_eq!(auth, json!({ "type": "auth", "token": "the-token" }));
        let line = self.lines.recv_timeout(PATIENCE).unwrap();
        assert_eq!(line["type"], "user");
        assert_eq!(line["message"]["role"], "user");
        line["message"]["content"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn is_quiet(&self) {
        if let Ok(line) = self.lines.recv_timeout(QUIET) {
            panic!("it was woken: {line}");
        }
    }
}

/// Starts a waiting hook of the session of this name, in a client that is this test process.
pub fn waiter(sandbox: &Sandbox, event: &str, session: &str) -> Child {
    waiter_of(sandbox, event, session, std::process::id())
}

pub fn waiter_of(sandbox: &Sandbox, event: &str, session: &str, client: u32) -> Child {
    let mut child = sandbox
        .command(["hook", event, "--wait"])
        .env("CLAUDE_PID", client.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let input = json!({ "session_id": format!("session-{session}"), "stop_hook_active": false });
    // A hook that exits early does not read it.
    let _ = child.stdin.take().unwrap().write_all(input.to_string().as_bytes());
    child
}

/// Waits for the end of a waiting hook. Returns its exit code and what it said to the model.
#[track_caller]
pub fn end(mut child: Child) -> (i32, String) {
    until("the hook ends", || child.try_wait().unwrap().is_some());
    let output = child.wait_with_output().unwrap();
    assert!(output.stdout.is_empty(), "{output:?}");
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[track_caller]
pub fn still_waits(child: &mut Child) {
    std::thread::sleep(QUIET);
    assert!(child.try_wait().unwrap().is_none(), "it ended");
}
