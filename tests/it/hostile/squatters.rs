//! Promise 4: whoever listens in the broker's place is given no token, secret or message.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claude_peers::endpoint::typescript;
use serde_json::{Value, json};

use super::users::{as_other, may_act_as_others};
use crate::database::legacy::legacy;
use crate::support::hooks::hook;
use crate::support::{Sandbox, SessionOptions, until};

/// Holds a port, answers every request like a broker, and records what it hears.
struct Squatter {
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Squatter {
    fn new(listener: TcpListener) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let hears = Arc::clone(&hears);
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
                    let mut bytes = [0; 64 * 1024];
                    while let Ok(count @ 1..) = stream.read(&mut bytes) {
                        hears.lock().unwrap().extend_from_slice(&bytes[..count]);
                        let body = r#"{"status":"ok","protocol":7,"peers":[]}"#;
                        let answer = format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                            body.len()
                        );
                        let _ = stream.write_all(answer.as_bytes());
                    }
                });
            }
        });
        Self { heard }
    }

    /// Takes the port as another user, or as ours.
    fn at(address: &'static str, port: u16, other: bool) -> Option<Self> {
        let bind = move || TcpListener::bind((address, port));
        let listener = if other { as_other(bind) } else { bind() };
        listener.ok().map(Self::new)
    }

    #[track_caller]
    fn heard_no_secret(&self, sandbox: &Sandbox, what: &str) {
        let heard = String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned();
        let token = sandbox.config().paths.token;
        let token = std::fs::read_to_string(token).unwrap_or_default();
        assert!(token.trim().is_empty() || !heard.contains(token.trim()), "{what}: {heard}");
        for secret in ["between us", "Bearer", "claude-peers-session"] {
            assert!(!heard.to_lowercase().contains(&secret.to_lowercase()), "{what}: {heard}");
        }
    }
}

/// Does all that a person's shell and sessions do.
fn talk(sandbox: &Sandbox) {
    for words in [
        &["send", "somebody", "between us"][..],
        &["peers"],
        &["status"],
        &["inbox"],
        &["log"],
        &["token"],
        &["doctor", "--no-claude"],
    ] {
        sandbox.run(words);
    }
    for event in ["SessionStart", "UserPromptSubmit", "Stop"] {
        let input = json!({ "session_id": "session-a", "hook_event_name": event, "cwd": "/" });
        hook(sandbox, event, &input);
    }
    let mut session = SessionOptions::new("a").at_once().start(sandbox);
    session.try_call("list_peers", json!({}));
    session.try_call("send_message", json!({ "to_id": "somebody", "message": "between us" }));
}

#[test]
fn a_squatter_on_the_port_is_given_nothing_and_named() {
    let users: &[bool] = if may_act_as_others() { &[false, true] } else { &[false] };
    for other in users {
        let sandbox = Sandbox::new();
        let squatter = Squatter::at("127.0.0.1", sandbox.port(), *other).unwrap();
        talk(&sandbox);
        squatter.heard_no_secret(&sandbox, "before the broker");
        let (_, error) = sandbox.fails(["token"]);
        assert!(error.contains("does not listen on 127.0.0.1"), "{error}");
        // Sessions need no port.
        sandbox.ok(["peers"]);
        sandbox.ok(["kill-broker"]);
        talk(&sandbox);
        squatter.heard_no_secret(&sandbox, "after the broker");
    }
}

/// `localhost` may lead to the other address, whose port anybody may take beside the broker's.
#[test]
fn a_squatter_on_the_other_localhost_is_given_nothing_and_named_by_status_and_doctor() {
    let users: &[bool] = if may_act_as_others() { &[false, true] } else { &[false] };
    for (address, other) in
        ["::1", "::"].into_iter().flat_map(|at| users.iter().map(move |other| (at, *other)))
    {
        let sandbox = Sandbox::new();
        // The broker's own address is taken first, so that the squatter has only what is left.
        sandbox.ok(["peers"]);
        let status = sandbox.json(["status"]);
        assert_eq!(status["other_localhost"], Value::Null, "{status}");
        let Some(squatter) = Squatter::at(address, sandbox.port(), other) else {
            // `::` takes the broker's address as well, where it is not for IPv6 alone.
            println!("skipped: {address} cannot be taken here");
            continue;
        };
        talk(&sandbox);
        squatter.heard_no_secret(&sandbox, address);
        let named = format!("[::1]:{} is held by", sandbox.port());
        let status = sandbox.json(["status"]);
        let said = status["other_localhost"].as_str().unwrap_or_default();
        assert!(said.contains(&named), "{address}: {status}");
        let said = sandbox.ok(["status"]);
        assert!(said.contains(&named) && said.contains("call 127.0.0.1"), "{said}");
        let doctor = sandbox.run(["doctor", "--no-claude"]);
        let said = String::from_utf8(doctor.stdout).unwrap();
        assert!(said.contains(&named) && said.contains("WARNING"), "{said}");
        if !other {
            assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
        }
    }
}

/// What holds the port answers one byte after the other, and never ends.
fn dripping(port: u16) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let open = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&open);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, counts) = (stream.unwrap(), Arc::clone(&counts));
            counts.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                let mut bytes = b"HTTP/1.1 200 OK\r\n".iter().chain(std::iter::repeat(&b'x'));
                while stream.write_all(&[*bytes.next().unwrap()]).is_ok() {
                    std::thread::sleep(Duration::from_millis(100));
                }
                counts.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    open
}

#[test]
fn a_squatter_that_answers_byte_by_byte_holds_nobody() {
    let sandbox = Sandbox::new();
    let open = dripping(sandbox.port());
    let port = sandbox.port();
    // On a thread, so that the test ends whatever it does.
    let asked = std::thread::spawn(move || typescript::answers(port));
    until("it is no longer listened to", || asked.is_finished());
    assert!(!asked.join().unwrap());
    until("the connection is closed", || open.load(Ordering::SeqCst) == 0);
}

/// A legacy database is taken over only where no legacy broker answers on its port.
#[test]
fn a_squatter_that_answers_byte_by_byte_holds_no_takeover_of_a_database() {
    let sandbox = Sandbox::new();
    drop(legacy(&sandbox.database()));
    let _open = dripping(sandbox.port());
    let mut first =
        sandbox.command(["peers"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the database is taken over", || first.try_wait().unwrap().is_some());
    until("the broker serves", || sandbox.status_is("running"));
    let log = sandbox.json(["log"]).to_string();
    assert!(log.contains("not yet seen"), "{log}");
}
