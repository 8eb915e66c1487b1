//! One session as its client sees it.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lines::{Line, LineProcess};
use crate::sandbox::Sandbox;

pub struct Peer {
    pub name: String,
    process: LineProcess,
    requests: u64,
}

impl Peer {
    /// Starts the process and does nothing else.
    pub fn spawn(sandbox: &Sandbox, name: &str) -> Self {
        Self::spawn_with(sandbox, name, "on")
    }

    /// Starts the process with its channel `on` or `off`.
    pub fn spawn_with(sandbox: &Sandbox, name: &str, channel: &str) -> Self {
        let directory = sandbox.path().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let mut command = sandbox.command(["mcp"]);
        command
            .env("CLAUDE_PROJECT_DIR", &directory)
            .env("CLAUDE_CODE_SESSION_ID", format!("session-{name}"))
            .env("CLAUDE_CODE_ENTRYPOINT", "cli")
            .env("CLAUDE_PEERS_CHANNEL", channel)
            .current_dir(directory)
            .stderr(Stdio::null());
        Self { name: name.to_owned(), process: LineProcess::spawn(command), requests: 0 }
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends `initialize`; returns when it was answered.
    pub fn initialize(&mut self) -> Instant {
        self.initialize_line();
        self.process.next().0
    }

    /// Sends `initialize`; returns the answer.
    pub fn initialize_answer(&mut self) -> Value {
        self.initialize_line();
        self.next().1
    }

    fn initialize_line(&mut self) {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "roots": {}, "elicitation": {} },
            "clientInfo": { "name": "claude-code", "version": "2.1.330" },
        });
        self.request("initialize", params);
    }

    /// Returns the line of a request, to be written later.
    pub fn request_line(&mut self, method: &str, params: &Value) -> Vec<u8> {
        let id = self.requests;
        self.requests += 1;
        line(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
    }

    /// Returns the line of a tool call, to be written later.
    pub fn call_line(&mut self, tool: &str, arguments: &Value) -> Vec<u8> {
        self.request_line("tools/call", &json!({ "name": tool, "arguments": arguments }))
    }

    /// Sends a request in one write; returns the instant just before.
    pub fn request(&mut self, method: &str, params: Value) -> Instant {
        let line = self.request_line(method, &params);
        self.write(&line)
    }

    pub fn call(&mut self, tool: &str, arguments: Value) -> Instant {
        let line = self.call_line(tool, &arguments);
        self.write(&line)
    }

    pub fn initialized(&mut self) {
        self.write(&line(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })));
    }

    pub fn write(&mut self, line: &[u8]) -> Instant {
        self.process.write(line)
    }

    /// The next line, and the time at which it came.
    pub fn next(&mut self) -> (Instant, Value) {
        let (at, line) = self.process.next();
        (at, parsed(&line))
    }

    /// The next lines as they came, to be read later.
    pub fn take(&mut self, count: usize) -> Vec<Line> {
        self.process.take(count)
    }
}

fn line(message: &Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}

pub fn parsed(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap()
}

/// The id of the message, in the answer to `send_message`.
pub fn id_of(answer: &Value) -> &Value {
    &answer["result"]["structuredContent"]["id"]
}

/// Starts sessions and waits until they are live and may be pushed to.
pub fn live(sandbox: &Sandbox, names: impl IntoIterator<Item = String>) -> Vec<Peer> {
    let mut peers: Vec<Peer> = names.into_iter().map(|name| Peer::spawn(sandbox, &name)).collect();
    for peer in &mut peers {
        peer.initialize();
        peer.initialized();
    }
    for peer in &mut peers {
        loop {
            peer.call("list_peers", json!({}));
            if peer.next().1["result"]["structuredContent"]["me"]["live"] == true {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    // A server pushes no sooner than one second after `initialized`.
    std::thread::sleep(Duration::from_millis(1_100));
    peers
}
