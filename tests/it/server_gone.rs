//! Promise 3: a session whose server, client or hooks are gone is listed as what it is.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::hooks::{end, waiter_of};
use crate::support::{Sandbox, Session, SessionOptions, until};

/// A client process, as far as its hooks are concerned.
struct Client(Child);

impl Client {
    fn start() -> Self {
        Self(Command::new("sleep").arg("600").process_group(0).spawn().unwrap())
    }

    /// Runs a hook of this client. Returns its output.
    fn says(&self, sandbox: &Sandbox, event: &str, turn: &str) -> Value {
        let mut child = sandbox
            .command(["hook", event])
            .env("CLAUDE_PID", self.0.id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = json!({ "session_id": "session-frontend", "prompt_id": turn });
        child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        if output.stdout.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn frontend(sandbox: &Sandbox) -> Session {
    SessionOptions::new("frontend").without_channel().start(sandbox)
}

/// Whether the frontend is live, and how it is reached.
fn stands(sandbox: &Sandbox) -> (bool, String) {
    let peers = sandbox.json(["peers", "--all"])["peers"].clone();
    let found = peers.as_array().unwrap().iter().find(|peer| peer["name"] == "frontend").cloned();
    found.map_or((false, "unlisted".to_owned()), |peer| {
        (peer["live"] == true, peer["reach"].as_str().unwrap().to_owned())
    })
}

fn by_hooks() -> (bool, String) {
    (true, "hooks".to_owned())
}

#[track_caller]
fn told(said: &Value) -> &str {
    said["systemMessage"].as_str().unwrap_or_default()
}

#[test]
fn a_session_whose_server_is_dead_is_live_by_its_hooks_and_its_person_is_told_once() {
    let sandbox = Sandbox::new();
    let (mut client, server) = (Client::start(), frontend(&sandbox));
    assert_eq!(client.says(&sandbox, "UserPromptSubmit", "t1"), Value::Null);
    server.kill9();
    until("the broker has noticed", || sandbox.live_peers() == Some(1));
    assert_eq!(stands(&sandbox), by_hooks());
    let sent = sandbox.json(["send", "--scope", "machine", "one"]);
    assert_eq!(sent["outcomes"][0]["to"]["reach"], "hooks", "{sent}");
    let said = client.says(&sandbox, "PostToolUse", "t1");
    assert!(told(&said).contains("/mcp reconnect claude-peers"), "{said}");
    let context = &said["hookSpecificOutput"]["additionalContext"];
    assert!(context.as_str().unwrap().contains("| one"), "{said}");
    assert_eq!(client.says(&sandbox, "PostToolUse", "t1"), Value::Null, "told once");
    assert_eq!(client.says(&sandbox, "Stop", "t1"), Value::Null);

    // It is woken, too.
    let waits = waiter_of(&sandbox, "Stop", "frontend", client.0.id());
    sandbox.ok(["send", "frontend", "two"]);
    assert_eq!(end(waits).0, 2);
    let said = client.says(&sandbox, "UserPromptSubmit", "t2");
    assert!(said.to_string().contains("| two") && told(&said).is_empty(), "{said}");
    assert_eq!(client.says(&sandbox, "Stop", "t2"), Value::Null);

    // A new server connects, and dies as well.
    let again = frontend(&sandbox);
    assert_eq!(client.says(&sandbox, "UserPromptSubmit", "t3"), Value::Null);
    again.kill9();
    until("it is told again", || !told(&client.says(&sandbox, "PostToolUse", "t3")).is_empty());

    // The session leaves the list with its client.
    client.kill();
    until("it ends with its client", || !stands(&sandbox).0);
    assert_eq!(sandbox.live_peers(), Some(0));
}

#[test]
fn a_session_that_ends_leaves_no_ghost_whatever_its_client_does() {
    let sandbox = Sandbox::new();
    let (client, mut server) = (Client::start(), frontend(&sandbox));
    assert_eq!(client.says(&sandbox, "UserPromptSubmit", "t1"), Value::Null);
    server.close_input();
    server.wait_end();
    assert_eq!(client.says(&sandbox, "SessionEnd", ""), Value::Null);
    until("it is away", || !stands(&sandbox).0);
    assert_eq!(sandbox.live_peers(), Some(0));
}

/// A new broker learns of a client process by its next hook event, and gives servers time to
/// connect.
#[test]
fn the_next_broker_learns_of_a_client_process_by_its_hooks() {
    let sandbox = Sandbox::new();
    let (client, server) = (Client::start(), frontend(&sandbox));
    assert_eq!(client.says(&sandbox, "UserPromptSubmit", "t1"), Value::Null);
    server.kill9();
    sandbox.kill9_broker().unwrap();
    let mut waits = waiter_of(&sandbox, "Stop", "frontend", client.0.id());
    assert_eq!(sandbox.json(["peers"])["away"], 0, "a broker runs");
    until("the hook that waits has said so", || stands(&sandbox) == by_hooks());
    assert_eq!(client.says(&sandbox, "UserPromptSubmit", "t2"), Value::Null, "not told yet");
    waits.kill().unwrap();
    waits.wait().unwrap();
}

/// `disableAllHooks`, written while the session runs.
#[test]
fn hooks_that_are_disabled_while_the_session_runs_no_longer_reach_it() {
    let sandbox = Sandbox::unlimited();
    let mut server = frontend(&sandbox);
    let reach = |sandbox: &Sandbox| {
        let sent = sandbox.json(["send", "frontend", "and you?"]);
        sent["to"]["reach"].as_str().unwrap().to_owned()
    };
    let hooked = sandbox.command(["hook", "SessionStart"]);
    speak(hooked, std::process::id());
    assert_eq!(reach(&sandbox), "hooks");
    // Tool calls that hooks follow change nothing, however many there are.
    for turn in ["t1", "t2"] {
        server.text("set_summary", json!({ "summary": turn }));
        speak(sandbox.command(["hook", "PostToolUse"]), std::process::id());
    }
    // Nor does a call that ends in an error: no such hook follows it.
    assert_eq!(
        server.try_call("send_message", json!({ "to_id": "nobody", "message": "x" }))["isError"],
        true
    );
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert_eq!(reach(&sandbox), "hooks");
    server.text("set_summary", json!({ "summary": "alone" }));
    until("the sender hears it", || reach(&sandbox) == "tools");
    speak(sandbox.command(["hook", "PostToolUse"]), std::process::id());
    assert_eq!(reach(&sandbox), "hooks", "switched on again");
}

fn speak(mut hook: Command, client: u32) {
    let mut child = hook
        .env("CLAUDE_PID", client.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let input = json!({ "session_id": "session-frontend", "prompt_id": "t" });
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}
