//! Live view: `claude-peers top` on a real terminal, with real sessions: what it shows, and what keys do.
//! Promise 5: text of peers does nothing to the terminal.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use crate::support::hooks::context;
use crate::support::http::{RawPeer, Request, unix};
use crate::support::{
    PROGRAM, Sandbox, Screen, Session, SessionOptions, repository, send_signal, until,
};

const ENTER: &str = "\r";
const ESCAPE: &str = "\u{1b}";
const DOWN: &str = "\u{1b}[B";
const CTRL_C: &str = "\u{3}";
const CTRL_Z: &str = "\u{1a}";

fn top(sandbox: &Sandbox, columns: u16, rows: u16) -> Screen {
    Screen::start(sandbox.command(["top"]), columns, rows)
}

/// A peer without a server whose event stream is open, so that it is live.
fn live_peer(sandbox: &Sandbox, name: &str) -> (RawPeer, UnixStream) {
    let peer = RawPeer::register(sandbox, name);
    let mut stream = unix(sandbox);
    stream.write_all(&Request::get("/v1/stream").session(&peer.secret).bytes()).unwrap();
    let mut line = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while !line.contains("ready") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the stream of {name} opens");
    }
    (peer, stream)
}

fn two_sessions(sandbox: &Sandbox) -> (Session, Session) {
    let (mut backend, frontend) = (sandbox.session("backend"), sandbox.session("frontend"));
    backend.call("set_summary", json!({ "summary": "Works on the orders API." }));
    (backend, frontend)
}

#[test]
fn peers_appear_and_a_message_flows_and_changes_its_state() {
    let sandbox = Sandbox::new();
    let screen = top(&sandbox, 80, 24);
    screen.until_shows("No sessions yet.");
    screen.picture("empty-80x24");
    let (mut backend, mut frontend) = two_sessions(&sandbox);
    screen.until("both peers and the summary", |text| {
        text.contains("2 live") && text.contains("Works on the") && text.contains("frontend")
    });
    frontend.send("backend", "Could you add a cursor to GET /orders?");
    let states = |text: &str| {
        let line = text.lines().find(|line| line.contains("frontend → backend")).unwrap_or("");
        let words = ["queued", "offered", "read"];
        words.into_iter().find(|word| line.contains(word)).unwrap_or_default().to_owned()
    };
    screen.until("the message is offered", |text| states(text) == "offered");
    let taken = backend.call("check_messages", json!({}));
    assert_eq!(taken["structuredContent"]["messages"].as_array().unwrap().len(), 1);
    backend.send("frontend", "Done: it returns next_cursor now.");
    screen.until("the message is read", |text| states(text) == "read");
    screen.until_shows("backend → frontend");
    screen.picture("messages-80x24");
    drop(frontend);
    screen.until_shows("1 live");
}

#[test]
fn what_a_session_is_doing_is_shown_and_where() {
    let sandbox = Sandbox::new().with("CLAUDE_PID", std::process::id().to_string());
    let directory = sandbox.home().join("project");
    repository(&directory);
    let _session = SessionOptions::new("backend").directory(&directory).start(&sandbox);
    let screen = top(&sandbox, 80, 24);
    screen.until("its directory, and the branch", |text| {
        text.contains("~/project") && text.contains("main")
    });
    let state = |screen: &Screen| -> String {
        let text = screen.text();
        let line = text.lines().find(|line| line.starts_with('▸')).unwrap_or_default();
        line.split_whitespace().nth(1).unwrap_or_default().to_owned()
    };
    let hook = |event| context(&sandbox, event, "backend", "t1", json!({ "cwd": directory }));
    hook("UserPromptSubmit");
    screen.until("busy", |_| state(&screen) == "busy");
    screen.picture("busy-80x24");
    hook("Stop");
    screen.until("idle", |_| state(&screen) == "idle");
}

#[test]
fn a_person_reads_a_conversation_and_sends_to_it() {
    let sandbox = Sandbox::new();
    let (mut backend, mut frontend) = two_sessions(&sandbox);
    frontend.send("backend", "Could you add a cursor to GET /orders?\nThe page needs it.");
    let mut screen = top(&sandbox, 80, 24);
    screen.until_shows("frontend → backend");
    screen.types(ENTER);
    screen.until_shows("The page needs it.");
    screen.types("s");
    screen.until_shows("To backend");
    // What is pasted is text, whatever it is made of: no key, and no escape.
    screen.types("hello ");
    screen.types("\u{1b}[200~from q\u{7}\rtop\u{1b}[201~");
    screen.until_shows("from q\u{2407}");
    screen.picture("writing-80x24");
    screen.types(ENTER);
    screen.until_shows("Sent to backend");
    while backend.push()["content"].as_str().unwrap() != "hello from q\u{2407}\ntop" {}
    screen.until("the message is in the conversation, and the field empty", |text| {
        text.contains("cli → backend") && text.matches("hello from q").count() == 1
    });
    backend.send("cli", "Hello, person.");
    screen.until_shows("Hello, person.");
    screen.types(ESCAPE);
    screen.until_shows("Enter");
    screen.picture("conversation-80x24");
    let log = sandbox.json(["log"]);
    let sent = &log["messages"].as_array().unwrap()[1];
    assert_eq!(sent["text"], "hello from q\u{2407}\ntop");
    screen.types("q");
    assert!(screen.ends().success());
}

