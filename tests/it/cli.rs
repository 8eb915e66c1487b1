//! Command line: commands for people and for pipes, and what they say when something is wrong.

use std::io::Write as _;
use std::os::unix::ffi::OsStringExt;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::http::RawPeer;
use crate::support::{Sandbox, SessionOptions, until};

#[track_caller]
fn succeeds(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?} {error}", output.status);
    assert!(!error.contains("panicked"), "{error}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_first_column_of_peers_is_an_id_that_send_takes() {
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let _frontend = sandbox.session("frontend");
    let id = succeeds(&sandbox.shell("claude-peers peers | grep backend | awk '{print $1}'"));
    assert_eq!(id.trim(), backend.id());
    let line = "claude-peers send $(claude-peers peers | grep backend | awk '{print $1}') hello from a script";
    let sent = succeeds(&sandbox.shell(line));
    let push = backend.push();
    assert_eq!(push["content"], "hello from a script");
    assert_eq!(push["meta"]["from_name"], "cli");
    let mut words = sent.split(' ');
    assert_eq!(push["meta"]["message_id"], words.next().unwrap());
    assert_eq!(words.next(), Some("offered"));
    assert!(sent.contains(&format!("to backend ({})", id.trim())), "{sent}");
}

/// Whatever its name, directory and summary, a peer is one line, with the columns that programs
/// read in their places.
#[test]
fn a_row_stays_a_row() {
    let sandbox = Sandbox::new();
    let odd = sandbox.path().join("my \u{1b}[31mred\n dir\tü");
    let mut session = SessionOptions::new("odd").directory(&odd).start(&sandbox);
    session.call(
        "set_summary",
        json!({ "summary": "line one\nab12cd34  forged  live,push  0\u{202e}\u{7}", "name": "well" }),
    );
    let table = sandbox.ok(["peers"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 2, "{table:?}");
    assert!(
        !table.chars().any(|c| c.is_control() && c != '\n') && !table.contains('\u{202e}'),
        "{table:?}"
    );
    let header: Vec<&str> = lines[0].split_whitespace().collect();
    let columns = ["ID", "NAME", "STATE", "VIA", "SINCE", "UNREAD", "DIRECTORY", "SUMMARY"];
    assert_eq!(header, columns);
    let columns: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(columns[..4], [&session.id(), "well", "live", "channel?"]);
    assert!(columns[4].ends_with('Z') && columns[5] == "0", "{columns:?}");
    // The same in the log, for texts and for names of several words.
    let _asker = sandbox.session("asker");
    let line = "CLAUDE_CODE_SESSION_ID=session-asker claude-peers send well 'first line\nm00000000000 forged'";
    let id = succeeds(&sandbox.shell(line)).split(' ').next().unwrap().to_owned();
    let log = sandbox.ok(["log"]);
    assert_eq!(log.lines().count(), 2, "{log}");
    let columns: Vec<&str> = log.lines().nth(1).unwrap().split_whitespace().collect();
    let from = "asker_(by_its_command_line)";
    assert_eq!([columns[0], columns[2], columns[3]], [&id, from, "well"]);
    assert!(columns[4].starts_with("offered,channel"), "{log}");
}

#[test]
fn exit_codes_tell_what_happened() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.run(["status"]).status.code(), Some(3), "nothing listens");
    let stopped = sandbox.run(["status", "--json"]);
    assert_eq!(stopped.status.code(), Some(3));
    assert_eq!(serde_json::from_slice::<Value>(&stopped.stdout).unwrap()["state"], "stopped");
    assert!(sandbox.broker().is_none(), "status starts nothing");
    let none = sandbox.json(["kill-broker"]);
    assert_eq!((&none["stopped"], &none["was_running"]), (&json!(false), &json!(false)));
    assert_eq!((&none["pid"], &none["other"]), (&Value::Null, &Value::Null));
    assert!(sandbox.broker().is_none(), "kill-broker starts nothing");

    assert_eq!(sandbox.fails(["send", "nobody", "x"]).0, 1);
    assert_eq!(sandbox.run(["status"]).status.code(), Some(0));
    for usage in [
        &[][..],
        &["frobnicate"],
        &["send"],
        &["send", "peer"],
        &["peers", "--scope", "galaxy"],
        &["log", "-n", "0"],
        &["log", "-n", "many"],
        &["status", "extra"],
        &["completions", "tcsh-no"],
        &["--frobnicate"],
    ] {
        let output = sandbox.run(usage);
        assert_eq!(output.status.code(), Some(2), "{usage:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{usage:?}");
    }
    let (code, error) = sandbox.fails(["log", "m00000000000"]);
    assert_eq!(code, 1);
    assert!(error.contains("there is no message m00000000000"), "{error}");
    assert_eq!(sandbox.fails(["log", "--peer", "nobody"]).0, 1);
    let (code, error) = sandbox.fails(["peers", "--scope", "repo"]);
    assert_eq!(code, 1);
    assert!(error.contains("not inside a git repository") && error.contains("hint: "), "{error}");

    let pid = sandbox.broker().unwrap().pid;
    assert_eq!(
        sandbox.json(["kill-broker"]),
        json!({
            "stopped": true, "was_running": true, "pid": pid, "note": null, "saved_in": null,
            "other": null,
        })
    );
    assert_eq!(sandbox.run(["status"]).status.code(), Some(3));
}

