//! The broker's API over a plain socket: peers that are no processes, and calls without a client.
//!
//! For the broker a peer is a registration and an open event stream, whoever holds them. So a
//! thousand sessions need no thousand servers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use claude_peers::protocol::{header, route};
use serde_json::{Value, json};

use crate::sandbox::{PATIENCE, Sandbox};

/// A connection that is kept open.
pub struct Wire {
    stream: BufReader<UnixStream>,
}

impl Wire {
    pub fn open(sandbox: &Sandbox) -> Self {
        let stream = UnixStream::connect(sandbox.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Returns the bytes of a request, to be written later.
    pub fn request(method: &str, path: &str, secret: &str, headers: &str, body: &str) -> Vec<u8> {
        let (session, length) = (header::SESSION, body.len());
        format!(
            "{method} {path} HTTP/1.1\r\nHost: broker\r\n{session}: {secret}\r\n{headers}\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    /// Writes a request. Returns the instant just before.
    pub fn write(&mut self, request: &[u8]) -> Instant {
        let at = Instant::now();
        self.stream.get_mut().write_all(request).unwrap();
        at
    }

    /// Reads the head of an answer. Returns the length of its body, if it says so.
    fn head(&mut self) -> Option<usize> {
        let (mut line, mut length) = (String::new(), None);
        self.stream.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        loop {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
            if line == "\r\n" {
                return length;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok();
            }
        }
    }

    /// Reads an answer. Returns when it was read, and its body.
    pub fn answer(&mut self) -> (Instant, Vec<u8>) {
        let mut body = vec![0; self.head().expect("an answer tells its length")];
        self.stream.read_exact(&mut body).unwrap();
        (Instant::now(), body)
    }

    /// Sends a request of a registered peer, and returns the answer.
    pub fn post(&mut self, path: &str, secret: &str, body: &Value) -> Value {
        self.write(&Self::request("POST", path, secret, "", &body.to_string()));
        serde_json::from_slice(&self.answer().1).unwrap()
    }

    /// Reads the next event of a stream. Returns when it was read.
    pub fn event(&mut self) -> (Instant, Value) {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.stream.read_line(&mut line).unwrap(), 0, "the stream ended");
            if let Some(data) = line.strip_prefix("data:") {
                return (Instant::now(), serde_json::from_str(data.trim()).unwrap());
            }
        }
    }
}

/// A peer without a server. It is live as long as it is kept.
pub struct StandIn {
    pub name: String,
    pub secret: String,
    pub stream: Wire,
}

impl StandIn {
    /// Registers a peer like a session that works in a repository and has a summary.
    pub fn live(sandbox: &Sandbox, calls: &mut Wire, name: &str) -> Self {
        let secret = format!("secret-of-{name}-{}", "x".repeat(32));
        let instance = format!("instance-of-{name}");
        let directory = format!("/srv/projects/{name}");
        let registration = json!({
            "instance": instance, "secret": secret, "session": format!("session-of-{name}"),
            "name": name, "cwd": directory, "directory": directory,
            "repo": format!("{directory}/.git"), "client_name": "claude-code",
            "client_version": "2.1.330", "channel": "presumed",
        });
        calls.post(route::REGISTER, &secret, &registration);
        let summary = "Moves the checkout to the new payment service; touches api/ and its tests.";
        calls.post(route::PROFILE, &secret, &json!({ "summary": summary }));
        let mut stream = Wire::open(sandbox);
        stream.write(&Wire::request("GET", route::STREAM, &secret, "", ""));
        stream.head();
        assert_eq!(stream.event().1["type"], "ready");
        Self { name: name.to_owned(), secret, stream }
    }
}
