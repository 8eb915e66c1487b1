//! Windows: a client's process that shows one session after the other, as its hooks tell.

use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::hooks::{context, hook_of};
use crate::support::{PATIENCE, Sandbox, Session, SessionOptions, client_process, until};

/// What a hook in this window shows, when the client shows `session`.
#[track_caller]
fn said(sandbox: &Sandbox, client: &Session, event: &str, session: &str, more: Value) -> String {
    hook_of(sandbox, client.pid(), session, event, more)
}

fn starts(sandbox: &Sandbox, window: &Session, session: &str, source: &str) {
    assert_eq!(said(sandbox, window, "SessionStart", session, json!({ "source": source })), "");
}

/// A session "one" that has ended, and a window that shows another, "two". Gives who they are.
fn ended_and_open(sandbox: &Sandbox) -> ((String, String), (String, String), Session) {
    let mut first = client_process(sandbox, "work", "one");
    starts(sandbox, &first, "one", "startup");
    // A name of its own is kept for it.
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

/// Whether it comes to be so in time.
fn within(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let since = Instant::now();
    while !holds() {
        if since.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

fn state(sandbox: &Sandbox, sent: &str) -> String {
    let id = sent.split(' ').next().unwrap();
    sandbox.message(id)["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_session_that_is_resumed_inside_a_window_is_that_peer_with_its_mail_and_back_again() {
    let sandbox = Sandbox::new();
    let (one, two, mut window) = ended_and_open(&sandbox);
    sandbox.ok(["send", &one.0, "for one"]);
    said(&sandbox, &window, "SessionEnd", "two", json!({ "reason": "resume" }));
    starts(&sandbox, &window, "one", "resume");
    // Pushes, tools and listings are the resumed session's.
    assert_eq!(window.push()["content"], "for one");
    assert_eq!(window.identity(), one);
    assert_eq!(window.me()["summary"], "the first");
    assert_eq!(sandbox.live_ids(), [one.0.as_str()]);
    // The other is like a session that has ended: its mail waits, and is not shown here.
    let waits = sandbox.ok(["send", &two.0, "for two"]);
    assert!(waits.contains("away since"), "{waits}");
    sandbox.ok(["send", &one.1, "more for one"]);
    assert_eq!(window.push()["content"], "more for one");
    let shown = window.text("check_messages", json!({}));
    assert!(shown.contains("| more for one") && !shown.contains("for two"), "{shown}");
    assert_eq!(said(&sandbox, &window, "UserPromptSubmit", "one", json!({})), "");
    assert_eq!(state(&sandbox, &waits), "queued");
    // A late word of the session that the window has left changes nothing.
    said(&sandbox, &window, "SessionEnd", "two", json!({ "reason": "resume" }));
    assert_eq!(window.identity(), one);

    starts(&sandbox, &window, "two", "resume");
    assert_eq!(window.push()["content"], "for two");
    assert_eq!(window.identity(), two);
    assert_eq!(sandbox.live_ids(), [two.0.as_str()]);
}

#[test]
fn a_session_that_another_window_shows_is_not_taken_from_it() {
    let sandbox = Sandbox::new();
    let mut first = client_process(&sandbox, "work", "one");
    let mut second = client_process(&sandbox, "work", "two");
    starts(&sandbox, &first, "one", "startup");
    starts(&sandbox, &second, "two", "startup");
    let (one, two) = (first.identity(), second.identity());
    starts(&sandbox, &second, "one", "resume");
    sandbox.ok(["send", &one.0, "for the first"]);
    assert_eq!(said(&sandbox, &second, "UserPromptSubmit", "one", json!({})), "");
    assert_eq!((first.identity(), second.identity()), (one.clone(), two.clone()));
    assert_eq!(first.push()["content"], "for the first");
    // Once that window is closed, the session is free for whoever resumes it.
    first.close_input();
    first.wait_end();
    until("it is away", || sandbox.live_ids() == [two.0.as_str()]);
    starts(&sandbox, &second, "two", "resume");
    starts(&sandbox, &second, "one", "resume");
    assert_eq!(second.identity(), one);
}

#[test]
fn after_clear_a_resumed_session_is_still_the_peer_of_its_window() {
    let sandbox = Sandbox::new();
    let (one, two, mut window) = ended_and_open(&sandbox);
    starts(&sandbox, &window, "one", "resume");
    starts(&sandbox, &window, "three", "clear");
    assert_eq!(window.identity(), one);
    // The window goes back to the other, and then to what the cleared one was called before.
    starts(&sandbox, &window, "two", "resume");
    assert_eq!(window.identity(), two);
    starts(&sandbox, &window, "three", "resume");
    assert_eq!(window.identity(), one);
}

#[test]
fn a_resumed_session_of_which_nobody_has_heard_is_a_new_peer() {
    let sandbox = Sandbox::new();
    let (one, two, mut window) = ended_and_open(&sandbox);
    sandbox.ok(["send", &two.0, "unread for two"]);
    assert_eq!(window.push()["content"], "unread for two");
    starts(&sandbox, &window, "unheard-of", "resume");
    let new = window.identity();
    assert!(new.0 != one.0 && new.0 != two.0, "{new:?}");
    assert_eq!(sandbox.live_ids(), [new.0.as_str()]);
    let shown = window.text("check_messages", json!({}));
    assert!(shown.starts_with("No messages wait for you."), "{shown}");
    starts(&sandbox, &window, "two", "resume");
    let shown = window.text("check_messages", json!({}));
    assert!(shown.contains("| unread for two"), "{shown}");
}

#[test]
fn a_subagent_and_a_hook_that_waits_for_the_former_session_move_no_window() {
    let sandbox = Sandbox::new();
    let (one, two, mut window) = ended_and_open(&sandbox);
    let agent = json!({ "agent_id": "a1", "agent_type": "x" });
    said(&sandbox, &window, "PostToolUse", "one", agent);
    assert_eq!(window.identity(), two);
    starts(&sandbox, &window, "one", "resume");
    // Left over from the turn before, it comes to a new broker, say, and is sent away.
    let mut command = sandbox.command(["hook", "Stop", "--wait"]);
    command.env("CLAUDE_PID", window.pid().to_string()).stdin(Stdio::piped());
    let mut waits = command.spawn().unwrap();
    let _ = waits.stdin.take().unwrap().write_all(br#"{ "session_id": "two" }"#);
    let ended = within(PATIENCE, || waits.try_wait().unwrap().is_some());
    let _ = waits.kill();
    assert!(ended && waits.wait().unwrap().success());
    assert_eq!(window.identity(), one);
}

#[test]
fn a_window_that_resumes_while_the_broker_restarts_is_the_resumed_peer() {
    let sandbox = Sandbox::new();
    let (one, two, mut window) = ended_and_open(&sandbox);
    // The hook finds no broker, and leaves its word.
    sandbox.ok(["kill-broker"]);
    starts(&sandbox, &window, "one", "resume");
    sandbox.ok(["send", &one.0, "for one"]);
    let shown = said(&sandbox, &window, "UserPromptSubmit", "one", json!({}));
    window.until_live();
    assert_eq!(window.identity(), one, "{shown}");
    // And whatever restarts from here on, it stays that one.
    sandbox.kill9_broker();
    window.until_live();
    assert_eq!(window.identity(), one);
    starts(&sandbox, &window, "two", "resume");
    assert_eq!(window.identity(), two);
}

#[test]
fn a_call_that_waits_goes_on_for_the_session_that_the_window_shows_then() {
    let sandbox = Sandbox::new();
    let (one, two, mut window) = ended_and_open(&sandbox);
    let wait = json!({ "name": "check_messages", "arguments": { "wait_seconds": 60 } });
    let waits = window.start_request("tools/call", wait);
    // Should it be slower than that, it waits for the resumed session from the first.
    std::thread::sleep(Duration::from_millis(500));
    starts(&sandbox, &window, "one", "resume");
    let later = sandbox.ok(["send", &two.0, "for two, later"]);
    assert!(later.contains("away since"), "{later}");
    sandbox.ok(["send", &one.0, "for one"]);
    let answer = window.answer_to(&json!(waits)).to_string();
    assert!(answer.contains("for one") && !answer.contains("for two"), "{answer}");
    assert_eq!(state(&sandbox, &later), "queued");
}

/// Claude Code 2.1.224 with `--continue`: the server is given an id that nobody knows, registers,
/// and only then the hook tells the session.
#[test]
fn a_hook_that_speaks_after_the_registration_makes_the_window_the_continued_session() {
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
    sandbox.ok(["send", &made.0, "for this window"]);
    starts(&sandbox, &second, "one", "resume");
    assert_eq!(second.identity(), one);
    let shown = second.text("check_messages", json!({}));
    for text in ["for the one who continues", "for this window"] {
        assert!(shown.contains(&format!("| {text}")), "{shown}");
    }
    // The peer that was made by mistake has left no trace.
    let all = sandbox.json(["peers", "--all"])["peers"].clone();
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    let (_, error) = sandbox.fails(["send", &made.1, "hello"]);
    assert!(error.contains("no peer"), "{error}");
    sandbox.fails(["send", &made.0, "hello"]);
}

/// A session that is continued may have no peer yet: then it is the one that was just made.
#[test]
fn a_continued_session_of_which_nobody_has_heard_is_the_peer_of_its_window() {
    let sandbox = Sandbox::new();
    let mut window = client_process(&sandbox, "work", "thrown-away");
    let made = window.identity();
    starts(&sandbox, &window, "one", "resume");
    assert_eq!(window.identity(), made);
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
        assert_ne!(me["reachability"], "away", "{me}");
    }
}

/// No window as we know them, but nobody takes another's place by a word that was not meant so.
#[test]
fn of_several_sessions_in_one_process_the_hooks_of_a_dead_server_move_none() {
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
    // That one of them goes on as another session is to be said in so many words.
    context(&sandbox, "SessionStart", "second", "t", json!({ "source": "startup" }));
    context(&sandbox, "SessionStart", "third", "t", json!({ "source": "resume" }));
    assert_eq!([first.identity(), second.identity()], [all[0].clone(), all[2].clone()]);
}
