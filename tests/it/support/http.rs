//! HTTP written by hand on plain sockets: what a foreign, simple or broken client would send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::{PATIENCE, Sandbox};

/// A request, to the byte.
#[derive(Clone)]
pub struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request with the headers of a well-behaved caller, but without a token.
    pub fn new(method: &str, path: &str) -> Self {
        let headers = vec![("Host".to_owned(), "127.0.0.1".to_owned())];
        Self { line: format!("{method} {path} HTTP/1.1"), headers, body: Vec::new() }
    }

    pub fn is_post(&self) -> bool {
        self.line.starts_with("POST ")
    }

    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    pub fn post(path: &str, body: &Value) -> Self {
        Self::raw(path, body.to_string())
    }

    /// A POST whose body claims to be JSON.
    pub fn raw(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", path).with("Content-Type", "application/json").body(body)
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let length = self.body.len().to_string();
        self.with("Content-Length", &length)
    }

    /// Sets a header, which replaces one of the same name.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.with("Authorization", &format!("Bearer {token}"))
    }

    /// Acts as a registered session.
    pub fn session(self, secret: &str) -> Self {
        self.with("claude-peers-session", secret)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends the request over the Unix socket; the broker must answer.
    #[track_caller]
    pub fn unix(&self, sandbox: &Sandbox) -> Answer {
        exchange(&mut unix(sandbox), &self.bytes()).expect("an answer over the Unix socket")
    }

    /// Sends the request over TCP; the broker must answer.
    #[track_caller]
    pub fn tcp(&self, sandbox: &Sandbox) -> Answer {
        exchange(&mut tcp(sandbox), &self.bytes()).expect("an answer over TCP")
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// The status, and the broker's error code.
    pub fn refusal(&self) -> (u16, String) {
        let code = serde_json::from_slice::<Value>(&self.body)
            .ok()
            .and_then(|json| json["code"].as_str().map(str::to_owned));
        (self.status, code.unwrap_or_default())
    }
}

pub fn unix(sandbox: &Sandbox) -> UnixStream {
    let stream = UnixStream::connect(sandbox.socket()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn tcp(sandbox: &Sandbox) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", sandbox.port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Writes a request and reads one answer, also from a server that answers early and closes.
pub fn exchange(stream: &mut (impl Read + Write), request: &[u8]) -> Option<Answer> {
    // An error means that the other side has closed; its answer can still be read.
    let _ = stream.write_all(request);
    read_answer(stream)
}

/// Reads the next answer; `None` if the connection ends first.
pub fn read_answer(stream: &mut impl Read) -> Option<Answer> {
    let mut head = Vec::new();
    let mut byte = [0u8];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Answer { status, head, body })
}

/// A peer without an MCP server: registered by hand, and away unless it opens a stream.
pub struct RawPeer {
    pub id: String,
    pub name: String,
    pub secret: String,
    pub instance: String,
}

impl RawPeer {
    pub fn register(sandbox: &Sandbox, name: &str) -> Self {
        let secret = format!("secret-of-{name}-{}", "x".repeat(32));
        let instance = format!("instance-of-{name}");
        let request = json!({
            "instance": instance, "secret": secret, "session": format!("raw-{name}"), "name": name,
            "cwd": format!("/srv/{name}"), "channel": "absent",
        });
        let answer = Request::post("/v1/register", &request).unix(sandbox);
        assert_eq!(answer.status, 200, "{:?}", answer.refusal());
        let peer = &answer.json()["peer"];
        Self {
            id: peer["id"].as_str().unwrap().to_owned(),
            name: peer["name"].as_str().unwrap().to_owned(),
            secret,
            instance,
        }
    }

    pub fn try_send(&self, sandbox: &Sandbox, to: &str, text: &str) -> Answer {
        Request::post("/v1/messages", &json!({ "to": to, "text": text }))
            .session(&self.secret)
            .unix(sandbox)
    }

    /// Sends a message; returns its id.
    #[track_caller]
    pub fn send(&self, sandbox: &Sandbox, to: &str, text: &str) -> String {
        let answer = self.try_send(sandbox, to, text);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// Takes its mail; returns the texts. Nothing is confirmed.
    #[track_caller]
    pub fn take(&self, sandbox: &Sandbox) -> Vec<String> {
        let answer =
            Request::post("/v1/mailbox/take", &json!({})).session(&self.secret).unix(sandbox);
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        let messages = answer.json()["messages"].as_array().unwrap().clone();
        messages.iter().map(|m| m["text"].as_str().unwrap().to_owned()).collect()
    }
}
