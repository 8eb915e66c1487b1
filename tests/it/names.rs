//! Names: of any script, derived from the place and not from the order of starts.
//!
//! A name has at most one live owner, and no name can be mistaken for another.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::hooks::hook_of;
use crate::support::{Sandbox, Session, SessionOptions, client_process, git, repository};

fn name(session: &mut Session) -> String {
    session.me()["name"].as_str().unwrap().to_owned()
}

/// Starts a session in a directory and waits until it is live.
fn at(sandbox: &Sandbox, id: &str, directory: &Path) -> Session {
    let options = SessionOptions::new("unused").session_id(Some(id)).directory(directory);
    let mut session = options.at_once().start(sandbox);
    session.until_live();
    session
}

fn end(sandbox: &Sandbox, mut session: Session) {
    let id = session.id();
    session.close_input();
    session.wait_end();
    sandbox.until_away(&id);
}

#[test]
fn directories_of_any_script_give_their_sessions_names() {
    let sandbox = Sandbox::new();
    let mut sessions = Vec::new();
    for (directory, called) in [
        ("プロジェクト", "プロジェクト"),
        ("支払い", "支払い"),
        ("проект", "проект"),
        ("Émile", "émile"),
        ("e\u{301}tude", "étude"),
        ("مشروع", "مشروع"),
        ("हिन्दी", "हिन्दी"),
        ("한국 서비스", "한국-서비스"),
        ("b\u{430}ckend", "b-\u{430}-ckend"),
        ("\u{202e}rtl\u{200b}", "rtl"),
        ("🦀", "session"),
    ] {
        let mut session = at(&sandbox, directory, &sandbox.path().join(directory));
        assert_eq!(name(&mut session), called, "{directory}");
        sessions.push(session);
    }
    // Peers are found by their name and its beginning, however the keyboard composes the
    // characters.
    for (word, found) in [
        ("支払い", 1),
        ("支払", 1),
        ("ПРОЕКТ", 2),
        ("@проект", 2),
        ("e\u{301}mile", 3),
        ("ÉMILE", 3),
        ("ﾌﾟﾛｼﾞｪｸﾄ", 0),
        ("한국", 7),
    ] {
        let sent = sandbox.json(["send", word, "hello"]);
        assert_eq!(sent["to"]["id"], sessions[found].id().as_str(), "{word}");
    }
    let sent = sessions[0].call("send_message", json!({ "to_id": "проект", "message": "x" }));
    let standing = sent["structuredContent"]["standing"].as_str().unwrap();
    assert!(standing.contains(" проект ("), "{standing}");
    let table = sandbox.ok(["peers"]);
    assert!(table.contains("  支払い  ") && table.contains("  émile  "), "{table}");
    assert!(sandbox.ok(["log", "--peer", "支払い"]).contains("支払い"));
}

#[test]
fn an_explicit_name_may_be_of_any_script_and_none_that_looks_like_another() {
    let sandbox = Sandbox::new();
    let named = |name: &str| {
        SessionOptions::new("work").session_id(Some(name)).with("CLAUDE_PEERS_NAME", name).at_once()
    };
    let mut reviewer = named("Рецензент").start(&sandbox);
    reviewer.until_live();
    assert_eq!(name(&mut reviewer), "рецензент");
    let mut cope = named("cope").start(&sandbox);
    cope.until_live();
    for (wrong, words) in [
        ("cop\u{435}", "cannot be a name"),
        ("\u{441}\u{43e}\u{440}\u{435}", "looks like cope, which belongs to peer"),
        ("\u{441}\u{4cf}\u{456}", "cannot be a name"),
        ("c1i", "cannot be a name"),
        ("co\u{202e}pe", "cannot be a name"),
        ("РЕЦЕНЗЕНТ", "the name рецензент belongs to peer"),
    ] {
        let arguments = json!({ "summary": "x", "name": wrong });
        let session = if wrong == "РЕЦЕНЗЕНТ" { &mut cope } else { &mut reviewer };
        let result = session.try_call("set_summary", arguments);
        assert_eq!(result["isError"], true, "{wrong}");
        let text = result["content"][0]["text"].as_str().unwrap();
        assert!(text.contains(words), "{wrong}: {text}");
    }
    cope.call("set_summary", json!({ "summary": "x", "name": "Ｓhop支払い" }));
    assert_eq!(name(&mut cope), "shop支払い");
}

