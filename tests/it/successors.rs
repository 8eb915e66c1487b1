//! Identity: name and mail of a client that is known by its process go to one successor.

use std::thread;

use serde_json::{Value, json};

use crate::support::{PROGRAM, Sandbox, Session, until};

const CODEX: &str = "codex-mcp-client";

/// Starts a client process that is not Claude Code, in a directory of this name.
fn client(sandbox: &Sandbox, program: &str, directory: &str) -> Session {
    let directory = sandbox.path().join(directory);
    std::fs::create_dir_all(&directory).unwrap();
    let mut command = sandbox.command_of("sh", ["-c", r#""$0" mcp; exit"#, PROGRAM]);
    command.current_dir(&directory).env("CLAUDE_PEERS_CHANNEL", "off");
    let mut session = Session::spawn(command);
    session.handshake(program);
    session
}

fn codex(sandbox: &Sandbox) -> Session {
    client(sandbox, CODEX, "shop")
}

fn end(sandbox: &Sandbox, mut session: Session) {
    let (id, _) = session.identity();
    session.close_input();
    session.wait_end();
    until("it is gone", || !sandbox.live_ids().contains(&id));
}

fn mail(session: &mut Session) -> String {
    session.text("check_messages", json!({}))
}

#[test]
fn a_client_that_is_started_again_in_its_directory_takes_over_name_and_mail() {
    let sandbox = Sandbox::new();
    let mut first = codex(&sandbox);
    first.call("set_summary", json!({ "summary": "the checkout" }));
    let me = first.identity();
    sandbox.ok(["send", &me.0, "while it was here"]);
    end(&sandbox, first);
    // The client can never return; what is sent waits for a successor.
    let by_name = sandbox.ok(["send", &me.1, "by name"]);
    let by_id = sandbox.ok(["send", &me.0, "by id"]);
    for said in [&by_name, &by_id] {
        assert!(said.contains("has ended") && !said.contains("away"), "{said}");
    }
    let mut sender = sandbox.session("sender");
    let told = sender.call("send_message", json!({ "to_id": me.1, "message": "by a session" }));
    assert_eq!(told["structuredContent"]["reach"], "ended", "{told}");
    let standing = told["structuredContent"]["standing"].as_str().unwrap();
    assert!(standing.contains("has ended") && !standing.contains("away"), "{standing}");
    let listed = sender.listed(json!({}));
    assert!(listed.get("away").is_none(), "an ended peer is not away: {listed}");

    let mut second = codex(&sandbox);
    assert_eq!(second.identity(), me);
    assert_eq!(second.me()["summary"], "", "it is another conversation");
    let notes = second.call("list_peers", json!({}))["structuredContent"]["notes"].clone();
    assert!(
        notes[0].as_str().unwrap().contains("you continue it, with its name and its unread mail"),
        "{notes}"
    );
    let shown = mail(&mut second);
    for text in ["while it was here", "by name", "by id", "by a session"] {
        assert!(shown.contains(&format!("| {text}")), "{text}: {shown}");
    }
}

#[test]
fn a_live_peer_is_named_where_another_has_ended_and_nothing_is_sent_to_the_ended_one() {
    let sandbox = Sandbox::new();
    let mut first = codex(&sandbox);
    let one = first.identity();
    let mut second = codex(&sandbox);
    let two = second.identity();
    assert_ne!(one.0, two.0);
    end(&sandbox, first);
    for to in [&one.0, &one.1] {
        let (code, error) = sandbox.fails(["send", to, "hello?"]);
        assert_eq!(code, 1);
        assert!(error.contains("has ended and will not come back"), "{error}");
        assert!(error.contains(&two.0) && error.contains(&two.1), "{error}");
    }
    let mut sender = sandbox.session("sender");
    let refused = sender.try_call("send_message", json!({ "to_id": one.0, "message": "hello?" }));
    assert_eq!(refused["isError"], true);
    let words = refused["content"][0]["text"].as_str().unwrap();
    assert!(words.contains("has ended") && words.contains(&two.0), "{words}");
    assert_eq!(sandbox.json(["log"])["messages"], json!([]));
    // The next client is its successor nevertheless.
    let mut third = codex(&sandbox);
    assert_eq!(third.identity(), one);
    sandbox.ok(["send", &one.1, "welcome back"]);
    assert!(mail(&mut third).contains("| welcome back"));
}

#[test]
fn of_two_that_start_at_once_one_alone_takes_over_and_the_mail_is_not_split() {
    let sandbox = Sandbox::new();
    let mut first = codex(&sandbox);
    let me = first.identity();
    for text in ["one", "two", "three"] {
        sandbox.ok(["send", &me.0, text]);
    }
    end(&sandbox, first);
    let mut both: Vec<Session> = thread::scope(|scope| {
        let starts: Vec<_> = (0..2).map(|_| scope.spawn(|| codex(&sandbox))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    let got: Vec<(String, String)> =
        both.iter_mut().map(|session| (session.identity().0, mail(session))).collect();
    let successors: Vec<_> = got.iter().filter(|(id, _)| *id == me.0).collect();
    assert_eq!(successors.len(), 1, "{got:?}");
    for (id, shown) in &got {
        let count = shown.matches("\n| ").count();
        assert_eq!(count, if *id == me.0 { 3 } else { 0 }, "{got:?}");
    }
}

#[test]
fn mail_of_two_that_have_ended_is_neither_mixed_nor_guessed() {
    let sandbox = Sandbox::new();
    let (mut first, mut second) = (codex(&sandbox), codex(&sandbox));
    let (one, two) = (first.identity(), second.identity());
    sandbox.ok(["send", &one.0, "for one"]);
    sandbox.ok(["send", &two.0, "for two"]);
    end(&sandbox, first);
    end(&sandbox, second);
    let mut third = codex(&sandbox);
    let new = third.identity();
    assert!(new.0 != one.0 && new.0 != two.0, "{new:?}");
    assert!(mail(&mut third).starts_with("No messages wait for you."));
    let all: Value = sandbox.json(["peers", "--all"]);
    let ended: Vec<&Value> =
        all["peers"].as_array().unwrap().iter().filter(|peer| peer["reach"] == "ended").collect();
    assert_eq!(ended.len(), 2, "{all}");
    let (_, error) = sandbox.fails(["send", &one.1, "are you there?"]);
    assert!(error.contains(&new.0), "{error}");
}

/// An old Claude Code without hooks is such a client, too.
#[test]
fn an_old_claude_code_without_hooks_goes_on_as_the_peer_of_its_directory() {
    let sandbox = Sandbox::new();
    let mut first = client(&sandbox, "claude-code", "shop");
    let me = first.identity();
    sandbox.ok(["send", &me.0, "for later"]);
    end(&sandbox, first);
    let mut second = client(&sandbox, "claude-code", "shop");
    second.until_live();
    assert_eq!(second.identity(), me);
    assert!(mail(&mut second).contains("| for later"));
}
