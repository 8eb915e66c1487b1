//! Requests to a broker, by its socket.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use crate::broker;
use crate::config::{Config, Environment};
use crate::fuzzing::{directory, runtime};
use crate::protocol::health::Started;
use crate::protocol::{header, route};

/// The routes, by the input's first byte: with the method and whether there is a body.
const ROUTES: [(&str, &str); 22] = [
    ("POST", route::MESSAGES),
    ("POST", route::BATCH),
    ("POST", route::SCOPE),
    ("GET", route::MESSAGES),
    ("GET", route::PEERS),
    ("POST", route::REGISTER),
    ("POST", route::UNREGISTER),
    ("POST", route::PROFILE),
    ("POST", route::TAKE),
    ("POST", route::ANSWER),
    ("POST", route::CONFIRM),
    ("POST", route::WRITTEN),
    ("POST", route::HOOK),
    ("POST", route::HOOK_MOVED),
    ("POST", route::HOOK_WRITTEN),
    ("POST", route::TOOL_ANSWERED),
    ("POST", route::WAKE),
    ("POST", route::WAKE_GIVEN),
    ("POST", route::WAKE_LOOKED),
    ("GET", route::STREAM),
    ("GET", route::HEALTH),
    ("POST", route::FRESH_DATABASE),
];

/// The secrets of two sessions that are registered.
const ANN: &str = "ann-ann-ann-ann-ann-ann-ann-ann-ann-ann-";
const BOB: &str = "bob-bob-bob-bob-bob-bob-bob-bob-bob-bob-";

/// After so many executions another broker begins, with an empty database.
const PER_BROKER: u32 = 5_000;

/// How long a call that waits is waited for; its client then goes away.
const PATIENCE: Duration = Duration::from_millis(20);

/// A broker in this process, on a thread of its own.
struct Broker {
    home: TempDir,
    socket: PathBuf,
    database: PathBuf,
    thread: JoinHandle<()>,
    /// The peer id of the second session.
    bob: String,
    left: u32,
}

thread_local! {
    static BROKER: RefCell<Option<Broker>> = const { RefCell::new(None) };
}

/// Whatever a caller sends, the broker answers with what it can say, goes on, and has nobody else
/// speak for another.
///
/// The first byte is the route, or 255 for all of a request as bytes. The second says who calls:
/// the owner, one of two sessions, a session that is not known. Then come the query or path up to
/// a line's end, headers up to an empty line, and the body.
pub fn requests(data: &[u8]) {
    let [which, who, rest @ ..] = data else { return };
    BROKER.with_borrow_mut(|held| {
        if held.as_ref().is_none_or(|broker| broker.left == 0 || broker.thread.is_finished()) {
            if let Some(before) = held.take() {
                before.stop();
            }
            *held = Some(Broker::start());
        }
        let broker = held.as_mut().unwrap();
        broker.left -= 1;
        let of_bob = broker.messages_of_bob();
        let is_bob = who % 4 == 2;
        let raw = *which == 255;
        let request = if raw { rest.to_vec() } else { request(*which, *who, rest) };
        let answer = broker.exchange(&request);
        check(&answer, &request, raw);
        if !is_bob && !raw && !mentions_bob(rest) {
            assert_eq!(broker.messages_of_bob(), of_bob, "nobody else sends as bob");
        }
        if broker.left % 64 == 0 && !broker.thread.is_finished() {
            let health = broker.exchange(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n");
            assert!(health.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&health));
        }
    });
}

/// Whether an input has his secret, which proves that it is him.
fn mentions_bob(input: &[u8]) -> bool {
    input.windows(4).any(|part| part == b"bob-" || part == b"\\u00")
}

/// A well-formed request, but for what the input says.
fn request(which: u8, who: u8, rest: &[u8]) -> Vec<u8> {
    let (method, path) = ROUTES[usize::from(which) % ROUTES.len()];
    let end = |byte: &[u8]| rest.windows(byte.len()).position(|part| part == byte);
    let query_end = end(b"\n").unwrap_or(0);
    let (query, rest) = (&rest[..query_end], &rest[(query_end + 1).min(rest.len())..]);
    let head_end = rest.windows(2).position(|part| part == b"\n\n").unwrap_or(0);
    let (head, body) = (&rest[..head_end], &rest[(head_end + 2).min(rest.len())..]);
    let body = if head_end == 0 { rest } else { body };
    let mut out = format!("{method} {path}").into_bytes();
    if !query.is_empty() {
        out.push(b'?');
        // A space or a line end would end the path.
        out.extend(query.iter().filter(|byte| byte.is_ascii_graphic()));
    }
    out.extend(b" HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n");
    let secret = match who % 4 {
        0 => None,
        1 => Some(ANN),
        2 => Some(BOB),
        _ => Some("nobody-nobody-nobody-nobody-nobody-"),
    };
    if let Some(secret) = secret {
        out.extend(format!("{}: {secret}\r\n", header::SESSION).into_bytes());
    }
    for line in head.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        out.extend(line);
        out.extend(b"\r\n");
    }
    out.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
    out.extend(body);
    out
}

