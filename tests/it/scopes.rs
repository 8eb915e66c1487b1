//! Promise 3: a message to a scope says, for each recipient, what became of it.

use std::collections::HashSet;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::http::{self, RawPeer, Request};
use crate::support::{Sandbox, Session, SessionOptions, git, until};

/// Starts a session without a channel and waits until it is live.
fn session(sandbox: &Sandbox, name: &str) -> Session {
    let mut session = SessionOptions::new(name).without_channel().at_once().start(sandbox);
    session.me();
    until("it is live", || session.me()["live"] == true);
    session
}

#[track_caller]
fn send(session: &mut Session, to: &str, text: &str) -> Value {
    session.call("send_message", json!({ "to_id": to, "message": text }))
}

fn texts(session: &mut Session) -> Vec<String> {
    let checked = session.call("check_messages", json!({}))["structuredContent"].clone();
    let messages = checked["messages"].as_array().unwrap().clone();
    messages.iter().map(|message| message["text"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_scope_reaches_all_live_sessions_in_it_but_the_sender() {
    let sandbox = Sandbox::new();
    let repository = sandbox.path().join("shop");
    std::fs::create_dir_all(repository.join("api")).unwrap();
    git(&repository, &["init", "-q"]);
    let start = |name: &str, directory: &str| {
        let options = SessionOptions::new(name).without_channel().at_once();
        let mut session = options.directory(repository.join(directory)).start(&sandbox);
        session.call("set_summary", json!({ "summary": name, "name": name }));
        until("it is live", || session.me()["live"] == true);
        session
    };
    let (mut top, mut api, mut twin) = (start("top", ""), start("api", "api"), start("twin", ""));
    let mut other = session(&sandbox, "other");
    let away = RawPeer::register(&sandbox, "away");

    let sent = send(&mut top, "scope:repo", "to the repository");
    let said = &sent["structuredContent"];
    let names: HashSet<&str> = said["recipients"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, HashSet::from(["api", "twin"]));
    assert_eq!(said["standing"], "Stored for 2 of 2 live peers in this repository.");
    // What holds for both is said once.
    let all = &said["default"];
    assert_eq!((&all["state"], &all["reach"]), (&json!("queued"), &json!("tools")));
    let words = format!("{}\n", sent["content"][0]["text"].as_str().unwrap());
    assert!(words.contains("it is queued: It is live and gets it when"), "{words}");
    for one in said["recipients"].as_array().unwrap() {
        let id = one["message_id"].as_str().unwrap();
        assert!(words.contains(&format!("): {id}\n")), "{words}");
        assert!(one.get("state").is_none() && one.get("standing").is_none(), "{one}");
        assert_eq!(sandbox.message(id)["text"], "to the repository");
    }
    send(&mut top, " Scope:Directory", "to the directory");
    send(&mut top, "scope:machine", "to all");
    assert_eq!(texts(&mut api), ["to the repository", "to all"]);
    assert_eq!(texts(&mut twin), ["to the repository", "to the directory", "to all"]);
    assert_eq!(texts(&mut other), ["to all"]);
    assert!(texts(&mut top).is_empty() && away.take(&sandbox).is_empty());

    // The command line uses its current directory.
    let run = |arguments: &[&str]| -> Output {
        sandbox.command(arguments).current_dir(repository.join("api")).output().unwrap()
    };
    let output = run(&["send", "--scope", "repo", "from", "the", "terminal"]);
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert!(lines.lines().all(|line| line.contains(" queued to ") && line.contains("live")));
    assert_eq!(texts(&mut top), ["from the terminal"]);
    let output = run(&["send", "--json", "--scope", "directory", "here"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let outcomes = json["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.len(), 1);
    assert_eq!(outcomes[0]["to"]["name"], "api");
}

#[test]
fn an_invalid_or_empty_scope_or_one_with_other_options_sends_nothing_and_says_so() {
    let sandbox = Sandbox::new();
    let mut alone = session(&sandbox, "alone");
    let refused = |session: &mut Session, arguments: Value| {
        let result = session.try_call("send_message", arguments);
        assert_eq!(result["isError"], true, "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    };
    let words = refused(&mut alone, json!({ "to_id": "scope:machine", "message": "anybody?" }));
    assert!(words.contains("no other peer is live on this machine"), "{words}");
    let words = refused(&mut alone, json!({ "to_id": "scope:repo", "message": "x" }));
    assert!(words.contains("not inside a git repository"), "{words}");
    let _other = session(&sandbox, "other");
    for wrong in ["scope:galaxy", "scope:", "scope:<system-reminder>\u{1b}[2J"] {
        let words = refused(&mut alone, json!({ "to_id": wrong, "message": "x" }));
        assert!(words.starts_with("Nothing was sent."), "{words}");
        assert!(words.contains("scope:machine, scope:directory and scope:repo"), "{words}");
        assert!(!words.contains("<system-reminder>") && !words.contains('\u{1b}'), "{words}");
    }
    for more in [json!({ "wait_seconds": 5 }), json!({ "reply_to": "m1" })] {
        let mut arguments = json!({ "to_id": "scope:machine", "message": "x" });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let words = refused(&mut alone, arguments);
        assert!(words.contains("work with one peer, not with a scope"), "{words}");
    }
    for wrong in [&["send", "--scope", "galaxy", "x"][..], &["send", "--scope", "repo"]] {
        assert_eq!(sandbox.fails(wrong).0, 2);
    }
    assert_eq!(sandbox.fails(["send", "--scope", "machine", "--wait", "5", "x"]).0, 2);
    let (code, error) = sandbox.fails(["send", "--scope", "directory", "x"]);
    assert!(code == 1 && error.contains("no other peer is live in this directory"), "{error}");
    assert_eq!(sandbox.json(["log"])["messages"], json!([]));
}

/// A live peer without a process: the test holds its stream open.
struct Live {
    peer: RawPeer,
    stream: UnixStream,
}

fn live(sandbox: &Sandbox, name: &str) -> Live {
    let peer = RawPeer::register(sandbox, name);
    let mut stream = http::unix(sandbox);
    let request = Request::get("/v1/stream").session(&peer.secret);
    std::io::Write::write_all(&mut stream, &request.bytes()).unwrap();
    // The first event says that it is live.
    let mut said = String::new();
    while !said.contains("\"ready\"") {
        let mut bytes = [0; 512];
        let length = stream.read(&mut bytes).unwrap();
        assert!(length > 0, "the stream ended: {said}");
        said.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    Live { peer, stream }
}

#[test]
fn more_recipients_than_the_limit_are_refused_before_anything_is_sent() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let mut all: Vec<Live> = (0..51).map(|n| live(&sandbox, &format!("peer-{n}"))).collect();
    let (code, error) = sandbox.fails(["send", "--scope", "machine", "to all of you"]);
    assert_eq!(code, 1);
    assert!(error.contains("51 peers are live on this machine"), "{error}");
    assert!(error.contains("at most 50 peers") && error.contains("nothing was sent"), "{error}");
    assert!(error.contains("CLAUDE_PEERS_MAX_RECIPIENTS"), "{error}");
    assert_eq!(sandbox.json(["log"])["messages"], json!([]));
    drop(all.pop().unwrap().stream);
    until("one is away", || sandbox.live_peers() == Some(50));
    let sent = sandbox.json(["send", "--scope", "machine", "to all of you"]);
    assert_eq!(sent["outcomes"].as_array().unwrap().len(), 50);
    for live in &all {
        assert_eq!(live.peer.take(&sandbox), ["to all of you"]);
    }
}

#[test]
fn a_full_mailbox_keeps_no_other_recipient_from_it_and_a_retry_sends_nothing_twice() {
    let sandbox = Sandbox::new()
        .with("CLAUDE_PEERS_MAX_UNREAD", "2")
        .with("CLAUDE_PEERS_MAX_RECIPIENTS", "0");
    sandbox.ok(["peers"]);
    let [sender, full, free] = ["sender", "full", "free"].map(|name| live(&sandbox, name));
    sender.peer.send(&sandbox, "full", "one");
    sender.peer.send(&sandbox, "full", "two");
    let request =
        Request::post("/v1/messages/scope", &json!({ "scope": "machine", "text": "all" }))
            .session(&sender.peer.secret)
            .with("idempotency-key", "the same");
    let first = request.unix(&sandbox);
    assert_eq!(first.status, 200, "{:?}", first.refusal());
    let outcomes = first.json()["outcomes"].as_array().unwrap().clone();
    let of = |peer: &Live| {
        outcomes.iter().find(|outcome| outcome["to"]["id"] == peer.peer.id.as_str()).unwrap()
    };
    assert_eq!(outcomes.len(), 2);
    assert_eq!(of(&full)["refusal"]["code"], "mailbox_full");
    assert_eq!((&of(&full)["id"], &of(&full)["state"]), (&Value::Null, &Value::Null));
    assert_eq!((&of(&free)["state"], &of(&free)["refusal"]), (&json!("queued"), &Value::Null));
    assert_eq!(request.unix(&sandbox).json(), first.json(), "the stored answer");
    assert_eq!(free.peer.take(&sandbox), ["all"]);
    assert_eq!(full.peer.take(&sandbox), ["one", "two"]);
    // The command line reports each, and its exit code says that not all have it.
    let output = sandbox.run(["send", "--scope", "machine", "again"]);
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), output.stderr);
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert!(out.contains(&format!("- refused to full ({}): ", full.peer.id)), "{out}");
    assert!(out.contains(&format!(" queued to free ({}): ", free.peer.id)), "{out}");
    assert!(String::from_utf8(error).unwrap().contains("not stored for 1 of 3 recipients"));
}
