//! Promise 8: a client process that shows one session after the other is the peer of each in turn.
//!
//! Its hooks tell which session it shows (`/resume`, `/clear`, `--continue`).

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::hooks::{context, hook_of};
use crate::support::{PATIENCE, Sandbox, Session, SessionOptions, client_process, until, within};

/// Runs a hook of a client process that shows `session`. Returns its output.
#[track_caller]
fn said(sandbox: &Sandbox, client: &Session, event: &str, session: &str, more: Value) -> String {
    hook_of(sandbox, client.pid(), session, event, more)
}

fn starts(sandbox: &Sandbox, client: &Session, session: &str, source: &str) {
    assert_eq!(said(sandbox, client, "SessionStart", session, json!({ "source": source })), "");
}

/// Leaves a session "one" that has ended, and a client process that shows another, "two". Returns
/// the identities of both peers.
fn ended_and_open(sandbox: &Sandbox) -> ((String, String), (String, String), Session) {
    let mut first = client_process(sandbox, "work", "one");
    starts(sandbox, &first, "one", "startup");
    // An explicit name is kept for its peer.
    first.call("set_summary", json!({ "summary": "the first", "name": "first" }));
    let one = first.identity();
    first.close_input();
    first.wait_end();
    until("it is away", || sandbox.live_ids().is_empty());
    let mut second = client_process(sandbox, "work", "two");
    starts(sandbox, &second, "two", "startup");
    let two = second.identity();
    assert_ne!(one, two);
    // Pushes begin one second after the session.
    std::thread::sleep(Duration::from_millis(1_000));
    (one, two, second)
}

