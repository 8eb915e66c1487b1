//! Promise 4: beside the broker of the TypeScript claude-peers, which is named and left alone.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::json;

use crate::support::Sandbox;

/// Answers as that broker does, until the test ends.
fn typescript_broker(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let body = r#"{"status":"ok","peers":3}"#;
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
}

#[test]
fn kill_broker_beside_the_typescript_broker_names_it_and_leaves_it_alone() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.ok(["kill-broker"]).trim(), "No broker is running.");
    typescript_broker(sandbox.port());
    let said = sandbox.ok(["kill-broker"]);
    assert!(said.contains("TypeScript claude-peers"), "{said}");
    assert!(said.contains(&format!("port {}", sandbox.port())), "{said}");
    assert!(!said.contains("No broker is running."), "{said}");
    let json = sandbox.json(["kill-broker"]);
    assert_eq!((&json["stopped"], &json["was_running"]), (&json!(false), &json!(false)));
    assert_eq!(json["other"]["port"], sandbox.port());
    if cfg!(target_os = "linux") {
        let pid = std::process::id();
        assert!(said.contains(&format!("process {pid}")), "{said}");
        // A process that another test is just starting may hold the socket for a moment, too.
        assert!(json["other"]["pids"].as_array().unwrap().contains(&json!(pid)), "{json}");
    }
}
