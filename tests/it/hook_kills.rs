//! Promises 1 and 2: SIGKILL at each step between a hook's offer and the evidence.
//!
//! Nothing is lost. A message that may have been shown is shown at most once more, under the same
//! id and marked.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read as _, Write as _};
use std::process::{Child, Stdio};

use rustix::fs::{OFlags, fcntl_setfl};
use serde_json::json;

use crate::support::hooks::{context, one_sent};
use crate::support::{Sandbox, Session, SessionOptions, until};

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A pipe that takes nothing more until it is read.
fn full_pipe() -> (PipeReader, PipeWriter, usize) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    let mut filled = 0;
    loop {
        match writer.write(&[b' '; 512]) {
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    fcntl_setfl(&writer, OFlags::empty()).unwrap();
    (reader, writer, filled)
}

/// Starts a prompt's hook that was offered the message and cannot write it, because nothing reads.
fn stuck(sandbox: &Sandbox, id: &str) -> (Child, PipeReader, usize) {
    let (reader, writer, filled) = full_pipe();
    let mut hook = sandbox.command(["hook", "UserPromptSubmit"]);
    let mut child = hook.stdin(Stdio::piped()).stdout(writer).spawn().unwrap();
    let input = json!({ "session_id": "session-frontend", "prompt_id": "t1" });
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    until("it is offered", || sandbox.message(id)["state"] == "offered");
    (child, reader, filled)
}

/// What the frontend is shown with a prompt that begins this turn.
#[track_caller]
fn prompt(sandbox: &Sandbox, turn: &str) -> String {
    context(sandbox, "UserPromptSubmit", "frontend", turn, json!({}))
}

/// Checks that the next turn shows the message again, marked, and that it is then read.
#[track_caller]
fn is_shown_once_more(sandbox: &Sandbox, id: &str) {
    let again = prompt(sandbox, "next");
    assert!(again.contains(&format!("message_id {id}")) && again.contains("a repeat"), "{again}");
    is_settled(sandbox, id, "next");
}

/// Checks that the message is read when the turn goes on, and is not shown again.
#[track_caller]
fn is_settled(sandbox: &Sandbox, id: &str, turn: &str) {
    assert_eq!(context(sandbox, "Stop", "frontend", turn, json!({})), "");
    sandbox.assert_state(id, "read", "hook");
    assert_eq!(prompt(sandbox, "last"), "");
}

#[test]
fn a_hook_killed_before_it_asks_has_offered_nothing() {
    let (sandbox, _backend, _frontend, id) = one_sent();
    let mut child =
        sandbox.command(["hook", "UserPromptSubmit"]).stdin(Stdio::piped()).spawn().unwrap();
    let input = child.stdin.take();
    kill(child);
    drop(input);
    assert_eq!(sandbox.message(&id)["state"], "queued");
    let shown = prompt(&sandbox, "t1");
    assert!(shown.contains("| one") && !shown.contains("a repeat"), "{shown}");
    is_settled(&sandbox, &id, "t1");
}

/// The turn goes on, but its output was never written.
#[test]
fn a_hook_killed_before_its_output_is_out_has_shown_nothing() {
    let (sandbox, _backend, _frontend, id) = one_sent();
    let (child, _reader, _) = stuck(&sandbox, &id);
    kill(child);
    for event in ["PostToolUse", "Stop"] {
        context(&sandbox, event, "frontend", "t1", json!({}));
        sandbox.assert_state(&id, "offered", "hook");
    }
    is_shown_once_more(&sandbox, &id);
}

/// The receipt of the output is lost, so the message is shown once more.
#[test]
fn a_broker_killed_while_a_hook_writes_comes_back_and_offers_it_again() {
    let (sandbox, _backend, mut frontend, id) = one_sent();
    let (mut child, mut reader, filled) = stuck(&sandbox, &id);
    sandbox.kill9_broker().unwrap();
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert!(said[filled..].contains("| one"), "{}", &said[filled..]);
    assert!(child.wait().unwrap().success());
    until("the session is back", || frontend.me()["live"] == true);
    assert_eq!(context(&sandbox, "Stop", "frontend", "t1", json!({})), "");
    sandbox.assert_state(&id, "offered", "hook");
    is_shown_once_more(&sandbox, &id);
}

#[test]
fn a_broker_killed_after_a_hook_ran_knows_what_it_showed() {
    let (sandbox, _backend, mut frontend, id) = one_sent();
    assert!(prompt(&sandbox, "t1").contains("| one"));
    sandbox.kill9_broker().unwrap();
    // This hook cannot report, because no broker runs. The next hook event reports as well.
    assert_eq!(context(&sandbox, "PostToolUse", "frontend", "t1", json!({})), "");
    until("the session is back", || frontend.me()["live"] == true);
    sandbox.assert_state(&id, "offered", "hook");
    is_settled(&sandbox, &id, "t1");
}

#[test]
fn a_server_killed_after_a_hook_ran_changes_nothing() {
    let (sandbox, _backend, frontend, id) = one_sent();
    assert!(prompt(&sandbox, "t1").contains("| one"));
    frontend.kill9();
    let mut next = SessionOptions::new("frontend").without_channel().start(&sandbox);
    is_settled(&sandbox, &id, "t1");
    has_nothing(&mut next);
}

/// The turn ended with its client. The resumed session is shown the message again.
#[test]
fn a_client_killed_after_a_hook_ran_is_shown_it_again_when_it_is_resumed() {
    let (sandbox, _backend, frontend, id) = one_sent();
    assert!(prompt(&sandbox, "t1").contains("| one"));
    frontend.kill9();
    let mut next = SessionOptions::new("frontend").without_channel().start(&sandbox);
    is_shown_once_more(&sandbox, &id);
    has_nothing(&mut next);
}

#[track_caller]
fn has_nothing(session: &mut Session) {
    let mail = session.call("check_messages", json!({}));
    assert_eq!(mail["structuredContent"]["messages"], json!([]), "{mail}");
}