#[test]
fn a_message_that_is_refused_is_kept_and_says_why() {
    let sandbox = Sandbox::new().with("CLAUDE_PEERS_MAX_MESSAGE_BYTES", "16");
    let _session = sandbox.session("backend");
    let mut screen = top(&sandbox, 80, 24);
    screen.until_shows("backend");
    screen.types("s");
    screen.until_shows("To backend");
    screen.types("this is too longx");
    screen.types(ENTER);
    screen.until("the reason and the text", |text| {
        text.contains("16 are allowed") && text.contains("this is too long")
    });
    screen.picture("refused-80x24");
    // Later the draft is still there.
    screen.types(ESCAPE);
    screen.until("it is closed", |text| !text.contains("this is too long"));
    screen.types("s");
    screen.until_shows("this is too long");
    screen.types("\u{7f}\r");
    screen.until_shows("Sent to backend");
}

#[test]
fn a_search_finds_old_messages_and_leads_to_their_conversation() {
    let sandbox = Sandbox::unlimited();
    let (_backend, mut frontend) = two_sessions(&sandbox);
    frontend.send("backend", "The walrus is in the harbour.");
    for number in 0..300 {
        frontend.send("backend", &format!("message number {number}"));
    }
    let mut screen = top(&sandbox, 80, 24);
    screen.until_shows("message number 299");
    screen.types("/");
    screen.types("WALRUS harb");
    screen.types(ENTER);
    screen.until("it is found", |text| text.contains("1 found") && text.contains("walrus is"));
    screen.picture("search-80x24");
    screen.types(ENTER);
    screen.until("it is shown in its place", |text| {
        text.contains("◂ found") && text.contains("End: newest") && !text.contains("number")
    });
    screen.picture("found-80x24");
    screen.types("G");
    screen.until_shows("message number 299");
    // Older messages are read as they are wanted.
    screen.types("g");
    screen.until("older ones", |text| !text.contains("299"));
    for _ in 0..30 {
        screen.types("g");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    screen.until_shows("The walrus is in the harbour.");
    screen.types(ESCAPE);
    screen.until_shows("1 found");
}

#[test]
fn it_fits_any_terminal_and_shows_two_hundred_peers() {
    let sandbox = Sandbox::unlimited();
    sandbox.ok(["peers"]);
    let peers: Vec<_> =
        (0..200).map(|number| live_peer(&sandbox, &format!("peer-{number:03}"))).collect();
    let mut screen = top(&sandbox, 80, 24);
    screen.until_shows("200 live");
    peers[0].0.send(&sandbox, "peer-199", "to the last one");
    screen.until_shows("peer-000 → peer-199");
    screen.picture("200-peers-80x24");
    screen.types("G");
    screen.until_shows("▸peer-199");
    for (columns, rows) in [(120, 40), (200, 50), (40, 10), (300, 100), (80, 24)] {
        screen.resize(columns, rows);
        let widest = usize::from(columns);
        screen.until(&format!("{columns}x{rows}"), |text| {
            let fits = text.lines().all(|line| line.chars().count() <= widest);
            let is_redrawn = text.lines().count() == usize::from(rows);
            fits && is_redrawn && text.contains("▸peer-199") && text.contains("quit")
        });
        screen.picture(&format!("200-peers-{columns}x{rows}"));
    }
    screen.resize(30, 5);
    screen.until_shows("Too small");
    screen.resize(120, 40);
    screen.until_shows("▸peer-199");
    screen.types(ENTER);
    screen.until("the conversation beside the list", |text| {
        text.contains("▸peer-199") && text.matches("to the last one").count() == 1
    });
    // With the mouse: the first line of the list, after some of the wheel.
    screen.types(&"\u{1b}[<64;5;5M".repeat(100));
    screen.until_shows(" peer-000");
    screen.types("\u{1b}[<0;5;3M\u{1b}[<0;5;3m");
    screen.until_shows("▸peer-000");
    screen.until_shows("to the last one");
    screen.picture("200-peers-conversation-120x40");
    drop(peers);
    screen.until_shows("0 live");
}

#[test]
fn the_terminal_is_given_back_as_it_was() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let line = r#"stty -a >before; "$0" top; echo "code=$?"; stty -a >after; cmp before after && echo same"#;
    type Leave = fn(&mut Screen, u32);
    let leave: [(Leave, &str); 4] = [
        (|screen, _| screen.types("q"), "code=0"),
        (|screen, _| screen.types(CTRL_C), "code=0"),
        (|_, top| send_signal(top, Signal::TERM), "code=143"),
        (|_, top| send_signal(top, Signal::INT), "code=130"),
    ];
    for (leave, code) in leave {
        let command = sandbox.command_of("sh", ["-c", line, PROGRAM]);
        let mut screen = Screen::start(command, 80, 24);
        screen.until_shows("No sessions yet.");
        assert!(screen.is_alternate());
        assert_eq!(screen.modes(), (true, true, true));
        let child = child_of(screen.child.id());
        leave(&mut screen, child);
        screen.until_shows(code);
        screen.until_shows("same");
        assert!(!screen.is_alternate());
        assert_eq!(screen.modes(), (false, false, false));
        assert!(!screen.text().contains("No sessions yet."), "{}", screen.text());
        screen.ends();
    }
}

