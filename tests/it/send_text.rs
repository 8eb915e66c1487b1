//! Command line: the text of `send` from words that begin with a dash, and from files.

use std::process::Output;

use serde_json::json;

use crate::support::http::RawPeer;
use crate::support::{Sandbox, SessionOptions, until};

/// The text of the message whose id `send` printed.
#[track_caller]
fn sent(sandbox: &Sandbox, output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    let id = printed.split(' ').next().unwrap();
    sandbox.message(id)["text"].as_str().unwrap().to_owned()
}

#[test]
fn text_that_begins_with_a_dash_is_sent_and_a_misspelt_option_is_not() {
    let sandbox = Sandbox::unlimited();
    sandbox.ok(["peers"]);
    let _peer = RawPeer::register(&sandbox, "backend");
    for (words, text) in [
        (&["backend", "- build: green"][..], "- build: green"),
        (&["backend", "- one\n- two"], "- one\n- two"),
        (&["backend", "-1"], "-1"),
        (
            &["backend", "--- a/src/main.rs\n+++ b/src/main.rs"],
            "--- a/src/main.rs\n+++ b/src/main.rs",
        ),
        (&["backend", "-> done"], "-> done"),
        (&["backend", "--force was wrong"], "--force was wrong"),
        (&["backend", "see:", "- a", "- b"], "see: - a - b"),
        (&["backend", "--", "--json"], "--json"),
    ] {
        let line: Vec<&str> = ["send"].iter().chain(words).copied().collect();
        assert_eq!(sent(&sandbox, &sandbox.run(&line)), text);
    }
    // Options count in every position.
    let said = sandbox.json(["send", "backend", "- build: green"]);
    assert_eq!(said["state"], "queued");
    let text = "- after all";
    let output = sandbox.run(["send", "backend", text, "--json"]);
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(sandbox.message(said["id"].as_str().unwrap())["text"], text);

    let before = sandbox.json(["log", "-n", "100"])["messages"].as_array().unwrap().len();
    for wrong in ["--jsno", "-x", "--wiat=5"] {
        let output = sandbox.run(["send", "backend", "hello", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
    }
    let after = sandbox.json(["log", "-n", "100"])["messages"].as_array().unwrap().len();
    assert_eq!(after, before, "nothing was sent");
}

#[test]
fn a_file_is_sent_as_it_stands_and_an_error_names_it() {
    let sandbox = Sandbox::unlimited();
    sandbox.ok(["peers"]);
    let _peer = RawPeer::register(&sandbox, "backend");
    let directory = sandbox.path().join("notes");
    std::fs::create_dir(&directory).unwrap();
    let write = |name: &str, content: &[u8]| std::fs::write(directory.join(name), content).unwrap();
    let run = |arguments: &[&str]| -> Output {
        sandbox.command(arguments).current_dir(&directory).output().unwrap()
    };
    for (content, text) in [
        ("- build: green\n", "- build: green"),
        ("two\nlines\n\n", "two\nlines\n"),
        ("\u{feff}with a mark", "with a mark"),
        ("ünïcödé 🦀", "ünïcödé 🦀"),
    ] {
        write("note.md", content.as_bytes());
        assert_eq!(sent(&sandbox, &run(&["send", "backend", "--file", "note.md"])), text);
        assert_eq!(sent(&sandbox, &run(&["send", "--file=./note.md", "backend"])), text);
    }
    let mut piped = sandbox.command(["send", "backend", "--file", "-"]);
    piped.stdin(std::fs::File::open(directory.join("note.md")).unwrap());
    assert_eq!(sent(&sandbox, &piped.output().unwrap()), "ünïcödé 🦀");
    let line = "echo by a pipe | claude-peers send backend --file /dev/stdin";
    assert_eq!(sent(&sandbox, &sandbox.shell(line)), "by a pipe");

    let before = sandbox.json(["log", "-n", "100"])["messages"].as_array().unwrap().len();
    write("binary", b"\xff\xfe");
    write("blank", b" \n\n");
    write("large", &[b'x'; 65_537]);
    write("huge", &vec![b'x'; 3_000_000]);
    std::fs::create_dir(directory.join("directory")).unwrap();
    for (name, words) in [
        ("missing", vec!["missing", "No such file"]),
        ("directory", vec!["directory", "cannot be read"]),
        ("binary", vec!["binary", "not UTF-8"]),
        ("blank", vec!["blank", "is empty"]),
        ("large", vec!["65537 bytes, 65536 are allowed"]),
        ("huge", vec!["huge", "the limit is 65536"]),
    ] {
        let output = run(&["send", "backend", "--file", name]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {error}");
        for word in words {
            assert!(error.contains(word), "{name}: {error}");
        }
    }
    for wrong in [
        &["send", "backend", "text", "--file", "note.md"][..],
        &["send", "--file", "note.md"],
        &["send", "--scope", "machine"],
        &["send", "--scope", "machine", "text", "--file", "note.md"],
    ] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
    let after = sandbox.json(["log", "-n", "100"])["messages"].as_array().unwrap().len();
    assert_eq!(after, before, "nothing was sent");
}

#[test]
fn a_scope_takes_a_file_and_a_dash_as_well() {
    let sandbox = Sandbox::unlimited();
    let mut session = SessionOptions::new("backend").without_channel().at_once().start(&sandbox);
    until("it is live", || session.me()["live"] == true);
    let file = sandbox.path().join("note.md");
    std::fs::write(&file, "- from a file\n").unwrap();
    sandbox.ok(["send", "--scope", "machine", "--file", file.to_str().unwrap()]);
    sandbox.ok(["send", "--scope", "machine", "- from words"]);
    let mail = session.call("check_messages", json!({}))["structuredContent"].clone();
    assert_eq!(mail["messages"][0]["text"], "- from a file");
    assert_eq!(mail["messages"][1]["text"], "- from words");
}
