//! Promises 2 and 3: questions on the command line, whose calls share one mailbox.

use std::process::{Child, Output, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::http::RawPeer;
use crate::support::questions::{cli_ask, reply, reply_to_the_next_broker, stored};
use crate::support::{Sandbox, send_signal, until};

#[track_caller]
fn ended(child: Child, code: i32) -> (String, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let (out, error) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert_eq!(status.code(), Some(code), "{out}{error}");
    (out, error)
}

#[test]
fn the_command_line_prints_the_answer_alone_and_no_inbox_has_it() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let peer = RawPeer::register(&sandbox, "peer");
    let (first, question_1) = cli_ask(&sandbox, "peer", "one?", &[]);
    let (second, question_2) = cli_ask(&sandbox, "peer", "two?", &["--json"]);
    reply(&sandbox, &peer, "cli", "whose?", None);
    let inbox = sandbox.ok(["inbox"]);
    assert!(inbox.contains("whose?"), "two wait, and it names neither: {inbox}");
    let answer_2 = reply(&sandbox, &peer, "cli", "2\u{202e}\u{1b}[2J", Some(&question_2));
    let (json, _) = ended(second, 0);
    assert!(!json.contains('\u{1b}') && !json.contains('\u{202e}'), "{json}");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["id"], question_2.as_str());
    assert_eq!(json["state"], "read");
    assert_eq!(json["answer"]["id"], answer_2.as_str());
    assert_eq!(json["answer"]["text"], "2\u{202e}\u{1b}[2J");
    // The remaining waiter is the only one, so it gets a reply without `reply_to`.
    let answer_1 = reply(&sandbox, &peer, "cli", "1\nand more\u{1b}[2J", None);
    let (out, error) = ended(first, 0);
    assert!(out.starts_with("1\nand more") && !out.contains('\u{1b}'), "{out}");
    assert!(error.starts_with(&format!("{question_1} queued to peer")), "{error}");
    assert_eq!(sandbox.ok(["inbox"]), "No messages.\n");
    for id in [&answer_1, &answer_2] {
        assert_eq!(sandbox.message(id)["state"], "read");
        assert_eq!(sandbox.message(id)["read_via"], "cli");
    }
}

#[test]
fn a_command_line_that_timed_out_says_so_and_the_answer_goes_to_the_inbox() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let peer = RawPeer::register(&sandbox, "peer");
    let (code, error) = sandbox.fails(["send", "--wait", "1", "peer", "anybody?"]);
    assert_eq!(code, 124, "{error}");
    assert!(
        error.contains("no answer came within 1 s") && error.contains("its status: queued"),
        "{error}"
    );
    let question = stored(&sandbox, "anybody?");
    assert!(error.contains(&question) && error.contains("claude-peers inbox"), "{error}");
    let output = sandbox.run(["send", "--wait", "1", "--json", "peer", "again?"]);
    assert_eq!(output.status.code(), Some(124));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["answer"], &json["state"]), (&Value::Null, &json!("queued")));
    reply(&sandbox, &peer, "cli", "late", Some(&question));
    assert!(sandbox.ok(["inbox"]).contains("late"));

    // An interrupt ends the wait, not the message.
    let (child, question) = cli_ask(&sandbox, "peer", "slow?", &[]);
    std::thread::sleep(Duration::from_millis(300));
    send_signal(child.id(), Signal::INT);
    let (out, error) = ended(child, 130);
    assert!(out.is_empty() && error.contains("interrupted") && error.contains(&question));
    reply(&sandbox, &peer, "cli", "later", Some(&question));
    assert!(sandbox.ok(["inbox"]).contains("later"));
    // A kill does the same.
    let (mut child, question) = cli_ask(&sandbox, "peer", "doomed?", &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    reply(&sandbox, &peer, "cli", "to the inbox", Some(&question));
    until("it is in the inbox", || sandbox.ok(["inbox"]).contains("to the inbox"));
}

#[test]
fn the_command_line_waits_on_when_its_broker_dies() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let peer = RawPeer::register(&sandbox, "peer");
    let (child, question) = cli_ask(&sandbox, "peer", "still there?", &[]);
    sandbox.kill9_broker().expect("a broker runs");
    reply_to_the_next_broker(&sandbox, &peer, "cli", "yes", &question);
    assert_eq!(ended(child, 0).0, "yes\n");
    assert_eq!(sandbox.ok(["inbox"]), "No messages.\n");
}

/// A waiter keeps a broker running that is idle otherwise.
#[test]
fn an_idle_broker_stays_while_a_call_waits() {
    let sandbox = Sandbox::new().with("CLAUDE_PEERS_IDLE_EXIT_SECONDS", "1");
    sandbox.ok(["peers"]);
    let peer = RawPeer::register(&sandbox, "peer");
    let (child, question) = cli_ask(&sandbox, "peer", "patience", &[]);
    let broker = sandbox.broker().unwrap().pid;
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(sandbox.broker().map(|broker| broker.pid), Some(broker));
    reply(&sandbox, &peer, "cli", "rewarded", Some(&question));
    assert_eq!(ended(child, 0).0, "rewarded\n");
    until("it leaves", || sandbox.broker().is_none());
}

#[test]
fn the_inbox_waits_for_the_next_message_and_one_reader_has_it() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let peer = RawPeer::register(&sandbox, "peer");
    let (code, error) = sandbox.fails(["inbox", "--wait", "1"]);
    assert_eq!((code, error.as_str()), (124, "error: no message came within 1 s\n"));
    let wait = || {
        let mut command = sandbox.command(["inbox", "--wait", "3", "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [wait(), wait()];
    std::thread::sleep(Duration::from_millis(500));
    let id = reply(&sandbox, &peer, "cli", "news", None);
    let mut outputs = both.map(|child| child.wait_with_output().unwrap());
    outputs.sort_by_key(|output| output.status.code());
    let [had, had_not] = outputs;
    assert_eq!((had.status.code(), had_not.status.code()), (Some(0), Some(124)));
    let json: Value = serde_json::from_slice(&had.stdout).unwrap();
    assert_eq!(json["messages"][0]["id"], id.as_str());
    let json: Value = serde_json::from_slice(&had_not.stdout).unwrap();
    assert_eq!(json["messages"], json!([]));
    assert_eq!(sandbox.message(&id)["read_via"], "cli");
}