/// The process that this one started and waits for.
fn child_of(parent: u32) -> u32 {
    let mut child = None;
    until("it has a child", || {
        let output = std::process::Command::new("ps")
            .args(["-A", "-o", "pid=,ppid="])
            .stderr(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        child = text.lines().find_map(|line| {
            let mut numbers = line.split_whitespace().map(|word| word.parse::<u32>().unwrap());
            let (pid, its_parent) = (numbers.next()?, numbers.next()?);
            (its_parent == parent).then_some(pid)
        });
        child.is_some()
    });
    child.unwrap()
}

#[test]
fn it_is_stopped_and_continued_as_any_program() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let line = r#"set -m; "$0" top; echo "stopped=$?"; read answer; fg; echo "over=$?""#;
    let mut screen = Screen::start(sandbox.command_of("sh", ["-c", line, PROGRAM]), 80, 24);
    screen.until_shows("No sessions yet.");
    screen.types(CTRL_Z);
    screen.until_shows("stopped=");
    assert!(!screen.is_alternate());
    // The shell reads whole lines: the terminal is not raw.
    screen.types("continue\r");
    screen.until_shows("No sessions yet.");
    assert!(screen.is_alternate());
    let _session = sandbox.session("backend");
    screen.until_shows("1 live");
    screen.types("q");
    screen.until_shows("over=0");
}

#[test]
fn a_broker_that_goes_away_is_found_again() {
    let sandbox = Sandbox::new();
    let mut screen = top(&sandbox, 80, 24);
    screen.until_shows("No sessions yet.");
    until("the broker is killed", || sandbox.kill9_broker().is_some());
    screen.until_shows("The broker has stopped.");
    screen.picture("stopped-80x24");
    // Another program starts it.
    sandbox.ok(["peers"]);
    screen.until_shows("0 live");
    sandbox.ok(["kill-broker"]);
    screen.until_shows("The broker has stopped.");
    assert!(sandbox.broker().is_none(), "who stopped it meant it");
    screen.types("r");
    screen.until_shows("0 live");
    assert!(sandbox.broker().is_some());
}

#[test]
fn text_of_peers_does_nothing_to_the_terminal() {
    let sandbox = Sandbox::new();
    let (mut backend, mut frontend) = two_sessions(&sandbox);
    let hostile = "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\u{202e}desrever\u{1b}[?1049l\r\u{8}end";
    backend.call("set_summary", json!({ "summary": hostile }));
    frontend.send("backend", hostile);
    for wide in [80, 140] {
        let mut screen = top(&sandbox, wide, 24);
        screen.until("all of it, visible", |text| {
            text.contains("2 live") && text.contains("frontend → backend") && text.contains("end")
        });
        assert!(screen.is_alternate());
        screen.types(ENTER);
        screen.until_shows("[U+202E]");
        screen.picture(&format!("hostile-{wide}x24"));
        assert!(screen.is_alternate());
        screen.types("q");
        assert!(screen.ends().success());
    }
}

#[test]
fn it_needs_a_terminal_and_no_colours() {
    let sandbox = Sandbox::new();
    let (code, error) = sandbox.fails(["top"]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("claude-peers peers"), "{error}");
    assert!(sandbox.broker().is_none(), "nothing was started");
    let _session = sandbox.session("backend");
    for (name, value, expected) in
        [("TERM", "xterm", true), ("NO_COLOR", "1", false), ("TERM", "dumb", false)]
    {
        let mut command = sandbox.command(["top"]);
        command.env("TERM", "xterm").env(name, value);
        let screen = Screen::start_as(command, 80, 24);
        screen.until_shows("▸backend");
        assert_eq!(screen.has_colours(), expected, "{name}={value}");
        screen.picture(&format!("colours-{name}-{value}"));
    }
    let mut without_mouse = Screen::start(sandbox.command(["top", "--no-mouse"]), 80, 24);
    without_mouse.until_shows("▸backend");
    assert_eq!(without_mouse.modes(), (true, false, true));
    without_mouse.types(DOWN);
    without_mouse.types("?");
    without_mouse.until_shows("search the history");
    without_mouse.picture("help-80x24");
}