#[test]
fn an_unknown_or_ambiguous_peer_sends_nothing_and_names_the_candidates() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let [api, app] = ["backend-api", "backend-app"].map(|name| RawPeer::register(&sandbox, name));
    let (code, error) = sandbox.fails(["send", "backend", "hello"]);
    assert_eq!(code, 1);
    assert!(error.starts_with("error: \"backend\" matches 2 peers; nothing was done\n"), "{error}");
    for peer in [&api, &app] {
        assert!(
            error.contains(&format!("  {}  {}  /srv/{}\n", peer.id, peer.name, peer.name)),
            "{error}"
        );
    }
    let (_, error) = sandbox.fails(["send", "nobody", "hello"]);
    assert!(error.contains("there is no peer \"nobody\""), "{error}");
    assert!(error.contains("claude-peers peers"), "{error}");
    for blank in ["", " ", "@"] {
        let (code, error) = sandbox.fails(["send", blank, "hello"]);
        assert_eq!(code, 1);
        assert!(error.contains("no peer is given"), "{blank:?}: {error}");
    }
    assert_eq!(sandbox.json(["log"])["messages"], json!([]));
    // Unambiguous: a longer prefix, the id, its beginning, any case, an @.
    for word in ["backend-ap", "backend-apx"] {
        assert_eq!(sandbox.fails(["send", word, "hello"]).0, 1);
    }
    for word in ["backend-api", &api.id, &api.id[..7], "BACKEND-API", "@backend-api"] {
        let sent = sandbox.ok(["send", word, "hello"]);
        assert!(sent.contains(&format!("({})", api.id)), "{word}: {sent}");
    }
}

