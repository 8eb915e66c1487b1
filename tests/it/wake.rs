//! Promise 3: a wake tells an idle session that mail waits, and is never a delivery.
//!
//! Promise 5: it never contains message text.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::hooks::{Inbox, end, still_waits, waiter, waiter_of};
use crate::support::http::{RawPeer, Request, read_answer, unix};
use crate::support::{PROGRAM, Sandbox, Session, SessionOptions, until};

fn read_all(session: &mut Session) -> usize {
    let result = session.call("check_messages", json!({}));
    result["structuredContent"]["messages"].as_array().unwrap().len()
}

#[test]
fn an_idle_session_is_woken_once_for_a_batch_and_never_told_what_it_says() {
    let sandbox = Sandbox::new();
    let inbox = Inbox::open(&sandbox);
    let mut backend = SessionOptions::new("backend").start(&sandbox);
    let mut frontend = inbox.session("frontend").start(&sandbox);
    let ids: Vec<String> =
        (0..10).map(|n| backend.send("frontend", &format!("secret-{n}"))).collect();
    let line = inbox.woken();
    assert!(line.contains("check_messages") && !line.contains("secret"), "{line}");
    inbox.is_quiet();
    // A wake is no delivery.
    assert!(ids.iter().all(|id| sandbox.message(id)["state"] == "queued"));
    assert_eq!(read_all(&mut frontend), 10);
    inbox.is_quiet();
    backend.send("frontend", "another batch");
    // A client drops a line that it has had before.
    assert_ne!(inbox.woken(), line);
}

#[test]
fn sessions_that_disable_wakes_or_cannot_be_woken_are_not_woken() {
    let sandbox = Sandbox::new();
    let inbox = Inbox::open(&sandbox);
    let mut backend = SessionOptions::new("backend").start(&sandbox);
    let _off = inbox.session("off").with("CLAUDE_PEERS_WAKE", "off").start(&sandbox);
    let _other = inbox.session("other").client("codex").start(&sandbox);
    let _print = inbox.session("print").with("CLAUDE_CODE_ENTRYPOINT", "sdk-cli").start(&sandbox);
    for name in ["off", "other", "print"] {
        backend.send(name, "hello");
    }
    inbox.is_quiet();
}

/// A program prompts it through an SDK, or an editor does: it is idle between prompts.
#[test]
fn a_session_without_a_terminal_that_lasts_is_no_one_shot_and_is_woken() {
    let sandbox = Sandbox::new();
    let inbox = Inbox::open(&sandbox);
    let mut backend = SessionOptions::new("backend").start(&sandbox);
    for (entrypoint, words, lasts) in [
        ("sdk-ts", &["--output-format", "stream-json", "--input-format", "stream-json"][..], true),
        ("sdk-cli", &["-p", "--input-format=stream-json"], true),
        ("sdk-py", &["--print", "hello"], false),
        ("sdk-cli", &["-p", "--output-format", "stream-json"], false),
    ] {
        let name = format!("{entrypoint}{}", words.len());
        // A client process between the test and the server, with the command line of a client.
        let script = "CLAUDE_CODE_SESSION_ID=\"$1\" \"$0\" mcp; exit";
        let arguments = ["-c", script, PROGRAM, &format!("session-{name}")];
        let mut command = sandbox.command_of("sh", arguments.iter().chain(words));
        let directory = sandbox.path().join(&name);
        std::fs::create_dir(&directory).unwrap();
        command
            .current_dir(&directory)
            .env("CLAUDE_CODE_ENTRYPOINT", entrypoint)
            .env("CLAUDE_CODE_MESSAGING_SOCKET", &inbox.path)
            .env("CLAUDE_CODE_MESSAGING_TOKEN", "the-token")
            .env("CLAUDE_PEERS_NAME", &name);
        let mut session = Session::spawn(command);
        session.handshake("claude-code");
        until("the session is live", || session.me()["live"] == true);
        let peers = backend.call("list_peers", json!({}))["structuredContent"]["peers"].clone();
        let listed = peers.as_array().unwrap().iter().find(|peer| peer["name"] == name).cloned();
        // What is false is left out.
        let one_shot = (!lasts).then_some(true);
        assert_eq!(
            listed.unwrap().get("one_shot").and_then(Value::as_bool),
            one_shot,
            "{entrypoint} {words:?}: {peers}"
        );
        backend.send(&name, "hello");
        if lasts {
            inbox.woken();
        } else {
            inbox.is_quiet();
        }
    }
}