#[test]
fn worktrees_and_packages_are_told_apart_in_any_order_of_starts() {
    let sandbox = Sandbox::new();
    let shop = sandbox.path().join("shop");
    repository(&shop);
    std::fs::create_dir_all(shop.join("packages/api")).unwrap();
    git(&shop, &["worktree", "add", "-q", "../login"]);
    git(&shop, &["worktree", "add", "-q", "../shop-search"]);
    git(&shop, &["worktree", "add", "-q", ".claude/worktrees/billing"]);
    let login = sandbox.path().join("login");
    let places = [
        (shop.clone(), "shop"),
        (shop.join("packages/api"), "shop-api"),
        (login.clone(), "shop-login"),
        (sandbox.path().join("shop-search"), "shop-search"),
        (shop.join(".claude/worktrees/billing"), "shop-billing"),
        (login.join("src/deep"), "shop-login-deep"),
    ];
    let check = |order: &mut dyn Iterator<Item = &(std::path::PathBuf, &str)>, day: &str| {
        let mut sessions = Vec::new();
        for (directory, called) in order {
            let mut session = at(&sandbox, &format!("{called} {day}"), directory);
            assert_eq!(name(&mut session), *called, "{day}");
            sessions.push(session);
        }
    };
    check(&mut places.iter(), "forwards");
    let other = Sandbox::new();
    let mut first = at(&other, "x", &places[4].0);
    assert_eq!(name(&mut first), "shop-billing", "in any order");
}

/// Writes the client's own file of a session; `source` says how the name came about.
fn client_says(sandbox: &Sandbox, pid: u32, name: &str, source: &str) {
    let directory = sandbox.home().join(".claude/sessions");
    std::fs::create_dir_all(&directory).unwrap();
    let text = json!({ "pid": pid, "name": name, "nameSource": source, "status": "idle" });
    std::fs::write(directory.join(format!("{pid}.json")), text.to_string()).unwrap();
}

#[test]
fn the_name_that_a_session_has_in_its_client_goes_before_that_of_its_place() {
    let sandbox = Sandbox::new();
    // The client process is `sh`, which `client_process` starts: its pid is that of our child.
    let mut plain = client_process(&sandbox, "work", "plain");
    assert_eq!(name(&mut plain), "work");
    client_says(&sandbox, plain.pid(), "work-a1", "derived");
    hook_of(&sandbox, plain.pid(), "plain", "PostToolUse", Value::Null);
    assert_eq!(name(&mut plain), "work", "the client made it up");
    client_says(&sandbox, plain.pid(), "Login & Abrechnung", "user");
    hook_of(&sandbox, plain.pid(), "plain", "PostToolUse", Value::Null);
    assert_eq!(name(&mut plain), "login-abrechnung", "/rename");
    // A name that the session chose stays until the person gives a title.
    plain.call("set_summary", json!({ "summary": "s", "name": "mine" }));
    hook_of(&sandbox, plain.pid(), "plain", "PostToolUse", Value::Null);
    assert_eq!(name(&mut plain), "mine");
    client_says(&sandbox, plain.pid(), "支払い", "user");
    hook_of(&sandbox, plain.pid(), "plain", "Stop", Value::Null);
    assert_eq!(name(&mut plain), "支払い");

    // Another client process with the same title gets a number; with CLAUDE_PEERS_NAME, that name.
    let mut second = client_process(&sandbox, "other", "second");
    client_says(&sandbox, second.pid(), "支払い", "user");
    hook_of(&sandbox, second.pid(), "second", "PostToolUse", Value::Null);
    assert_eq!(name(&mut second), "支払い-2");
    let sandbox = sandbox.with("CLAUDE_PEERS_NAME", "chosen");
    let mut third = client_process(&sandbox, "third", "third");
    client_says(&sandbox, third.pid(), "支払い", "user");
    hook_of(&sandbox, third.pid(), "third", "PostToolUse", Value::Null);
    assert_eq!(name(&mut third), "chosen");
}

#[test]
fn a_name_from_the_clients_command_line_is_there_from_the_start() {
    let sandbox = Sandbox::new();
    let directory = sandbox.path().join("work");
    std::fs::create_dir_all(&directory).unwrap();
    // As `claude --name Payments`, which is the server's parent.
    let script = "CLAUDE_CODE_SESSION_ID=s1 CLAUDE_CODE_ENTRYPOINT=cli \"$0\" mcp; exit";
    let program = crate::support::PROGRAM;
    let mut command = sandbox.command_of("sh", ["-c", script, program, "--name", "Payments"]);
    command.current_dir(&directory).env("CLAUDE_PROJECT_DIR", &directory);
    let mut session = Session::spawn(command);
    session.handshake("claude-code");
    session.until_live();
    assert_eq!(name(&mut session), "payments");
}