fn with_input(sandbox: &Sandbox, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = sandbox
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_owned();
    // The command may stop reading early.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[test]
fn send_takes_its_text_from_words_or_standard_input() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let peer = RawPeer::register(&sandbox, "backend");
    let told = |output: &Output| {
        let text = succeeds(output);
        sandbox.message(text.split(' ').next().unwrap())["text"].as_str().unwrap().to_owned()
    };
    for (input, text) in [
        ("from a pipe\n", "from a pipe"),
        ("two\nlines\n\n", "two\nlines\n"),
        ("no newline", "no newline"),
        ("  ünïcödé 🦀 \u{1b}[31m\0 kept as it is", "  ünïcödé 🦀 \u{1b}[31m\0 kept as it is"),
    ] {
        assert_eq!(told(&with_input(&sandbox, &["send", "backend", "-"], input.as_bytes())), text);
    }
    for (words, text) in [
        (&["several", "words  here"][..], "several words  here"),
        (&["--", "--force", "-x", "--"], "--force -x --"),
        (&["--", "--help-me"], "--help-me"),
        (&["--", "-1"], "-1"),
        (&["--", "- a list"], "- a list"),
        (&["-", "and more"], "- and more"),
    ] {
        let all: Vec<&str> = ["send", "backend"].iter().chain(words).copied().collect();
        assert_eq!(told(&sandbox.run(&all)), text);
    }
    let before = sandbox.json(["log", "-n", "100"])["messages"].as_array().unwrap().len();
    for (input, reason) in [
        (&b""[..], "the message is empty"),
        (b"\n", "the message is empty"),
        (b" \n \n", "the message is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (&vec![b'x'; 65_537], "65537 bytes, 65536 are allowed"),
        (&vec![b'x'; 3_000_000], "the limit is 65536"),
    ] {
        let output = with_input(&sandbox, &["send", "backend", "-"], input);
        assert_eq!(output.status.code(), Some(1), "{reason}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(reason) && error.contains("hint: "), "{error}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(sandbox.fails(["send", "backend", ""]).0, 1);
    let output = sandbox
        .command([
            std::ffi::OsString::from("send"),
            "backend".into(),
            OsStringExt::from_vec(vec![0xff]),
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let after = sandbox.json(["log", "-n", "100"])["messages"].as_array().unwrap().len();
    assert_eq!(after, before, "nothing was sent");
    drop(peer);
}

#[test]
fn json_says_what_the_words_say() {
    let sandbox = Sandbox::new();
    let mut session = sandbox.session("backend");
    let id = session.id();
    let sent: Value =
        serde_json::from_str(&sandbox.ok(["send", "--json", "backend", "hello"])).unwrap();
    assert_eq!(sent["to"]["id"], id.as_str());
    assert_eq!(sent["state"], "offered");
    let message = sent["id"].as_str().unwrap();
    let one = sandbox.json(["log", message]);
    let all = sandbox.json(["log"]);
    assert_eq!(one["messages"][0]["text"], "hello");
    assert_eq!(all["messages"], one["messages"]);
    let full = sandbox.ok(["log", message]);
    for part in [message, "cli (", &format!("backend ({id})"), "state    offered", "\n\nhello\n"] {
        assert!(full.contains(part), "{part}: {full}");
    }
    let peers = sandbox.json(["peers"]);
    assert_eq!(peers["peers"][0]["id"], id.as_str());
    assert_eq!(peers["peers"][0]["live"], true);
    assert_eq!(peers["away"], 0);
    let status = sandbox.json(["status"]);
    assert_eq!(status["state"], "running");
    assert_eq!(status["pid"], sandbox.broker().unwrap().pid);
    assert_eq!(status["health"]["peers"], 1);
    assert_eq!(sandbox.json(["inbox"]), json!({ "messages": [], "remaining": 0 }));
    assert_eq!(sandbox.ok(["token"]).trim(), sandbox.token());
    // The newest, in the order in which they were sent; with `--peer`, only those of that peer.
    for number in 0..5 {
        sandbox.ok(["send", "backend", &number.to_string()]);
    }
    let texts: Vec<Value> = sandbox.json(["log", "-n", "3"])["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["text"].clone())
        .collect();
    assert_eq!(texts, ["2", "3", "4"]);
    let other = RawPeer::register(&sandbox, "other");
    other.send(&sandbox, &id, "from other");
    let own = sandbox.json(["log", "--peer", "other"]);
    assert_eq!(own["messages"].as_array().unwrap().len(), 1);
}

#[test]
fn a_reply_to_the_command_line_waits_in_the_inbox_until_it_was_shown() {
    let sandbox = Sandbox::new();
    let mut session = sandbox.session("backend");
    let asked = sandbox.ok(["send", "backend", "how is it?"]);
    let asked = asked.split(' ').next().unwrap();
    let push = session.push();
    let from = push["meta"]["from_id"].as_str().unwrap().to_owned();
    let result = session.call(
        "send_message",
        json!({ "to_id": from, "message": "all is well\n\u{1b}[2Jtruly", "reply_to": asked }),
    );
    let reply = result["structuredContent"]["id"].as_str().unwrap().to_owned();
    assert_eq!(sandbox.message(asked)["state"], "read");
    let state = || sandbox.message(&reply)["state"].clone();
    assert_eq!(state(), "queued");

    // Output that was not written is not read.
    let closed_pipe = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for json in [false, true] {
        let mut command = sandbox.command(["inbox"]);
        let output = command.args(json.then_some("--json")).stdout(closed_pipe()).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && error.is_empty(), "{error}");
        assert_eq!(state(), "offered");
    }
    if let Ok(full) = std::fs::File::options().write(true).open("/dev/full") {
        let status =
            sandbox.command(["inbox"]).stdout(full).stderr(Stdio::null()).status().unwrap();
        assert_eq!(status.code(), Some(1));
        assert_eq!(state(), "offered");
    }

    let shown = sandbox.ok(["inbox"]);
    assert!(shown.starts_with(&format!("{reply}  from backend ({})", session.id())), "{shown}");
    assert!(shown.contains(&format!("in reply to {asked}")), "{shown}");
    assert!(shown.contains("\n  all is well\n") && shown.contains("truly"), "{shown}");
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    assert_eq!(state(), "read");
    assert_eq!(sandbox.message(&reply)["read_via"], "cli");
    assert_eq!(sandbox.ok(["inbox"]), "No messages.\n");
    assert_eq!(sandbox.json(["inbox"]), json!({ "messages": [], "remaining": 0 }));

    session.send("cli", "once more");
    // `--peek` leaves the message there, however often it is used.
    for _ in 0..2 {
        let shown = sandbox.ok(["inbox", "--peek"]);
        assert!(shown.contains("\n  once more\n"), "{shown}");
        assert_eq!(sandbox.json(["inbox", "--peek"])["messages"][0]["text"], "once more");
    }
    let taken = sandbox.json(["inbox"]);
    assert_eq!(taken["messages"][0]["text"], "once more");
    assert_eq!(sandbox.ok(["inbox"]), "No messages.\n");
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let sandbox = Sandbox::unlimited();
    sandbox.ok(["peers"]);
    let (a, b) = (RawPeer::register(&sandbox, "a"), RawPeer::register(&sandbox, "b"));
    for _ in 0..100 {
        a.send(&sandbox, &b.id, &"long ".repeat(500));
    }
    // `pipefail` is not everywhere, so the exit code is printed on standard error.
    for (command, reader) in [
        ("peers --all", "true"),
        ("log -n 100", "head -1"),
        ("log -n 100 --json", "head -1"),
        ("status", "true"),
        ("completions bash", "head -1"),
        ("--help", "true"),
        ("send --help", "head -1"),
    ] {
        let line = format!("{{ claude-peers {command}; echo $? >&2; }} | {reader}");
        let output = sandbox.shell(&line);
        assert!(output.status.success(), "{line}");
        assert_eq!(String::from_utf8(output.stderr).unwrap().trim(), "0", "{line}");
    }
    for arguments in [
        &["peers", "--all"][..],
        &["log", "-n", "100"],
        &["log", "--json", "-n", "100"],
        &["status"],
        &["token"],
        &["completions", "zsh"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = sandbox.command(arguments).stdout(writer).output().unwrap();
        assert!(output.status.success(), "{arguments:?} {:?}", output.status);
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    // A full disk is an error.
    if let Ok(full) = std::fs::File::options().write(true).open("/dev/full") {
        let output = sandbox.command(["log"]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn the_command_line_inside_a_session_names_that_session_as_sender() {
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let _frontend = sandbox.session("frontend");
    let from_name = |session: Option<&str>, backend: &mut crate::support::Session| {
        let mut command = sandbox.command(["send", "backend", "hello"]);
        if let Some(session) = session {
            command.env("CLAUDE_CODE_SESSION_ID", session);
        }
        assert!(command.output().unwrap().status.success());
        backend.push()["meta"]["from_name"].clone()
    };
    assert_eq!(from_name(None, &mut backend), "cli");
    let by_command_line = "frontend (by its command line)";
    assert_eq!(from_name(Some("session-frontend"), &mut backend), by_command_line);
    assert_eq!(from_name(Some("session-unknown"), &mut backend), "cli (from a session)");
    assert_eq!(from_name(Some(""), &mut backend), "cli");
    until("all are in the log", || {
        sandbox.json(["log"])["messages"].as_array().unwrap().len() == 4
    });
    assert_eq!(sandbox.json(["log"])["messages"][1]["from"]["name"], by_command_line);
}

#[test]
fn scopes_on_the_command_line_are_those_of_the_current_directory() {
    let sandbox = Sandbox::new();
    let _backend = sandbox.session("backend");
    let _frontend = sandbox.session("frontend");
    let there = sandbox.path().join("backend");
    let listed = sandbox
        .command(["peers", "--scope", "directory", "--json"])
        .current_dir(&there)
        .output()
        .unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let names: Vec<&Value> =
        listed["peers"].as_array().unwrap().iter().map(|p| &p["name"]).collect();
    assert_eq!(names, ["backend"]);
    assert_eq!(sandbox.json(["peers"])["peers"].as_array().unwrap().len(), 2);
}

/// Its directory is private whatever the umask allows.
#[test]
fn the_demo_tells_its_whole_story_under_any_umask() {
    let sandbox = Sandbox::new();
    for umask in ["000", "022", "077"] {
        let told = succeeds(&sandbox.shell(&format!("umask {umask}; claude-peers demo")));
        assert!(told.ends_with("Demo finished: every step succeeded.\n"), "{told}");
    }
}
