//! Promise 8: the same session is the same peer, with its name and mailbox, whatever restarts.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Sandbox, Session, SessionOptions, git, repository, until};

#[test]
fn the_same_session_is_the_same_peer_after_an_end_and_a_crash() {
    let sandbox = Sandbox::new();
    let mut sender = sandbox.session("sender");
    let mut first = sandbox.session("backend");
    let (id, name) = (first.id(), first.me()["name"].clone());
    first.call("set_summary", json!({ "summary": "the api" }));
    first.close_input();
    first.wait_end();
    sandbox.until_away(&id);
    let waiting = sender.send(&id, "while you were away");

    let mut second = sandbox.session("backend");
    assert_eq!(second.id(), id);
    assert_eq!(second.me()["name"], name);
    assert_eq!(second.me()["summary"], "the api");
    assert_eq!(second.push()["meta"]["message_id"], waiting.as_str());
    second.kill9();

    let third = sandbox.session("backend").me();
    assert_eq!((&third["id"], &third["name"]), (&json!(id), &name));
    // Another session in the same directory is another peer.
    let fourth = SessionOptions::new("backend").session_id(Some("another")).start(&sandbox).me();
    assert_ne!(fourth["id"], id.as_str());
}

#[test]
fn a_restart_of_the_broker_changes_no_peer() {
    let sandbox = Sandbox::new();
    let twin =
        |id| SessionOptions::new("twins").session_id(Some(id)).with("CLAUDE_PEERS_NAME", "twin");
    let mut sessions = [
        twin("one").start(&sandbox),
        twin("two").start(&sandbox),
        twin("three").start(&sandbox),
        sandbox.session("plain"),
        SessionOptions::new("plain").session_id(Some("other")).start(&sandbox),
    ];
    sessions[3].call("set_summary", json!({ "summary": "s", "name": "chosen" }));
    let who = |session: &mut Session| {
        let me = session.me();
        (me["id"].clone(), me["name"].as_str().unwrap().to_owned())
    };
    let before: Vec<_> = sessions.iter_mut().map(who).collect();
    let names: Vec<&str> = before.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["twin", "twin-2", "twin-3", "chosen", "plain-2"]);
    for round in 0..3 {
        let old = sandbox.broker().unwrap().pid;
        match round {
            0 => drop(sandbox.ok(["kill-broker"])),
            _ => drop(sandbox.kill9_broker()),
        }
        until("another broker serves all", || {
            sandbox.broker().is_some_and(|broker| broker.pid != old)
                && sandbox.json(["peers"])["peers"].as_array().unwrap().len() == sessions.len()
        });
        let after: Vec<_> = sessions.iter_mut().map(who).collect();
        assert_eq!(after, before, "round {round}");
    }
    let id = sessions[0].send("twin-3", "still there");
    assert_eq!(sessions[2].push()["meta"]["message_id"], id.as_str());
}

/// What an instance has shown is known by its id, also to a broker that has to be told who it is.
#[test]
fn a_server_that_registers_again_is_the_same_instance() {
    let sandbox = Sandbox::new();
    let mut session = sandbox.session("backend");
    let instances = || {
        let database = rusqlite::Connection::open(sandbox.database()).unwrap();
        let mut rows = database.prepare("SELECT instance FROM receivers").unwrap();
        let all = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
        all.collect::<rusqlite::Result<Vec<_>>>().unwrap()
    };
    let before = instances();
    assert_eq!(before.len(), 1);
    sandbox.kill9_broker();
    for suffix in ["", "-wal", "-shm"] {
        let mut file = sandbox.database().as_os_str().to_owned();
        file.push(suffix);
        // Some of them may not exist.
        let _ = std::fs::remove_file(file);
    }
    assert!(!sandbox.database().exists());
    until("another database has the session", || session.me()["live"] == true);
    assert_eq!(instances(), before);
}