#[test]
fn a_name_that_an_ended_session_gave_itself_is_free_for_another_session() {
    let sandbox = Sandbox::new();
    let mut first = sandbox.session("first");
    let mut second = sandbox.session("second");
    first.call("set_summary", json!({ "summary": "s", "name": "reviewer" }));
    let id = first.id();
    let taken = second.try_call("set_summary", json!({ "summary": "s", "name": "reviewer" }));
    assert_eq!(taken["isError"], true, "at most one live holder");
    end(&sandbox, first);
    let for_the_first = sandbox.ok(["send", &id, "for the first"]);
    let for_the_first = for_the_first.split(' ').next().unwrap();
    let set = second.call("set_summary", json!({ "summary": "s", "name": "Reviewer" }));
    assert_eq!(set["structuredContent"]["name"], "reviewer");
    let note = set["structuredContent"]["notes"][0].as_str().unwrap();
    assert!(note.contains(&id) && note.contains("1 unread message is kept"), "{note}");
    assert!(
        set["content"][0]["text"].as_str().unwrap().contains("Note: The name reviewer belonged to")
    );
    sandbox.ok(["send", "reviewer", "for the second"]);
    assert_eq!(second.push()["content"], "for the second");
    assert!(second.push_within(Duration::from_millis(300)).is_none(), "the mail stays");
    // The first session returns, under another name, with its mail.
    let mut back = sandbox.session("first");
    assert_eq!((back.id(), name(&mut back)), (id, "first".to_owned()));
    assert_eq!(back.push()["content"], "for the first");
    assert_eq!(sandbox.message(for_the_first)["to"]["name"], "first");
    assert_eq!(name(&mut second), "reviewer");
}

#[test]
fn away_are_peers_with_mail_or_an_explicit_name_and_all_lists_resumable_sessions() {
    let sandbox = Sandbox::new();
    let mut here = sandbox.session("here");
    let mut named = sandbox.session("named");
    named.call("set_summary", json!({ "summary": "the api", "name": "api" }));
    let id = named.id();
    end(&sandbox, named);
    let mut plain = sandbox.session("plain");
    let plain_id = plain.id();
    plain.call("set_summary", json!({ "summary": "" }));
    end(&sandbox, plain);
    let listed = here.call("list_peers", json!({}));
    assert!(listed["structuredContent"].get("away").is_none(), "nothing waits for them");
    assert!(!listed["content"][0]["text"].as_str().unwrap().contains("away"));
    assert!(!String::from_utf8(sandbox.run(["peers"]).stderr).unwrap().contains("away"));

    let all = sandbox.json(["peers", "--all"]);
    let ended = all["ended"].as_array().unwrap();
    let ids: Vec<&Value> = ended.iter().map(|session| &session["id"]).collect();
    assert_eq!(ids, [&json!(plain_id), &json!(id)], "the last first");
    assert_eq!(ended[1]["name"], "api");
    assert_eq!(ended[1]["session"], "session-named");
    assert_eq!(ended[1]["summary"], "the api");
    let directory = sandbox.path().join("named");
    assert!(ended[1]["cwd"].as_str().unwrap().ends_with("/named"));
    assert!(ended[1]["since"].as_str().unwrap().starts_with("20"));
    let table = sandbox.ok(["peers", "--all"]);
    let row = table.lines().find(|line| line.starts_with(&id)).unwrap();
    let columns: Vec<&str> = row.split_whitespace().collect();
    assert_eq!([columns[1], columns[2], columns[5]], ["api", "ended", "0"], "{row}");
    assert!(row.contains("[claude --resume session-named] the api"), "{row}");
    let listed = sandbox
        .command(["peers", "--all", "--scope", "directory", "--json"])
        .current_dir(directory)
        .output()
        .unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["ended"].as_array().unwrap().len(), 1);

    // A peer with mail is away, and the line says how much mail waits.
    sandbox.ok(["send", &id, "one"]);
    sandbox.ok(["send", &id, "two"]);
    let text = here.text("list_peers", json!({}));
    assert!(text.contains("1 away, 2 messages wait for them;"), "{text}");
    let error = String::from_utf8(sandbox.run(["peers"]).stderr).unwrap();
    assert_eq!(error, "1 peer is away, with 2 unread messages (--all lists it)\n");
    let all = sandbox.json(["peers", "--all"]);
    assert_eq!(all["ended"].as_array().unwrap().len(), 1);
    assert!(all["peers"].as_array().unwrap().iter().any(|peer| peer["id"] == id.as_str()));
}
