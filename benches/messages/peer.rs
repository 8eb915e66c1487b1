//! One session as its client sees it.
//!
//! A request is written in one piece, and each line is kept with the time at which it came.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use serde_json::{Value, json};

use crate::sandbox::{PATIENCE, Sandbox};

pub struct Peer {
    pub name: String,
    child: Child,
    input: UnixStream,
    lines: Receiver<(Instant, String)>,
    requests: u64,
}

impl Peer {
    /// Starts the process and does nothing else.
    pub fn spawn(sandbox: &Sandbox, name: &str) -> Self {
        let directory = sandbox.path().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let (input, its_input) = UnixStream::pair().unwrap();
        let (output, its_output) = UnixStream::pair().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        let child = sandbox
            .command(["mcp"])
            .env("CLAUDE_PROJECT_DIR", &directory)
            .env("CLAUDE_CODE_SESSION_ID", format!("session-{name}"))
            .env("CLAUDE_CODE_ENTRYPOINT", "cli")
            .env("CLAUDE_PEERS_CHANNEL", "on")
            .current_dir(directory)
            .stdin(Stdio::from(OwnedFd::from(its_input)))
            .stdout(Stdio::from(OwnedFd::from(its_output)))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { name: name.to_owned(), child, input, lines, requests: 0 }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `initialize`; returns when it was answered.
    pub fn initialize(&mut self) -> Instant {
        let params = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "roots": {}, "elicitation": {} },
            "clientInfo": { "name": "claude-code", "version": "2.1.330" },
        });
        self.request("initialize", params);
        self.next().0
    }

    /// Sends a request in one write; returns the instant just before.
    pub fn request(&mut self, method: &str, params: Value) -> Instant {
        let request =
            json!({ "jsonrpc": "2.0", "id": self.requests, "method": method, "params": params });
        self.requests += 1;
        self.write(&request)
    }

    pub fn call(&mut self, tool: &str, arguments: Value) -> Instant {
        self.request("tools/call", json!({ "name": tool, "arguments": arguments }))
    }

    pub fn initialized(&mut self) {
        self.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    }

    fn write(&mut self, message: &Value) -> Instant {
        let line = format!("{message}\n");
        let at = Instant::now();
        self.input.write_all(line.as_bytes()).unwrap();
        at
    }

    /// The next line, and the time at which it came.
    pub fn next(&self) -> (Instant, Value) {
        let (at, line) = self.lines.recv_timeout(PATIENCE).expect("the server says something");
        (at, serde_json::from_str(&line).unwrap())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    // A server pushes no sooner than one second after `initialized`.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    peers
}