#[test]
fn the_waiting_hook_wakes_before_the_server_does() {
    let sandbox = Sandbox::new();
    let inbox = Inbox::open(&sandbox);
    let mut backend = SessionOptions::new("backend").start(&sandbox);
    let mut frontend = inbox.session("frontend").start(&sandbox);
    let first = waiter(&sandbox, "Stop", "frontend");
    std::thread::sleep(Duration::from_millis(500));
    let second = waiter(&sandbox, "Stop", "frontend");
    assert_eq!(end(first), (0, String::new()), "a newer one took its place");
    backend.send("frontend", "secret-1");
    backend.send("frontend", "secret-2");
    let (code, notice) = end(second);
    assert_eq!(code, 2);
    assert!(notice.starts_with("claude-peers: 2 messages from other sessions wait."), "{notice}");
    assert!(!notice.contains("secret"), "{notice}");
    inbox.is_quiet();
    // The same mail does not wake again, however often a turn ends without reading it.
    let mut third = waiter(&sandbox, "Stop", "frontend");
    still_waits(&mut third);
    assert_eq!(read_all(&mut frontend), 2);
    backend.send("frontend", "another batch");
    assert_eq!(end(third).0, 2);
    // Without a waiting hook the server wakes, also where that hook was killed.
    assert_eq!(read_all(&mut frontend), 1);
    let mut fourth = waiter(&sandbox, "Stop", "frontend");
    std::thread::sleep(Duration::from_millis(500));
    fourth.kill().unwrap();
    fourth.wait().unwrap();
    backend.send("frontend", "a third batch");
    inbox.woken();
}