fn names(result: &Value) -> Vec<String> {
    let peers = result["structuredContent"]["peers"].as_array().unwrap();
    let mut names: Vec<String> =
        peers.iter().map(|peer| peer["name"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_repository_is_one_scope_with_its_subdirectories_and_worktrees() {
    let sandbox = Sandbox::new();
    let shop = sandbox.path().join("shop");
    let other = sandbox.path().join("other");
    repository(&shop);
    repository(&other);
    git(&shop, &["worktree", "add", "-q", "../shop-feature"]);
    std::os::unix::fs::symlink(&shop, sandbox.path().join("link")).unwrap();
    let start = |id: &str, directory: &Path| {
        SessionOptions::new(id).directory(directory).at_once().start(&sandbox)
    };
    let mut sessions = vec![
        start("top", &shop),
        start("deep", &shop.join("src/deep")),
        start("worktree", &sandbox.path().join("shop-feature")),
        start("link", &sandbox.path().join("link")),
        start("other", &other),
        start("plain", &sandbox.path().join("plain")),
    ];
    // One by one, so that the numbers follow the order.
    for session in &mut sessions {
        session.until_live();
    }
    let own: Vec<String> =
        sessions.iter_mut().map(|s| s.me()["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(own[4..], ["other", "plain"]);
    let mut of_repo = own[..4].to_vec();
    of_repo.sort();
    // The link leads to the same directory as the first session's.
    assert_eq!(of_repo, ["shop", "shop-2", "shop-deep", "shop-feature"]);
    let without = |index: usize| {
        let mut rest: Vec<String> =
            own[..4].iter().filter(|name| **name != own[index]).cloned().collect();
        rest.sort();
        rest
    };
    for (index, session) in sessions[..4].iter_mut().enumerate() {
        let listed = session.call("list_peers", json!({ "scope": "repo" }));
        assert_eq!(names(&listed), without(index));
    }
    let same_directory = sessions[0].call("list_peers", json!({ "scope": "directory" }));
    assert_eq!(names(&same_directory), [own[3].as_str()], "a link is where it leads");
    let same_directory = sessions[1].call("list_peers", json!({ "scope": "directory" }));
    assert_eq!(names(&same_directory), [""; 0]);
    let in_other = sessions[4].call("list_peers", json!({ "scope": "repo" }));
    assert_eq!(names(&in_other), [""; 0]);
    let nowhere = sessions[5].try_call("list_peers", json!({ "scope": "repo" }));
    assert_eq!(nowhere["isError"], true);
    let words = nowhere["content"][0]["text"].as_str().unwrap();
    assert!(words.contains("not inside a git repository"), "{words}");
    assert_eq!(names(&sessions[5].call("list_peers", json!({}))).len(), 5);
    // On the command line, from any directory of it.
    let listed = sandbox
        .command(["peers", "--scope", "repo", "--json"])
        .current_dir(sandbox.path().join("shop-feature/src"))
        .output()
        .unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["peers"].as_array().unwrap().len(), 4);
}

#[test]
fn an_explicit_name_takes_over_only_mail_that_was_sent_to_it_while_its_owner_was_away() {
    let sandbox = Sandbox::new();
    let named = |id| {
        SessionOptions::new("work")
            .session_id(Some(id))
            .with("CLAUDE_PEERS_NAME", "reviewer")
            .without_channel()
    };
    let mut first = named("first").start(&sandbox);
    let id = first.id();
    assert_eq!(first.me()["name"], "reviewer");
    let by_name_live = sandbox.ok(["send", "reviewer", "by name, live"]);
    let by_name_live = by_name_live.split(' ').next().unwrap().to_owned();
    first.close_input();
    first.wait_end();
    sandbox.until_away(&id);
    sandbox.ok(["send", &id, "by id, away"]);
    sandbox.ok(["send", "reviewer", "by name, away"]);
    sandbox.ok(["send", "review", "by prefix, away"]);

    let mut second = named("second").start(&sandbox);
    assert_eq!(second.me()["name"], "reviewer");
    assert_ne!(second.id(), id);
    let text = second.text("check_messages", json!({}));
    assert!(text.contains("| by name, away"), "{text}");
    for other in ["by name, live", "by id", "by prefix"] {
        assert!(!text.contains(other), "{other}: {text}");
    }
    // The first session returns: its name gets a number, and it has its own mail.
    let mut back = named("first").start(&sandbox);
    assert_eq!(back.id(), id);
    assert_eq!(back.me()["name"], "reviewer-2");
    let listing = back.text("list_peers", json!({}));
    assert!(
        listing.contains(
            "Note: The name reviewer belongs to another live session; you are reviewer-2."
        ),
        "{listing}"
    );
    let text = back.text("check_messages", json!({}));
    for own in ["by name, live", "by id, away", "by prefix, away"] {
        assert!(text.contains(&format!("| {own}")), "{own}: {text}");
    }
    assert!(!text.contains("by name, away"), "{text}");
    until("it is read", || sandbox.message(&by_name_live)["state"] == "read");
}

#[test]
fn an_invalid_name_is_reported_and_the_session_works() {
    let sandbox = Sandbox::new();
    for (number, name) in
        ["cli", "9lives", "\u{fc}b\u{435}r", "a b", "-x", "abcdefg1", "repo"].iter().enumerate()
    {
        let directory = format!("dir-{number}");
        let mut session = SessionOptions::new(&directory)
            .with("CLAUDE_PEERS_NAME", name)
            .at_once()
            .start(&sandbox);
        session.until_live();
        let listed = session.call("list_peers", json!({}));
        assert_eq!(listed["structuredContent"]["me"]["name"], directory.as_str(), "{name}");
        let note = listed["structuredContent"]["notes"][0].as_str().unwrap();
        assert!(note.contains("CLAUDE_PEERS_NAME") && note.contains("cannot be a name"), "{note}");
        assert!(listed["content"][0]["text"].as_str().unwrap().contains("Note: CLAUDE_PEERS_NAME"));
    }
}

#[test]
fn a_name_that_is_taken_or_invalid_changes_nothing() {
    let sandbox = Sandbox::new();
    let mut backend = sandbox.session("backend");
    let mut frontend = sandbox.session("frontend");
    frontend.call("set_summary", json!({ "summary": "before" }));
    for (name, words) in [
        ("backend", "the name backend belongs to peer"),
        ("BACKEND", "the name backend belongs to peer"),
        ("cli", "cannot be a name"),
        ("two words", "cannot be a name"),
        ("abcdefg1", "cannot be a name"),
        (&"x".repeat(41), "cannot be a name"),
        ("<b>", "cannot be a name"),
    ] {
        let result = frontend.try_call("set_summary", json!({ "summary": "after", "name": name }));
        assert_eq!(result["isError"], true, "{name}");
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(words), "{name}: {text}");
        let me = frontend.me();
        assert_eq!((&me["name"], &me["summary"]), (&json!("frontend"), &json!("before")), "{name}");
    }
    let long = "s".repeat(501);
    let result = frontend.try_call("set_summary", json!({ "summary": long, "name": "fresh" }));
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("501 characters, 500 are allowed"), "{text}");
    assert!(text.contains("CLAUDE_PEERS_MAX_SUMMARY_CHARS"), "{text}");
    assert_eq!(frontend.me()["name"], "frontend");
    // A valid name changes both; the old name is free at once.
    frontend.call("set_summary", json!({ "summary": "after", "name": "Shop.Front_1" }));
    let me = frontend.me();
    assert_eq!((&me["name"], &me["summary"]), (&json!("shop.front_1"), &json!("after")));
    backend.send("shop.front_1", "by the new name");
    assert_eq!(frontend.push()["content"], "by the new name");
    backend.call("set_summary", json!({ "summary": "x", "name": "frontend" }));
}

#[test]
fn other_clients_are_known_by_their_process() {
    let sandbox = Sandbox::new();
    // Another agent inside a session has the session's id in its environment, and must not become
    // that session.
    let mut claude = sandbox.session("work");
    let options =
        SessionOptions::new("work").session_id(Some("session-work")).client("other-agent");
    let mut agent = options.start(&sandbox);
    let (claude_id, agent_id) = (claude.id(), agent.id());
    assert_ne!(agent_id, claude_id);
    let listing = claude.call("list_peers", json!({}));
    assert_eq!(listing["structuredContent"]["peers"][0]["id"], agent_id.as_str());
    assert!(listing["content"][0]["text"].as_str().unwrap().contains("client other-agent"));
    sandbox.ok(["send", &claude_id, "for the session"]);
    assert_eq!(claude.push()["content"], "for the session");
    assert!(agent.push_within(Duration::from_millis(200)).is_none());
    // A server that the same client process starts again is the same peer. A second one beside it
    // is another.
    agent.close_input();
    agent.wait_end();
    sandbox.until_away(&agent_id);
    let mut again = options.start(&sandbox);
    assert_eq!(again.id(), agent_id);
    let mut beside = options.start(&sandbox);
    assert_ne!(beside.id(), agent_id);
    assert_ne!(beside.id(), claude_id);
}