/// An answer is complete, no internal error, and a refusal says what it refuses.
fn check(answer: &[u8], request: &[u8], raw: bool) {
    let shown =
        || format!("{}\n{}", String::from_utf8_lossy(request), String::from_utf8_lossy(answer));
    let Some(status) = answer.strip_prefix(b"HTTP/1.1 ").or(answer.strip_prefix(b"HTTP/1.0 "))
    else {
        // Nothing, because the call waits, or half a request was sent.
        return assert!(answer.is_empty(), "{}", shown());
    };
    assert!(!status.starts_with(b"500"), "{}", shown());
    let at = answer.windows(4).position(|part| part == b"\r\n\r\n");
    let body = at.map_or(&[][..], |at| &answer[at + 4..]);
    if !raw && status.starts_with(b"4") && !body.is_empty() {
        let refusal: Value = serde_json::from_slice(body).unwrap_or_else(|_| panic!("{}", shown()));
        assert!(refusal["code"].is_string() || refusal["error"].is_string(), "{}", shown());
    }
}

impl Broker {
    fn start() -> Self {
        let home = directory();
        let runtime_directory = home.path().join("run");
        std::fs::create_dir(&runtime_directory).unwrap();
        let environment: Environment = [
            ("HOME", home.path().to_owned()),
            ("XDG_RUNTIME_DIR", runtime_directory),
            // A caller may send as fast as the fuzzer can.
            ("CLAUDE_PEERS_MESSAGES_PER_MINUTE", PathBuf::from("60000")),
        ]
        .into_iter()
        .collect();
        let config = Config::from_environment(&environment).unwrap();
        let (socket, database) = (config.paths.socket.clone(), config.database_path().to_owned());
        let mut options = broker::Options::new(config, Started::Foreground);
        options.port_disabled_by = Some("fuzzing".to_owned());
        let serve = async {
            // The program ignores this signal from its start; libFuzzer's does not.
            let _ignored = signal(SignalKind::pipe()).unwrap();
            broker::run(options).await.unwrap();
        };
        let run = move || runtime().block_on(serve);
        let thread = std::thread::Builder::new().name("broker".to_owned()).spawn(run).unwrap();
        let since = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            assert!(since.elapsed() < Duration::from_secs(20), "the broker does not start");
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut broker =
            Self { home, socket, database, thread, bob: String::new(), left: PER_BROKER };
        broker.register("ann", ANN);
        broker.bob = broker.register("bob", BOB);
        broker
    }

    /// Registers a session, and returns its peer id.
    fn register(&self, name: &str, secret: &str) -> String {
        let body = json!({
            "instance": name, "secret": secret, "session": name, "cwd": "/src", "name": name,
            "channel": "presumed", "client_name": "claude-code",
        })
        .to_string();
        let length = body.len();
        let request = format!(
            "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}",
            route::REGISTER
        );
        let answer = String::from_utf8(self.exchange(request.as_bytes())).unwrap();
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap();
        let registered: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
        registered["peer"]["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    fn exchange(&self, request: &[u8]) -> Vec<u8> {
        let Ok(mut stream) = UnixStream::connect(&self.socket) else { return Vec::new() };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        // A request that is refused early is not read to its end.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let mut room = [0; 16 * 1024];
        loop {
            match stream.read(&mut room) {
                Ok(0) | Err(_) => return answer,
                Ok(length) => answer.extend_from_slice(&room[..length]),
            }
            if is_complete(&answer) {
                return answer;
            }
        }
    }

    /// How many messages there are whose sender is the second session.
    fn messages_of_bob(&self) -> i64 {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let Ok(connection) = Connection::open_with_flags(&self.database, flags) else { return 0 };
        let count = "SELECT count(*) FROM messages WHERE sender = ?1";
        connection.query_row(count, [&self.bob], |row| row.get(0)).unwrap_or(0)
    }

    fn stop(self) {
        if !self.thread.is_finished() {
            let request = format!(
                "POST {} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}",
                route::SHUTDOWN
            );
            self.exchange(request.as_bytes());
        }
        self.thread.join().unwrap();
        drop(self.home);
    }
}

/// Whether an answer has all of the body that it announces.
fn is_complete(answer: &[u8]) -> bool {
    let Some(at) = answer.windows(4).position(|part| part == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..at]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| answer.len() >= at + 4 + length)
}
