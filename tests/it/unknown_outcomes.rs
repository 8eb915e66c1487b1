//! Promise 3: a send whose answer did not come is told as not known, however its call ended.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Frozen, Sandbox, rounds, until};

/// What the stand-in does with one request, after it has read it whole.
#[derive(Clone, Copy)]
enum Reply {
    /// It closes the connection.
    Nothing,
    Refusal(u16, &'static str),
    /// It answers with this body.
    Text(&'static str),
}

/// Stands in for a broker at the sandbox's socket: one reply for each request. Then the socket is gone.
/// Returns the idempotency keys of the requests.
fn broker(sandbox: &Sandbox, replies: Vec<Reply>) -> JoinHandle<Vec<String>> {
    let socket = sandbox.socket();
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        let mut keys = Vec::new();
        for (at, reply) in replies.iter().enumerate() {
            let mut stream = loop {
                let (mut stream, _) = listener.accept().unwrap();
                // A client looks whether somebody listens before it starts a broker.
                if let Some(key) = read_request(&mut stream) {
                    keys.push(key);
                    break stream;
                }
            };
            if at + 1 == replies.len() {
                std::fs::remove_file(&socket).unwrap();
            }
            let (status, body) = match reply {
                Reply::Nothing => continue,
                Reply::Refusal(status, code) => {
                    (*status, json!({ "code": code, "message": "refused" }).to_string())
                }
                Reply::Text(text) => (200, (*text).to_owned()),
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n");
            let _ =
                write!(stream, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
        }
        keys
    })
}

/// Reads a request whole, and returns its idempotency key; `None` if there is no request.
fn read_request(stream: &mut UnixStream) -> Option<String> {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap() == 0 {
            return None;
        }
        read.push(byte[0]);
    }
    let head = String::from_utf8(read).unwrap().to_ascii_lowercase();
    let header = |name: &str| Some(head.split(name).nth(1)?.lines().next()?.to_owned());
    let mut body = vec![0; header("content-length: ").unwrap().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    header("idempotency-key: ").or_else(|| Some(String::new()))
}

/// A sandbox in which no real broker can be started.
fn without_broker() -> Sandbox {
    let sandbox = Sandbox::new();
    let database = sandbox.path().join("a-directory.db");
    std::fs::create_dir(&database).unwrap();
    sandbox.with("CLAUDE_PEERS_DB", database.display().to_string())
}

/// What `send` says: its exit code, its standard output, and its standard error.
fn send(replies: &[Reply], arguments: &[&str]) -> (i32, String, String) {
    let sandbox = without_broker();
    let stand_in = broker(&sandbox, replies.to_vec());
    let output = sandbox.run([&["send"], arguments].concat());
    stand_in.join().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_send_that_was_read_and_not_answered_is_not_told_as_failed() {
    for after in [
        // Nobody listens any more, and no broker can be started.
        vec![Reply::Nothing],
        vec![Reply::Nothing, Reply::Refusal(401, "unauthorized")],
        vec![Reply::Nothing, Reply::Refusal(409, "settings_differ")],
        vec![Reply::Nothing, Reply::Refusal(400, "bad_request")],
        vec![Reply::Nothing, Reply::Refusal(500, "storage")],
        vec![Reply::Text("half a word")],
        vec![Reply::Text("{}")],
    ] {
        for arguments in [&["bob", "hello"][..], &["--scope", "machine", "hello"]] {
            let (code, said, error) = send(&after, arguments);
            assert_eq!((code, said.as_str()), (4, ""), "{error}");
            assert!(error.starts_with("error: it is not known whether this was sent: "), "{error}");
            assert!(error.contains("claude-peers log") && !error.contains("othing was"), "{error}");
        }
    }
    let (code, said, _) = send(&[Reply::Nothing], &["--json", "bob", "hello"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, said), (4, json!({ "state": "unknown" })));
}

#[test]
fn a_request_is_repeated_with_its_first_key() {
    for arguments in [&["send", "bob", "hello"][..], &["send", "--scope", "machine", "hello"]] {
        let sandbox = without_broker();
        let replies = vec![Reply::Nothing, Reply::Nothing, Reply::Refusal(404, "not_found")];
        let stand_in = broker(&sandbox, replies);
        sandbox.fails(arguments);
        let keys = stand_in.join().unwrap();
        assert!(!keys[0].is_empty() && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    }
}

#[test]
fn what_is_known_is_told_as_such() {
    // A broker refuses these only after it has looked for the key of what it stored.
    for code in ["not_found", "ambiguous", "rate_limited", "mailbox_full"] {
        let replies = [Reply::Nothing, Reply::Refusal(400, code)];
        let (code, _, error) = send(&replies, &["bob", "hello"]);
        assert_eq!((code, error.lines().next().unwrap()), (1, "error: refused"));
    }
    // No request was read.
    let sandbox = without_broker();
    let output = sandbox.run(["send", "bob", "hello"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(!error.contains("not known"), "{error}");
}

#[test]
fn a_server_that_is_told_to_go_says_of_a_message_under_way_that_it_is_not_known() {
    for close in [true, false] {
        let sandbox = Sandbox::unlimited();
        let mut reader = sandbox.session("reader");
        let mut writer = sandbox.session("writer");
        writer.send("reader", "before");
        let broker = Frozen::new(sandbox.broker().unwrap().pid);
        let first = writer.start_send("reader", "under way");
        let second = writer.start_send("reader", "in the queue");
        // The lines before it were read.
        writer.request("ping", json!({}));
        if close {
            writer.close_input();
        } else {
            writer.signal(Signal::TERM);
        }
        let answers = writer.answers_to(&[first, second]);
        let text = |at: usize| answers[at]["result"]["content"][0]["text"].as_str().unwrap();
        assert!(text(0).contains("not known whether it was stored"), "{answers:?}");
        assert!(text(0).contains("claude-peers log"), "{answers:?}");
        assert!(text(1).contains("Nothing was sent"), "{answers:?}");
        drop(broker);
        writer.wait_end();
        // It mostly is stored. On a busy machine its request may not have left the server, so "not known"
        // is the truth.
        let mut stored: Vec<String> = Vec::new();
        let since = Instant::now();
        while !stored.contains(&"under way".to_owned()) && since.elapsed() < Duration::from_secs(5)
        {
            let shown = reader.call("check_messages", json!({}))["structuredContent"].clone();
            for message in shown["messages"].as_array().unwrap() {
                stored.push(message["text"].as_str().unwrap().to_owned());
            }
        }
        assert!(!stored.contains(&"in the queue".to_owned()), "{stored:?}");
    }
}

#[test]
fn a_call_that_waits_for_its_answer_says_when_it_is_cancelled_that_the_message_was_sent() {
    let sandbox = Sandbox::unlimited();
    let mut writer = sandbox.session("writer");
    let _reader = sandbox.session("reader");
    let arguments = json!({ "to_id": "reader", "message": "question", "wait_seconds": 30 });
    let call = json!({ "name": "send_message", "arguments": arguments });
    let request = writer.start_request("tools/call", call);
    until("the message was sent", || sandbox.ok(["log"]).contains("question"));
    // Its answer is with the server as well.
    std::thread::sleep(Duration::from_millis(200));
    writer.signal(Signal::TERM);
    let result = writer.answer_to(&json!(request))["result"].clone();
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("It was sent") && text.contains("Do not send it again"), "{result}");
    assert!(result["structuredContent"]["id"].is_string(), "{result}");
}

#[test]
fn a_runtime_directory_that_is_removed_at_any_instant_is_made_again() {
    for _ in 0..rounds(12) {
        let sandbox = Sandbox::new();
        let directory = sandbox.socket().parent().unwrap().to_owned();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let remover = std::thread::spawn(move || {
            for _ in 0..8 {
                while !directory.exists() && !stopped.load(Ordering::SeqCst) {
                    std::hint::spin_loop();
                }
                let _ = std::fs::remove_dir_all(&directory);
            }
        });
        let output = sandbox.run(["send", "cli", "hello"]);
        stop.store(true, Ordering::SeqCst);
        remover.join().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        // Whatever becomes of the message to nobody: the directory is no reason.
        assert!(!error.contains("No such file"), "{error}");
    }
}
