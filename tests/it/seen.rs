//! Command line: what was said is found, followed and deleted, and what happens is shown.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Sandbox, SessionOptions, until};

/// A command whose lines of output are read as they come. It is ended when this is dropped.
struct Following {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Following {
    fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let mut child = sandbox
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Returns the next line for which `fits` holds.
    #[track_caller]
    fn line(&self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        loop {
            match self.lines.recv_timeout(Duration::from_secs(30)) {
                Ok(line) if fits(&line) => return line,
                Ok(_) => {}
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }

    fn json(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let parsed = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        parsed(&self.line(what, |line| fits(&parsed(line))))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn texts(log: &Value) -> Vec<&str> {
    log["messages"].as_array().unwrap().iter().map(|m| m["text"].as_str().unwrap()).collect()
}

#[test]
fn what_was_said_is_found_and_followed() {
    let sandbox = Sandbox::unlimited();
    let mut backend = sandbox.session("backend");
    let mut frontend = sandbox.session("frontend");
    let follow = Following::start(&sandbox, &["log", "--follow", "--json"]);
    let question = frontend.send("backend", "Does GET /orders return a cursor?");
    let seen = follow.json("it is followed", |message| message["id"] == question.as_str());
    assert_eq!(seen["to"]["name"], "backend");
    sandbox.ok(["send", "frontend", "Der Müller hat die Bestellungen geändert"]);
    follow.line("the second one", |line| line.contains("Bestellungen"));

    let found = sandbox.json(["log", "--search", "orders cur"]);
    assert_eq!(texts(&found), ["Does GET /orders return a cursor?"]);
    assert_eq!(texts(&sandbox.json(["log", "-s", "muller"])).len(), 1, "without its dots");
    assert_eq!(texts(&sandbox.json(["log", "-s", "muller", "--peer", "backend"])).len(), 0);
    assert_eq!(texts(&sandbox.json(["log", "--since", "1h"])).len(), 2);
    assert_eq!(texts(&sandbox.json(["log", "--until", "1h"])).len(), 0);
    assert_eq!(texts(&sandbox.json(["log", "--state", "expired,unconfirmed"])).len(), 0);

    backend.call(
        "send_message",
        json!({
            "to_id": "frontend", "message": "Yes, since today.", "reply_to": question.as_str(),
        }),
    );
    let thread = sandbox.json(["log", "--thread", question.as_str()]);
    assert_eq!(texts(&thread), ["Does GET /orders return a cursor?", "Yes, since today."]);
    let shown = sandbox.ok(["log", "--thread", question.as_str()]);
    assert!(shown.lines().nth(2).unwrap().contains("    Yes, since today."), "further in: {shown}");
    let prefix = &question.as_str()[..8];
    assert_eq!(texts(&sandbox.json(["log", prefix])), ["Does GET /orders return a cursor?"]);
    let (code, error) = sandbox.fails(["log", "ma"]);
    assert_eq!(code, 1);
    assert!(error.contains(question.as_str()), "{error}");

    let document = sandbox.ok(["log", "--export", "markdown"]);
    assert!(
        document.contains("Yes, since today.") && document.contains("# Messages"),
        "{document}"
    );
    let lines = sandbox.ok(["log", "--export", "jsonl"]);
    assert_eq!(lines.lines().count(), 3, "{lines}");
    for wrong in [["--since", "soon"], ["--state", "lost"], ["--search", "->"]] {
        assert!(!sandbox.run(["log", wrong[0], wrong[1]]).status.success(), "{wrong:?}");
    }
}

#[test]
fn who_is_followed_is_who_is_listed() {
    let sandbox = Sandbox::unlimited();
    let _sessions = ["back", "backend"].map(|name| sandbox.session(name));
    sandbox.ok(["send", "back", "before"]);
    let follow = Following::start(&sandbox, &["log", "--follow", "--json", "--peer", "back"]);
    follow.json("what was before", |message| message["text"] == "before");
    sandbox.ok(["send", "backend", "to another whose name begins so"]);
    sandbox.ok(["send", "back", "after"]);
    assert_eq!(follow.json("the next", |_| true)["text"], "after");
}

#[test]
fn events_tell_of_peers_and_of_each_state() {
    let sandbox = Sandbox::unlimited();
    sandbox.ok(["peers"]);
    let watch = Following::start(&sandbox, &["watch", "--json"]);
    watch.json("a snapshot comes first", |event| event["type"] == "snapshot");
    let mut backend = SessionOptions::new("backend").start(&sandbox);
    let peer = watch.json("a peer comes", |event| event["peer"]["live"] == true);
    assert_eq!(peer["peer"]["name"], "backend");
    let id = sandbox.ok(["send", "backend", "hello"]).split(' ').next().unwrap().to_owned();
    watch.json("it is offered", |event| event["message"]["state"] == "offered");
    backend.call("check_messages", json!({}));
    backend.call("list_peers", json!({}));
    let read = watch.json("it is read", |event| event["message"]["state"] == "read");
    assert_eq!(read["message"]["read_via"], "tool");
    assert!(sandbox.json(["log", "-n", "1"])["messages"][0]["id"] == read["message"]["id"], "{id}");
    backend.call("set_summary", json!({ "summary": "Works on the orders API." }));
    watch.json("what it works on", |event| event["peer"]["summary"] == "Works on the orders API.");
    drop(backend);
    // It has neither mail nor a name that a person chose, so it is not listed while it is away.
    watch.json("it is gone", |event| {
        event["type"] == "peer_gone" && event["id"] == peer["peer"]["id"]
    });

    // A broker that is killed is reached again, and everything is told anew.
    sandbox.kill9_broker();
    watch.json("a snapshot of the next broker", |event| event["type"] == "snapshot");
}

#[test]
fn a_broker_that_is_watched_stays() {
    let sandbox = Sandbox::unlimited().with("CLAUDE_PEERS_IDLE_EXIT_SECONDS", "1");
    let watch = Following::start(&sandbox, &["watch", "--json"]);
    watch.json("a snapshot", |event| event["type"] == "snapshot");
    let broker = sandbox.broker().unwrap().pid;
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(sandbox.broker().map(|broker| broker.pid), Some(broker));
    drop(watch);
    until("the broker exits", || sandbox.broker().is_none());
}

#[test]
fn the_status_line_is_short_quick_and_starts_nothing() {
    let sandbox = Sandbox::unlimited();
    let line = |input: &str| {
        let mut child = sandbox
            .command(["statusline"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(line("{}"), "peers: –\n");
    assert!(sandbox.broker().is_none(), "it started a broker");
    let _backend = sandbox.session("backend");
    let mut frontend = sandbox.session("frontend");
    frontend.send("backend", "one");
    let of_backend = json!({ "session_id": "session-backend", "cwd": "/" }).to_string();
    assert_eq!(line(&of_backend), "backend · 1 peer · 1 unread\n");
    for odd in ["", "nonsense", "{\"session_id\": \"unknown\"}", "[]"] {
        assert!(line(odd).ends_with('\n'), "{odd}");
    }
}

#[test]
fn old_messages_are_deleted_on_request_and_by_a_setting() {
    let sandbox = Sandbox::unlimited();
    let mut backend = sandbox.session("backend");
    let mut frontend = sandbox.session("frontend");
    for text in ["one", "two", "three"] {
        frontend.send("backend", text);
    }
    backend.call("check_messages", json!({}));
    backend.call("list_peers", json!({}));
    until("they are read", || {
        let log = sandbox.json(["log"]);
        log["messages"].as_array().unwrap().iter().all(|message| message["state"] == "read")
    });
    let count = || sandbox.json(["log"])["messages"].as_array().unwrap().len();
    assert_eq!(sandbox.json(["prune", "--older-than", "1d"])["messages"], 0, "they are new");
    assert!(!sandbox.run(["prune", "--older-than", "1h"]).status.success(), "too young");
    drop((backend, frontend));
    sandbox.ok(["kill-broker"]);
    let database = rusqlite::Connection::open(sandbox.database()).unwrap();
    database.execute("UPDATE messages SET sent_at = sent_at - 200000000000", []).unwrap();
    drop(database);
    let counted = sandbox.json(["prune", "--older-than", "90d", "--dry-run"]);
    assert_eq!(counted, json!({ "messages": 2, "never_read": 0, "unread_kept": 0 }));
    assert_eq!(count(), 3);
    sandbox.ok(["kill-broker"]);
    let keeping = sandbox.shell_with("CLAUDE_PEERS_KEEP_DAYS", "30");
    // Any write is followed by the upkeep, once it is quiet.
    let writer = keeping.session("writer");
    until("the upkeep has deleted them", || {
        let database = rusqlite::Connection::open(sandbox.database()).unwrap();
        let rows = "SELECT count(*) FROM messages WHERE seq > 0";
        database.query_row(rows, [], |row| row.get::<_, i64>(0)).is_ok_and(|count| count == 1)
    });
    drop(writer);
}
