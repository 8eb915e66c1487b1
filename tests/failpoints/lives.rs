//! Lives that are interrupted: registrations, hooks and their spool, starts, takeovers, stops.

use std::process::Stdio;

use claude_peers::sys::files::beside;
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::bench::{Case, checked, pushed_once};
use crate::support::databases::of_first_schema;
use crate::support::hooks::{hook, run_hook};
use crate::support::{SessionOptions, send_signal, until};

fn named<'a>(peers: &'a Value, name: &str) -> Vec<&'a Value> {
    peers["peers"].as_array().unwrap().iter().filter(|peer| peer["name"] == name).collect()
}

/// The broker dies while a session registers or opens its stream.
pub fn registration(case: &Case) {
    let mut broker = case.broker();
    let mut a = case.session("a");
    case.open_gate();
    let mut b = case.session("b");
    broker.dies();
    until("both are live", || case.sandbox.live_names().len() == 2);
    let peers = case.sandbox.json(["peers", "--all"]);
    assert_eq!(named(&peers, "b").len(), 1, "registered once: {peers}");
    let id = a.send("b", "one");
    pushed_once(&mut b, &[id], false);
}

/// The server dies when it has registered. The next one is the same peer.
pub fn registered(case: &Case) {
    let mut a = case.session("a");
    case.open_gate();
    let mut b = case.armed_session("b").at_once().spawn(&case.sandbox);
    b.write(&crate::support::initialize());
    b.write(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    crate::bench::last_words(b);
    let before: String = Connection::open(case.sandbox.database())
        .unwrap()
        .query_row("SELECT peer FROM keys WHERE key = 'session:session-b'", [], |row| row.get(0))
        .unwrap();
    let mut again = case.session("b");
    assert_eq!(before, again.id(), "the same session is the same peer");
    let id = a.send("b", "one");
    pushed_once(&mut again, &[id], false);
}

fn prompt(turn: &str) -> Value {
    json!({ "session_id": "session-b", "hook_event_name": "UserPromptSubmit", "prompt_id": turn, "cwd": "/" })
}

/// The broker, or the hook, dies around a hook that shows a message.
pub fn shown_by_hook(case: &Case) {
    let of_broker = case.point.starts_with("broker.");
    let broker = of_broker.then(|| case.broker());
    let (mut a, mut b) = (case.session("a"), case.without_channel("b"));
    let id = a.send("b", "one");
    case.open_gate();
    let event = ["hook", "UserPromptSubmit"];
    let first = if let Some(mut broker) = broker {
        let output = run_hook(case.sandbox.command(event), &prompt("t1"));
        assert!(output.status.success(), "a hook fails open: {output:?}");
        broker.dies();
        output
    } else {
        let output = run_hook(case.command(&event), &prompt("t1"));
        assert!(output.status.code().is_none(), "it died at the failpoint: {output:?}");
        output
    };
    until("the session is live", || b.me()["live"] == true);
    let first = String::from_utf8(first.stdout).unwrap();
    let state = case.sandbox.message(&id)["state"].clone();
    if first.contains(&id) {
        assert_eq!(state, "offered");
    }
    // Another turn: the message is shown again, for there was no evidence.
    let second = hook(&case.sandbox, "UserPromptSubmit", &prompt("t2"));
    let second = String::from_utf8(second.stdout).unwrap();
    assert!(second.contains(&id), "state {state}, first {first}, second {second}");
    assert_eq!(second.contains("a repeat"), state == "offered", "the mark of a repeat: {second}");
    hook(
        &case.sandbox,
        "Stop",
        &json!({
        "session_id": "session-b", "hook_event_name": "Stop", "prompt_id": "t2", "cwd": "/" }),
    );
    case.sandbox.assert_state(&id, "read", "hook");
    assert_eq!(checked(&mut b), [], "what was read is not shown again");
}

fn spool(case: &Case, suffix: &str) -> std::path::PathBuf {
    beside(&case.sandbox.socket(), &format!(".unheard{suffix}"))
}

fn start_hook(command: std::process::Command) -> std::process::Output {
    run_hook(command, &json!({ "session_id": "session-b", "source": "startup" }))
}

/// The broker dies while it drains the hook spool. The next one has its events.
pub fn spooled(case: &mut Case) {
    let case = with_client(case);
    let id = leave_event(case);
    let mut broker = case.broker();
    case.open_gate();
    let options = SessionOptions::new("thrown-away").without_channel();
    let mut again = options.start(&case.sandbox);
    broker.dies();
    assert_eq!(again.id(), id, "the hook's event tells which session it is");
    for suffix in ["", "-taken"] {
        assert!(!spool(case, suffix).exists(), "the spool is drained");
    }
}

/// A session whose client process has an event in the spool. Returns the id of its peer.
fn leave_event(case: &Case) -> String {
    let mut b = case.without_channel("b");
    let id = b.id();
    b.close_input();
    b.wait_end();
    case.sandbox.ok(["kill-broker"]);
    let output = start_hook(case.sandbox.command(["hook", "SessionStart"]));
    assert!(output.status.success());
    assert!(spool(case, "").exists());
    id
}

fn with_client(case: &mut Case) -> &Case {
    let sandbox = std::mem::replace(&mut case.sandbox, crate::support::Sandbox::new());
    case.sandbox = sandbox.with("CLAUDE_PID", std::process::id().to_string());
    case
}

/// The hook dies while it appends to the spool: its event is there whole, or not at all.
pub fn spooling(case: &mut Case) {
    let case = with_client(case);
    let id = leave_event(case);
    case.open_gate();
    let output = start_hook(case.command(&["hook", "SessionStart"]));
    assert!(output.status.code().is_none(), "it died at the failpoint: {output:?}");
    let left = std::fs::read_to_string(spool(case, "")).unwrap();
    let whole = left.lines().all(|line| serde_json::from_str::<Value>(line).is_ok());
    assert!(whole && left.ends_with('\n'), "{left}");
    let mut again = SessionOptions::new("thrown-away").without_channel().start(&case.sandbox);
    assert_eq!(again.id(), id);
}

/// A broker dies while it starts. What was accepted before is there, and sessions go on.
pub fn start(case: &Case) {
    let (mut a, mut b) = (case.session("a"), case.without_channel("b"));
    let id = a.send("b", "one");
    case.sandbox.kill9_broker().unwrap();
    case.open_gate();
    let mut broker;
    // The sessions start one themselves: one of ours must find the place free.
    loop {
        broker = case.start_broker(&["broker"]);
        use std::os::unix::process::ExitStatusExt as _;
        if crate::support::ends(&mut broker.0).signal().is_some() {
            break;
        }
        case.sandbox.kill9_broker();
    }
    case.stored_once(&[("one", &id)]);
    let next = a.send("b", "two");
    let shown: Vec<String> = checked(&mut b).into_iter().map(|(id, _)| id).collect();
    assert_eq!(shown, [id, next]);
}

/// A broker that takes the place of one that lost its socket dies when it has asked it to stop.
pub fn takeover(case: &Case) {
    let earlier = case.broker_without_failpoint();
    let mut a = case.session("a");
    let id = a.send("cli", "one");
    case.open_gate();
    std::fs::remove_dir_all(case.sandbox.socket().parent().unwrap()).unwrap();
    let mut broker = case.start_broker(&["broker", "--detached"]);
    broker.dies();
    drop(earlier);
    assert_eq!(case.sandbox.json(["inbox"])["messages"][0]["id"], id.as_str());
    case.stored_once(&[("one", &id)]);
}

impl Case {
    fn broker_without_failpoint(&self) -> crate::bench::Armed {
        let mut command = self.sandbox.command(["broker"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let broker = crate::bench::Armed(command.spawn().unwrap());
        until("the broker serves", || self.sandbox.status_is("running"));
        broker
    }
}

/// The broker dies while it migrates a database of the first schema.
pub fn migration(case: &Case) {
    of_first_schema(&case.sandbox, "b");
    case.open_gate();
    case.start_broker(&["broker"]).dies();
    let mut b = case.session("b");
    assert_eq!(b.push()["content"], "precious");
    assert_eq!(b.id(), "peer0001");
    case.stored_once(&[("precious", "m1")]);
}

/// The broker dies while it stops.
pub fn stop(case: &Case) {
    let mut broker = case.broker();
    let (mut a, mut b) = (case.session("a"), case.session("b"));
    let id = a.send("b", "one");
    pushed_once(&mut b, std::slice::from_ref(&id), false);
    case.open_gate();
    send_signal(broker.0.id(), Signal::TERM);
    broker.dies();
    case.stored_once(&[("one", &id)]);
    let next = a.send("b", "two");
    pushed_once(&mut b, &[next], false);
}
