//! Command line: what `docs/json.md` promises of `--json`: keys that are always there, and errors.

use std::collections::BTreeSet;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::Sandbox;

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The objects on standard error, one a line.
fn told(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{text}")))
        .collect()
}

#[test]
fn a_key_is_there_whatever_the_state() {
    let sandbox = Sandbox::new();
    let stopped = document(&sandbox.run(["status", "--json"]));
    let none = sandbox.json(["kill-broker"]);
    sandbox.ok(["peers"]);
    let running = sandbox.json(["status"]);
    assert_eq!(keys(&stopped), keys(&running));
    assert_eq!((&stopped["pid"], &stopped["health"]), (&Value::Null, &Value::Null));
    let killed = sandbox.json(["kill-broker"]);
    assert_eq!(keys(&none), keys(&killed));
    assert_eq!(killed["pid"], running["pid"]);

    let mut backend = sandbox.session("backend");
    let peers = sandbox.json(["peers"]);
    assert_eq!(keys(&peers), keys(&sandbox.json(["peers", "--all"])));
    assert_eq!((&peers["me"], &peers["away_unread"]), (&Value::Null, &json!(0)));
    let sent = sandbox.json(["send", "backend", "hello"]);
    let waited = document(&sandbox.run(["send", "backend", "well?", "--wait", "1", "--json"]));
    assert!(keys(&sent).is_subset(&keys(&waited)), "{sent} {waited}");
    assert_eq!((&waited["answer"], &waited["state"]), (&Value::Null, &json!("offered")));
    // A received message is like one of the log, as far as its receiver knows it.
    backend.send("cli", "news");
    let received = sandbox.json(["inbox"])["messages"][0].clone();
    let logged = sandbox.message(received["id"].as_str().unwrap());
    for key in ["id", "text", "sent_at", "reply_to"] {
        assert_eq!(received[key], logged[key], "{key}");
    }
    assert_eq!(received["from"]["name"], logged["from"]["name"]);
    let report = document(&sandbox.run(["doctor", "--no-claude", "--json"]));
    for finding in report["findings"].as_array().unwrap() {
        assert_eq!(keys(finding).len(), 5, "{finding}");
    }
}

#[test]
fn an_error_is_an_object_on_standard_error() {
    let sandbox = Sandbox::new();
    let mut session = sandbox.session("backend");
    let backend = session.id();
    let fails = |words: &[&str]| {
        let output = sandbox.run([words, &["--json"]].concat());
        let mut told = told(&output);
        let error = told.pop().unwrap()["error"].clone();
        assert_eq!(keys(&error).len(), 5, "{error}");
        (output.status.code().unwrap(), error, output.stdout)
    };
    let (code, error, out) = fails(&["send", "bakcend", "hello"]);
    assert_eq!((code, error["code"].as_str(), out.len()), (1, Some("not_found"), 0));
    assert!(error["hint"].as_str().unwrap().starts_with("Did you mean \"backend\"?"), "{error}");
    assert_eq!(error["candidates"][0]["id"], backend.as_str());
    let (code, error, out) = fails(&["send", "backend", "hello", "--no-such-option"]);
    assert_eq!((code, error["code"].as_str(), out.len()), (2, Some("usage"), 0));
    assert!(error["message"].as_str().unwrap().contains("--no-such-option"), "{error}");
    let (code, error, out) = fails(&["inbox", "--wait", "1"]);
    assert_eq!((code, error["code"].as_str()), (124, Some("timed_out")));
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap()["messages"], json!([]));
    let (code, error, _) = fails(&["log", "m00000000000"]);
    assert_eq!((code, error["code"].as_str()), (1, Some("not_found")));
    // A remark is an object of its own, before what the command prints.
    let output = sandbox
        .command(["peers", "--json"])
        .env("CLAUDE_CODE_SESSION_ID", "unknown")
        .output()
        .unwrap();
    assert!(told(&output)[0]["note"].as_str().unwrap().contains("not registered"));
}
