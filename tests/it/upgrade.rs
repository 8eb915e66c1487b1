//! Promise 8: old and new versions side by side; a newer client replaces a fallback broker.

use std::process::{Child, Stdio};

use claude_peers::broker::{self, Options};
use claude_peers::config::{Config, Environment};
use claude_peers::protocol::health::Started;
use serde_json::json;

use crate::support::http::Request;
use crate::support::{Sandbox, Session, SessionOptions, copy_program, until};

/// Set for the process that is to be the older broker.
const ROLE: &str = "CLAUDE_PEERS_TEST_OLDER_BROKER";

/// Not a test: the older broker, run by the tests below as a process of its own, because it is to
/// be ended by a signal.
#[test]
#[ignore = "the other tests run it, as a process of its own"]
fn the_older_broker() {
    let started = match std::env::var(ROLE).as_deref() {
        Ok("fallback") => Started::Fallback,
        Ok(_) => Started::Foreground,
        Err(_) => return,
    };
    let options = Options {
        protocol: 0,
        ..Options::new(Config::load(&Environment::of_this_process()).unwrap(), started)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(broker::run(options)).unwrap();
}

/// Starts an older broker and waits until it serves.
pub fn older_broker(sandbox: &Sandbox, role: &str) -> Child {
    let itself = std::env::current_exe().unwrap();
    let child = sandbox
        .command_of(itself, ["--exact", "upgrade::the_older_broker", "--ignored"])
        .env(ROLE, role)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("the older broker serves", || {
        sandbox.broker().is_some_and(|broker| broker.pid == child.id())
            && claude_peers::sys::listening::is_listening(&sandbox.socket())
    });
    child
}

fn sent_by_an_older_client(sandbox: &Sandbox, to: &str, text: &str) {
    let body = json!({ "to": to, "text": text });
    let request = Request::post("/v1/messages", &body).with("claude-peers-protocol", "0");
    let answer = request.unix(sandbox);
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[test]
fn a_newer_client_replaces_an_older_fallback_broker_and_nothing_is_lost() {
    let sandbox = Sandbox::new();
    let mut receiver = sandbox.session("receiver");
    let id = receiver.id();
    receiver.close_input();
    receiver.wait_end();
    sandbox.ok(["kill-broker"]);

    let mut older = older_broker(&sandbox, "fallback");
    sent_by_an_older_client(&sandbox, &id, "one");
    sent_by_an_older_client(&sandbox, &id, "two");
    let mut receiver = sandbox.session("receiver");
    assert!(older.wait().unwrap().success(), "it was asked to stop and did");
    let holder = sandbox.broker().unwrap();
    assert_eq!(
        (holder.protocol, holder.started),
        (claude_peers::protocol::PROTOCOL, Started::Fallback)
    );
    assert_eq!(receiver.push()["content"], "one");
    assert_eq!(receiver.push()["content"], "two");
    assert_eq!(receiver.id(), id);
}

#[test]
fn many_newer_clients_replace_an_older_fallback_broker_once() {
    let sandbox = Sandbox::new();
    let mut older = older_broker(&sandbox, "fallback");
    std::thread::scope(|scope| {
        for n in 0..12 {
            let sandbox = &sandbox;
            scope.spawn(move || match n % 2 {
                0 => drop(sandbox.ok(["peers"])),
                _ => {
                    let mut session =
                        SessionOptions::new(&format!("s{n}")).at_once().start(sandbox);
                    session.call("list_peers", json!({}));
                }
            });
        }
    });
    older.wait().unwrap();
    let log = std::fs::read_to_string(sandbox.config().paths.log).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains(" serves ")).count(), 1, "{log}");
}

#[test]
fn an_older_broker_that_a_person_started_is_left_alone_and_the_client_says_what_to_do() {
    let sandbox = Sandbox::new();
    let mut older = older_broker(&sandbox, "foreground");
    let (code, error) = sandbox.fails(["peers"]);
    assert_eq!(code, 1);
    assert!(error.contains("older than this client") && error.contains("by hand"), "{error}");
    assert!(error.contains("hint: "), "{error}");
    let mut session = SessionOptions::new("session").at_once().start(&sandbox);
    let refused = session.try_call("list_peers", json!({}));
    assert_eq!(refused["isError"], true);
    let words = refused["content"][0]["text"].as_str().unwrap();
    assert!(words.contains("older than this client") && words.contains("Stop it"), "{words}");
    assert!(older.try_wait().unwrap().is_none(), "it still runs");
    assert_eq!(sandbox.broker().unwrap().pid, older.id());
    sandbox.ok(["kill-broker"]);
    older.wait().unwrap();
    until("the session is served", || session.try_call("list_peers", json!({}))["isError"] != true);
}

#[test]
fn a_server_whose_program_was_upgraded_can_still_start_a_broker() {
    let sandbox = Sandbox::new();
    let program = sandbox.path().join("claude-peers");
    copy_program(&program);
    let mut command = sandbox.command_of(&program, ["mcp"]);
    command
        .env("CLAUDE_CODE_SESSION_ID", "upgraded")
        .env("CLAUDE_CODE_ENTRYPOINT", "cli")
        .env("CLAUDE_PEERS_CHANNEL", "on");
    let mut session = Session::spawn(command);
    session.handshake("claude-code");
    let id = session.id();
    let first = sandbox.broker().unwrap().pid;
    // As a package manager does it: a new file under the old name.
    let new = sandbox.path().join("new");
    copy_program(&new);
    std::fs::rename(&new, &program).unwrap();
    sandbox.ok(["kill-broker"]);
    until("the session is live again", || session.me()["live"] == true);
    assert_eq!(session.id(), id);
    assert_ne!(sandbox.broker().unwrap().pid, first);
}