/// A hook that dies before it has woken the session is replaced by the server.
#[test]
fn a_wake_that_was_not_given_is_given_by_another_way() {
    let sandbox = Sandbox::new();
    let inbox = Inbox::open(&sandbox);
    let mut backend = SessionOptions::new("backend").start(&sandbox);
    let mut frontend = inbox.session("frontend").start(&sandbox);
    let body = json!({ "session": "session-frontend" });
    let mut waits = unix(&sandbox);
    waits.write_all(&Request::post("/v1/wake", &body).bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    backend.send("frontend", "hello");
    let told = read_answer(&mut waits).unwrap().json();
    assert_eq!((&told["type"], &told["waiting"]), (&json!("mail"), &json!(1)), "{told}");
    // It reports nothing more.
    drop(waits);
    inbox.woken();
    inbox.is_quiet();
    assert_eq!(read_all(&mut frontend), 1);
    // No other peer can report this wake as given.
    let given = json!({ "peer": told["peer"], "upto": 1_000_000 });
    let other = RawPeer::register(&sandbox, "other");
    let refused = Request::post("/v1/wake/given", &given).session(&other.secret).unix(&sandbox);
    assert_eq!(refused.refusal(), (403, "forbidden".to_owned()));
}

#[test]
fn a_turn_under_way_is_not_disturbed_and_its_end_shows_the_mail() {
    let sandbox = Sandbox::new();
    let inbox = Inbox::open(&sandbox);
    let sandbox = sandbox.with("CLAUDE_PID", std::process::id().to_string());
    let mut backend = SessionOptions::new("backend").start(&sandbox);
    let _frontend = inbox.session("frontend").start(&sandbox);
    let say = |event: &str, more: Value| {
        let mut input = json!({ "session_id": "session-frontend", "prompt_id": "t1" });
        input.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        let mut child = sandbox.command(["hook", event]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    };
    let mut waiting = waiter(&sandbox, "Stop", "frontend");
    assert_eq!(say("UserPromptSubmit", json!({ "prompt": "work" })), "");
    let id = backend.send("frontend", "hello");
    still_waits(&mut waiting);
    assert!(say("Stop", json!({})).contains("| hello"));
    let id_2 = backend.send("frontend", "and more");
    // The turn goes on from the first; its second end may not be blocked again.
    assert_eq!(say("Stop", json!({ "stop_hook_active": true })), "");
    assert_eq!(sandbox.message(&id)["state"], "read");
    let (code, notice) = end(waiting);
    assert_eq!((code, notice.contains("1 message")), (2, true), "{notice}");
    assert!(say("UserPromptSubmit", json!({ "prompt_id": "t2" })).contains("| and more"));
    assert_eq!(say("Stop", json!({ "prompt_id": "t2" })), "");
    assert_eq!(sandbox.message(&id_2)["read_via"], "hook");
    inbox.is_quiet();
}

#[test]
fn the_waiting_hook_outlives_brokers_and_ends_with_its_client() {
    let sandbox = Sandbox::new();
    let mut backend = SessionOptions::new("backend").start(&sandbox);
    let _frontend = SessionOptions::new("frontend").without_channel().start(&sandbox);
    let mut waiting = waiter(&sandbox, "Stop", "frontend");
    std::thread::sleep(Duration::from_millis(500));
    sandbox.kill9_broker().unwrap();
    backend.send("frontend", "hello");
    assert_eq!(end(waiting).0, 2);

    let mut client = Command::new("sleep").arg("600").process_group(0).spawn().unwrap();
    waiting = waiter_of(&sandbox, "Stop", "frontend", client.id());
    still_waits(&mut waiting);
    client.kill().unwrap();
    client.wait().unwrap();
    assert_eq!(end(waiting), (0, String::new()));
}

#[test]
fn no_hook_waits_in_one_shot_sessions_or_where_wakes_are_disabled() {
    let sandbox = Sandbox::new();
    let _frontend = SessionOptions::new("frontend").without_channel().start(&sandbox);
    for (name, value) in [("CLAUDE_CODE_ENTRYPOINT", "sdk-cli"), ("CLAUDE_PEERS_WAKE", "off")] {
        let sandbox = sandbox.command(["hook", "Stop", "--wait"]);
        let mut command = sandbox;
        let output = command
            .env("CLAUDE_PID", std::process::id().to_string())
            .env(name, value)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
    // Without the client's pid the hook would not notice the end of the session.
    let mut child = sandbox.command(["hook", "Stop", "--wait"]);
    let mut child = child.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"session_id\": \"session-frontend\"}").unwrap();
    assert!(child.wait().unwrap().success());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

/// To Claude Code, exit code 2 of a hook blocks the session, or wakes it.
#[test]
fn wrong_usage_of_a_hook_never_blocks_the_session() {
    let sandbox = Sandbox::new();
    for arguments in [vec!["hook"], vec!["hook", "Nonsense"], vec!["hook", "Stop", "--later"]] {
        let (code, error) = sandbox.fails(&arguments);
        assert_eq!(code, 1, "{error}");
    }
    assert_eq!(sandbox.fails(["peers", "--later"]).0, 2);
}

/// A backup may have the database locked just when a session is to be woken.
#[test]
fn a_database_that_fails_for_a_moment_costs_no_later_wake() {
    let sandbox = Sandbox::new();
    let inbox = Inbox::open(&sandbox);
    let mut backend = SessionOptions::new("backend").start(&sandbox);
    let _frontend = inbox.session("frontend").start(&sandbox);
    backend.send("frontend", "hello");
    let mut other = rusqlite::Connection::open(sandbox.database()).unwrap();
    let held = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    inbox.is_quiet();
    // By now the wake was given up, and so was its retry.
    std::thread::sleep(Duration::from_secs(6));
    drop(held);
    backend.send("frontend", "and more");
    inbox.woken();
}