fn state(sandbox: &Sandbox, sent: &str) -> String {
    let id = sent.split(' ').next().unwrap();
    sandbox.message(id)["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_session_that_is_resumed_in_a_client_process_is_that_peer_with_its_mail_and_back_again() {
    let sandbox = Sandbox::new();
    let (one, two, mut client) = ended_and_open(&sandbox);
    sandbox.ok(["send", &one.0, "for one"]);
    said(&sandbox, &client, "SessionEnd", "two", json!({ "reason": "resume" }));
    starts(&sandbox, &client, "one", "resume");
    // Pushes, tools and listings are those of the resumed session.
    assert_eq!(client.push()["content"], "for one");
    assert_eq!(client.identity(), one);
    assert_eq!(client.me()["summary"], "the first");
    assert_eq!(sandbox.live_ids(), [one.0.as_str()]);
    // The other session counts as ended: its mail waits, and is not shown here.
    let waits = sandbox.ok(["send", &two.0, "for two"]);
    assert!(waits.contains("away since"), "{waits}");
    sandbox.ok(["send", &one.1, "more for one"]);
    assert_eq!(client.push()["content"], "more for one");
    let shown = client.text("check_messages", json!({}));
    assert!(shown.contains("| more for one") && !shown.contains("for two"), "{shown}");
    assert_eq!(said(&sandbox, &client, "UserPromptSubmit", "one", json!({})), "");
    assert_eq!(state(&sandbox, &waits), "queued");
    // A late hook event of the session that the client process has left changes nothing.
    said(&sandbox, &client, "SessionEnd", "two", json!({ "reason": "resume" }));
    assert_eq!(client.identity(), one);

    starts(&sandbox, &client, "two", "resume");
    assert_eq!(client.push()["content"], "for two");
    assert_eq!(client.identity(), two);
    assert_eq!(sandbox.live_ids(), [two.0.as_str()]);
}

#[test]
fn after_clear_a_resumed_session_is_still_the_peer_of_its_client_process() {
    let sandbox = Sandbox::new();
    let (one, two, mut client) = ended_and_open(&sandbox);
    starts(&sandbox, &client, "one", "resume");
    starts(&sandbox, &client, "three", "clear");
    assert_eq!(client.identity(), one);
    // The client process goes back to the other session, and then to the id that the cleared one
    // had before.
    starts(&sandbox, &client, "two", "resume");
    assert_eq!(client.identity(), two);
    starts(&sandbox, &client, "three", "resume");
    assert_eq!(client.identity(), one);
}

#[test]
fn an_unknown_session_that_is_resumed_is_a_new_peer() {
    let sandbox = Sandbox::new();
    let (one, two, mut client) = ended_and_open(&sandbox);
    sandbox.ok(["send", &two.0, "unread for two"]);
    assert_eq!(client.push()["content"], "unread for two");
    starts(&sandbox, &client, "unheard-of", "resume");
    let new = client.identity();
    assert!(new.0 != one.0 && new.0 != two.0, "{new:?}");
    assert_eq!(sandbox.live_ids(), [new.0.as_str()]);
    let shown = client.text("check_messages", json!({}));
    assert!(shown.starts_with("No messages wait for you."), "{shown}");
    starts(&sandbox, &client, "two", "resume");
    let shown = client.text("check_messages", json!({}));
    assert!(shown.contains("| unread for two"), "{shown}");
}

#[test]
fn a_subagent_and_a_waiting_hook_of_the_former_session_change_nothing() {
    let sandbox = Sandbox::new();
    let (one, two, mut client) = ended_and_open(&sandbox);
    let agent = json!({ "agent_id": "a1", "agent_type": "x" });
    said(&sandbox, &client, "PostToolUse", "one", agent);
    assert_eq!(client.identity(), two);
    starts(&sandbox, &client, "one", "resume");
    // A hook of the turn before calls a new broker, say, and is sent away.
    let mut command = sandbox.command(["hook", "Stop", "--wait"]);
    command.env("CLAUDE_PID", client.pid().to_string()).stdin(Stdio::piped());
    let mut waits = command.spawn().unwrap();
    let _ = waits.stdin.take().unwrap().write_all(br#"{ "session_id": "two" }"#);
    let ended = within(PATIENCE, || waits.try_wait().unwrap().is_some());
    let _ = waits.kill();
    assert!(ended && waits.wait().unwrap().success());
    assert_eq!(client.identity(), one);
}

#[test]
fn a_client_process_that_resumes_while_the_broker_restarts_is_the_resumed_peer() {
    let sandbox = Sandbox::new();
    let (one, two, mut client) = ended_and_open(&sandbox);
    // The hook finds no broker, and appends its event to the hook spool.
    sandbox.ok(["kill-broker"]);
    starts(&sandbox, &client, "one", "resume");
    sandbox.ok(["send", &one.0, "for one"]);
    let shown = said(&sandbox, &client, "UserPromptSubmit", "one", json!({}));
    client.until_live();
    assert_eq!(client.identity(), one, "{shown}");
    // Whatever restarts from here on, it remains that peer.
    sandbox.kill9_broker();
    client.until_live();
    assert_eq!(client.identity(), one);
    starts(&sandbox, &client, "two", "resume");
    assert_eq!(client.identity(), two);
}

#[test]
fn a_waiting_call_goes_on_for_the_session_that_the_client_process_shows_then() {
    let sandbox = Sandbox::new();
    let (one, two, mut client) = ended_and_open(&sandbox);
    let wait = json!({ "name": "check_messages", "arguments": { "wait_seconds": 60 } });
    let waits = client.start_request("tools/call", wait);
    // On a slower machine, the call waits for the resumed session from the start.
    std::thread::sleep(Duration::from_millis(500));
    starts(&sandbox, &client, "one", "resume");
    let later = sandbox.ok(["send", &two.0, "for two, later"]);
    assert!(later.contains("away since"), "{later}");
    sandbox.ok(["send", &one.0, "for one"]);
    let answer = client.answer_to(&json!(waits)).to_string();
    assert!(answer.contains("for one") && !answer.contains("for two"), "{answer}");
    assert_eq!(state(&sandbox, &later), "queued");
}

/// Claude Code 2.1.224 with `--continue`: the server gets an unknown session id and registers, and
/// only then the hook names the session.
#[test]
fn a_hook_event_after_the_registration_makes_it_the_continued_session() {
    let sandbox = Sandbox::new();
    let mut first = client_process(&sandbox, "work", "one");
    starts(&sandbox, &first, "one", "startup");
    let one = first.identity();
    first.close_input();
    first.wait_end();
    until("it is away", || sandbox.live_ids().is_empty());
    sandbox.ok(["send", &one.0, "for the one who continues"]);

    let mut second = client_process(&sandbox, "work", "thrown-away");
    let made = second.identity();
    assert_ne!(made.0, one.0);
    sandbox.ok(["send", &made.0, "for this process"]);
    starts(&sandbox, &second, "one", "resume");
    assert_eq!(second.identity(), one);
    let shown = second.text("check_messages", json!({}));
    for text in ["for the one who continues", "for this process"] {
        assert!(shown.contains(&format!("| {text}")), "{shown}");
    }
    // The peer that was made first has left no trace.
    let all = sandbox.json(["peers", "--all"])["peers"].clone();
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    let (_, error) = sandbox.fails(["send", &made.1, "hello"]);
    assert!(error.contains("no peer"), "{error}");
    sandbox.fails(["send", &made.0, "hello"]);
}

/// A continued session without a peer becomes the peer that was just made.
#[test]
fn an_unknown_session_that_is_continued_is_the_peer_that_was_just_made() {
    let sandbox = Sandbox::new();
    let mut client = client_process(&sandbox, "work", "thrown-away");
    let made = client.identity();
    starts(&sandbox, &client, "one", "resume");
    assert_eq!(client.identity(), made);
    assert_eq!(sandbox.live_ids(), [made.0.as_str()]);
}

#[test]
fn the_first_listing_of_a_session_says_that_it_is_live() {
    let sandbox = Sandbox::new();
    for number in 0..3 {
        let name = format!("session-{number}");
        let mut session = SessionOptions::new(&name).at_once().start(&sandbox);
        let me = session.me();
        assert_eq!(me["live"], true, "{me}");
        assert_ne!(me["reach"], "away", "{me}");
    }
}

/// No client process that we know works so, but no peer may be displaced by an ambiguous event.
#[test]
fn of_several_sessions_in_one_process_the_hooks_of_a_dead_server_displace_none() {
    let sandbox = Sandbox::new().with("CLAUDE_PID", std::process::id().to_string());
    let start = |name: &str| SessionOptions::new(name).without_channel().start(&sandbox);
    let (mut first, mut second, mut third) = (start("first"), start("second"), start("third"));
    let all = [first.identity(), second.identity(), third.identity()];
    third.kill9();
    until("it is away", || sandbox.live_ids().len() == 2);
    sandbox.ok(["send", &all[2].0, "for the third"]);
    let shown = context(&sandbox, "UserPromptSubmit", "third", "t", json!({}));
    assert!(shown.contains("| for the third"), "{shown}");
    assert_eq!([first.identity(), second.identity()], all[..2]);
    // Only the source `resume` says that the client process goes on as another session.
    context(&sandbox, "SessionStart", "second", "t", json!({ "source": "startup" }));
    context(&sandbox, "SessionStart", "third", "t", json!({ "source": "resume" }));
    assert_eq!([first.identity(), second.identity()], [all[0].clone(), all[2].clone()]);
}
