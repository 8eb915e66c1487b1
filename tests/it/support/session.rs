//! One session: `claude-peers mcp` as a child process, driven with raw JSON lines.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PATIENCE, until};

/// A running server process.
pub struct Session {
    pub child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<(Instant, String)>,
    pushes: VecDeque<(Instant, Value)>,
    next_id: u64,
    /// Locked by the reading thread, for each line.
    reading: Arc<Mutex<()>>,
}

/// Stops a client from reading while its guard is held.
pub struct NotReading(Arc<Mutex<()>>);

impl NotReading {
    /// The guard that keeps the reading thread waiting.
    pub fn hold(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first line of a client, for tests that write to a server themselves.
pub fn initialize() -> Value {
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "claude-code", "version": "2.1.330" },
    } })
}

impl Session {
    /// Runs a command that speaks MCP over standard input and output.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let (sender, lines) = channel();
        let reading = Arc::new(Mutex::new(()));
        let gate = Arc::clone(&reading);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
                if sender.send((Instant::now(), line)).is_err() {
                    return;
                }
            }
        });
        Self {
            input: child.stdin.take(),
            child,
            lines,
            pushes: VecDeque::new(),
            next_id: 0,
            reading,
        }
    }

    /// A switch that makes this client stop reading.
    pub fn reading(&self) -> NotReading {
        NotReading(Arc::clone(&self.reading))
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `initialize` and `notifications/initialized`. Returns the result of the first.
    pub fn handshake(&mut self, client: &str) -> Value {
        let answer = self.request(
            "initialize",
            json!({
                "protocolVersion": "2025-11-25",
                "capabilities": { "roots": { "listChanged": true }, "elicitation": { "form": {}, "url": {} } },
                "clientInfo": { "name": client, "title": "Test", "version": "2.1.330" },
            }),
        );
        self.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        answer["result"].clone()
    }

    /// Writes one line, whatever it is.
    pub fn write_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("standard input was closed");
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    /// Writes bytes as they are. No line end is added.
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().expect("standard input was closed");
        input.write_all(bytes).unwrap();
        input.flush().unwrap();
    }

    pub fn write(&mut self, message: &Value) {
        self.write_line(&message.to_string());
    }

    /// Sends a request without waiting for its answer; returns its id.
    pub fn start_request(&mut self, method: &str, params: Value) -> u64 {
        let (id, request) = self.new_request(method, params);
        self.write(&request);
        id
    }

    fn new_request(&mut self, method: &str, params: Value) -> (u64, Value) {
        let id = self.next_id;
        self.next_id += 1;
        (id, json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }))
    }

    /// Sends a request and waits for its whole answer, result or error.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.start_request(method, params);
        self.answer_to(&json!(id))
    }

    /// Waits for the answer to a request.
    #[track_caller]
    pub fn answer_to(&mut self, id: &Value) -> Value {
        loop {
            let (_, message) = self.read(PATIENCE).expect("the request is answered");
            if message["id"] == *id && message.get("method").is_none() {
                return message;
            }
        }
    }

    /// Waits for the answers to several requests, in any order.
    #[track_caller]
    pub fn answers_to(&mut self, ids: &[u64]) -> Vec<Value> {
        let mut answers: HashMap<u64, Value> = HashMap::new();
        while !ids.iter().all(|id| answers.contains_key(id)) {
            let (_, message) = self.read(PATIENCE).expect("the requests are answered");
            if let Some(id) = message["id"].as_u64()
                && message.get("method").is_none()
            {
                let twice = answers.insert(id, message);
                assert!(twice.is_none(), "answered twice: {twice:?}");
            }
        }
        ids.iter().map(|id| answers[id].clone()).collect()
    }

    /// Calls `send_message` once for each text, one after the other or all at once. None may fail.
    /// Returns the messages' ids.
    #[track_caller]
    pub fn send_all(&mut self, to: &str, texts: &[String], pipelined: bool) -> Vec<String> {
        if !pipelined {
            return texts.iter().map(|text| self.send(to, text)).collect();
        }
        let requests = self.start_sends(to, texts);
        let answers = self.answers_to(&requests);
        let id = |answer: &Value| {
            assert_ne!(answer["result"]["isError"], true, "{answer}");
            answer["result"]["structuredContent"]["id"].as_str().expect("an id").to_owned()
        };
        answers.iter().map(id).collect()
    }

    /// Starts a `send_message` call; returns the request's id.
    pub fn start_send(&mut self, to: &str, text: &str) -> u64 {
        self.start_request("tools/call", send_call(to, text))
    }

    /// Starts a `send_message` call for each text by one write, so that the server reads them together
    /// however busy the machine is. Returns the requests' ids.
    pub fn start_sends(&mut self, to: &str, texts: &[impl AsRef<str>]) -> Vec<u64> {
        let mut lines = String::new();
        let mut ids = Vec::new();
        for text in texts {
            let (id, request) = self.new_request("tools/call", send_call(to, text.as_ref()));
            lines += &format!("{request}\n");
            ids.push(id);
        }
        self.write_bytes(lines.as_bytes());
        ids
    }

    /// Reads the next message from the server. Pushes are also kept for `push`.
    pub fn read(&mut self, limit: Duration) -> Option<(Instant, Value)> {
        let (at, line) = self.read_line(limit)?;
        let message: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{error}: not JSON on standard output: {line}"));
        if message["method"] == "notifications/claude/channel" {
            self.pushes.push_back((at, message["params"].clone()));
        }
        Some((at, message))
    }

    fn read_line(&mut self, limit: Duration) -> Option<(Instant, String)> {
        self.lines.recv_timeout(limit).ok()
    }

    /// Calls a tool. Returns its result, which must not be an error.
    #[track_caller]
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.try_call(tool, arguments);
        assert_ne!(result["isError"], true, "{tool}: {result}");
        result
    }

    /// Calls a tool. Returns its result, error or not.
    #[track_caller]
    pub fn try_call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.request("tools/call", json!({ "name": tool, "arguments": arguments }));
        assert!(answer.get("error").is_none(), "{tool}: {answer}");
        answer["result"].clone()
    }

    /// Calls a tool. Returns the text of its result.
    pub fn text(&mut self, tool: &str, arguments: Value) -> String {
        self.call(tool, arguments)["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// The structured result of `list_peers`, with what its entries leave out: what they share, what
    /// is empty, and what is zero.
    #[track_caller]
    pub fn listed(&mut self, arguments: Value) -> Value {
        let mut list = self.call("list_peers", arguments)["structuredContent"].clone();
        let shared = list["default"].clone();
        let (me, peers) = (list["me"].take(), list["peers"].take());
        let whole = |mut entry: Value| {
            let name = entry["name"].as_str().unwrap_or_default().to_owned();
            let object = entry.as_object_mut().unwrap();
            for (member, value) in shared.as_object().into_iter().flatten() {
                let value = value.as_str().unwrap().replace("{name}", &name);
                object.entry(member).or_insert(json!(value));
            }
            object.entry("summary").or_insert(json!(""));
            object.entry("unread").or_insert(json!(0));
            entry
        };
        list["me"] = if me.is_null() { me } else { whole(me) };
        list["peers"] = peers.as_array().unwrap().iter().cloned().map(whole).collect();
        list
    }

    /// This session's own entry, as `list_peers` shows it.
    #[track_caller]
    pub fn me(&mut self) -> Value {
        self.listed(json!({}))["me"].clone()
    }

    /// Waits until the broker lists this session as live.
    #[track_caller]
    pub fn until_live(&mut self) {
        until("the session is live", || self.me()["live"] == true);
    }

    /// The id and name of this session, which must be live.
    #[track_caller]
    pub fn identity(&mut self) -> (String, String) {
        let me = self.me();
        assert_eq!(me["live"], true, "{me}");
        (me["id"].as_str().unwrap().to_owned(), me["name"].as_str().unwrap().to_owned())
    }

    pub fn id(&mut self) -> String {
        self.me()["id"].as_str().unwrap().to_owned()
    }

    /// Sends a message; returns its id.
    #[track_caller]
    pub fn send(&mut self, to: &str, message: &str) -> String {
        let result = self.call("send_message", json!({ "to_id": to, "message": message }));
        result["structuredContent"]["id"].as_str().unwrap().to_owned()
    }

    /// The next push within the limit: the time at which it was read, and its params.
    pub fn push_within(&mut self, limit: Duration) -> Option<(Instant, Value)> {
        let since = Instant::now();
        loop {
            if let Some(push) = self.pushes.pop_front() {
                return Some(push);
            }
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() || self.read(left).is_none() {
                return self.pushes.pop_front();
            }
        }
    }

    /// The next push, which must come.
    #[track_caller]
    pub fn push(&mut self) -> Value {
        self.push_within(PATIENCE).expect("a push arrives").1
    }

    /// Closes standard input, as a client does at its end.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        super::send_signal(self.pid(), signal);
    }

    /// Waits for the end of the process. Returns its exit code, or the negative signal, and the
    /// time.
    #[track_caller]
    pub fn wait_end(&mut self) -> (i32, Duration) {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
                return (code, since.elapsed());
            }
            assert!(since.elapsed() < PATIENCE, "the process ends");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the process with SIGKILL. Returns what its client could still read, pushes that were
    /// kept included. A line that was cut off is no message.
    pub fn kill9_and_drain(mut self) -> Vec<Value> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let aside = self.pushes.drain(..).map(|(_, push)| {
            json!({ "jsonrpc": "2.0", "method": "notifications/claude/channel", "params": push })
        });
        let mut messages: Vec<Value> = aside.collect();
        while let Some((_, line)) = self.read_line(PATIENCE) {
            messages.extend(serde_json::from_str::<Value>(&line));
        }
        messages
    }

    /// Ends the process with SIGKILL.
    pub fn kill9(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send_call(to: &str, text: &str) -> Value {
    json!({ "name": "send_message", "arguments": { "to_id": to, "message": text } })
}
