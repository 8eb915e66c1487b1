//! Promise 6: standard input and output are pairs of sockets, as Claude Code gives them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use rustix::fs::{OFlags, fcntl_getfl};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Sandbox, initialize, send_signal, until};

struct Server {
    child: Child,
    input: UnixStream,
    output: UnixStream,
    /// The server's own ends, which other processes may share.
    its_ends: [UnixStream; 2],
}

fn start_server(sandbox: &Sandbox) -> Server {
    let (input, its_input) = UnixStream::pair().unwrap();
    let (output, its_output) = UnixStream::pair().unwrap();
    output.set_read_timeout(Some(PATIENCE)).unwrap();
    let its_ends = [its_input.try_clone().unwrap(), its_output.try_clone().unwrap()];
    let child = sandbox
        .command(["mcp"])
        .stdin(Stdio::from(OwnedFd::from(its_input)))
        .stdout(Stdio::from(OwnedFd::from(its_output)))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Server { child, input, output, its_ends }
}

#[test]
fn sockets_are_served_and_stay_as_they_were() {
    let sandbox = Sandbox::new();
    let mut server = start_server(&sandbox);
    writeln!(server.input, "{}", initialize()).unwrap();
    let mut line = String::new();
    BufReader::new(&server.output).read_line(&mut line).unwrap();
    let answer: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(answer["result"]["serverInfo"]["name"], "claude-peers");
    for end in &server.its_ends {
        assert!(!fcntl_getfl(end).unwrap().contains(OFlags::NONBLOCK));
    }
    // Another process may hold its end. What counts is that the client closes its own.
    drop(server.input);
    until("the server has ended", || server.child.try_wait().unwrap().is_some());
}

#[test]
fn a_client_that_reads_late_gets_every_answer_whole() {
    let sandbox = Sandbox::new();
    let mut server = start_server(&sandbox);
    writeln!(server.input, "{}", initialize()).unwrap();
    // Far more than the sockets hold: the server has to wait in the middle of a line.
    let wanted: u64 = 500;
    let mut input = server.input.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        for id in 1..=wanted {
            let request =
                json!({ "jsonrpc": "2.0", "id": id, "method": "tools/list", "params": {} });
            writeln!(input, "{request}").unwrap();
        }
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut found: Vec<u64> = Vec::new();
    let mut lines = BufReader::new(&server.output).lines();
    while found.len() <= usize::try_from(wanted).unwrap() {
        let answer: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        found.push(answer["id"].as_u64().unwrap());
    }
    found.sort_unstable();
    assert!(found.into_iter().eq(0..=wanted));
    writer.join().unwrap();
    server.child.kill().unwrap();
    server.child.wait().unwrap();
}

#[test]
fn a_server_whose_client_reads_nothing_ends_on_a_signal() {
    let sandbox = Sandbox::new();
    let mut server = start_server(&sandbox);
    writeln!(server.input, "{}", initialize()).unwrap();
    // Before it has started it could not handle the signal.
    let mut first = [0u8; 1];
    server.output.read_exact(&mut first).unwrap();
    server.input.set_nonblocking(true).unwrap();
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {} });
    let request = format!("{request}\n");
    // Until nothing more goes in: the server is blocked by its unread answers.
    let mut refusals = 0;
    while refusals < 20 {
        match server.input.write(request.as_bytes()) {
            Ok(_) => refusals = 0,
            Err(_) => {
                refusals += 1;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        if refusals == 0 && server.child.try_wait().unwrap().is_some() {
            panic!("the server ended by itself");
        }
    }
    send_signal(server.child.id(), rustix::process::Signal::TERM);
    until("the server has ended", || server.child.try_wait().unwrap().is_some());
    let status = server.child.wait().unwrap();
    assert!(status.success(), "{status:?}");
}
