//! Summaries: a session describes itself, or a chat endpoint describes it by names alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::{Behaviour, Endpoint, Sandbox, Session, git, repository, until};

#[test]
fn a_session_describes_itself_by_names_alone_and_once() {
    let sandbox = Sandbox::new();
    let endpoint = Endpoint::new([
        Behaviour::Says("\"Works on the shop's checkout.\"\n".to_owned()),
        Behaviour::Says("A second answer.".to_owned()),
    ]);
    let shop = sandbox.path().join("shop");
    repository(&shop);
    git(&shop, &["checkout", "-q", "-b", "feature/checkout"]);
    let options = endpoint.options("shop");
    let mut session = options.start(&sandbox);
    let mut other = sandbox.session("other");
    until("others see the summary", || {
        other.listed(json!({}))["peers"][0]["summary"] == "Works on the shop's checkout."
    });
    let asked = endpoint.asked();
    assert_eq!(asked.len(), 1);
    let request = &asked[0];
    assert!(request.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{request}");
    assert!(
        request.to_lowercase().contains("authorization: bearer sk-very-secret-key"),
        "{request}"
    );
    for part in ["gpt-4o-mini", "shop", "feature/checkout", "src/deep/file.txt"] {
        assert!(request.contains(part), "{part}: {request}");
    }
    assert!(!request.contains("CONTENTS-STAY-HERE"), "{request}");
    assert!(!request.contains("session-shop"), "{request}");

    // Neither a new server nor a new broker asks again.
    let id = session.id();
    session.kill9();
    let mut session = options.start(&sandbox);
    session.until_live();
    assert_eq!(session.id(), id);
    let old = sandbox.kill9_broker().unwrap();
    until("another broker", || sandbox.broker().is_some_and(|broker| broker.pid != old));
    session.until_live();
    assert_eq!(session.me()["summary"], "Works on the shop's checkout.");
    // Another session asks. When it has its answer, the first has had time to ask.
    let mut next = endpoint.options("next").start(&sandbox);
    until("the next one has its own", || next.me()["summary"] == "A second answer.");
    assert_eq!(endpoint.asked().len(), 2);
    assert_eq!(session.me()["summary"], "Works on the shop's checkout.");
}

#[test]
fn an_endpoint_that_fails_is_asked_once_and_the_session_works() {
    let sandbox = Sandbox::new();
    let completion =
        |text: &str| json!({ "choices": [{ "message": { "content": text } }] }).to_string();
    for (number, behaviour) in [
        Behaviour::Body(500, "{\"error\":{\"message\":\"no\"}}".to_owned()),
        Behaviour::Body(401, String::new()),
        Behaviour::Body(302, String::new()),
        Behaviour::Body(200, "<html>hello</html>".to_owned()),
        Behaviour::Body(200, "{}".to_owned()),
        Behaviour::Body(200, completion("")),
        Behaviour::Body(200, completion("{\"a\": 1}")),
        Behaviour::Body(200, completion("\u{1b}\u{7}\u{200b}")),
        Behaviour::Body(200, "x".repeat(1024 * 1024)),
        Behaviour::Closes,
    ]
    .into_iter()
    .enumerate()
    {
        let endpoint = Endpoint::new([behaviour]);
        let name = format!("dir-{number}");
        let mut session = endpoint.options(&name).start(&sandbox);
        until("it was asked", || !endpoint.asked().is_empty());
        session.until_live();
        // The end of the server ends whatever was in flight.
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(session.me()["summary"], "", "{number}");
        session.kill9();
        let mut again = endpoint.options(&name).start(&sandbox);
        again.until_live();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(endpoint.asked().len(), 1, "{number}: asked once and no more");
        again.call("set_summary", json!({ "summary": "by hand" }));
        assert_eq!(again.me()["summary"], "by hand");
    }
}

#[test]
fn an_endpoint_that_never_answers_is_given_up() {
    let sandbox = Sandbox::new();
    let given_up = Arc::new(AtomicBool::new(false));
    let endpoint = Endpoint::new([Behaviour::Silent(Arc::clone(&given_up))]);
    let mut session = endpoint.options("work").start(&sandbox);
    until("it was asked", || !endpoint.asked().is_empty());
    session.until_live();
    sandbox.ok(["send", "work", "meanwhile"]);
    assert_eq!(session.push()["content"], "meanwhile");
    until("the session has given up", || given_up.load(Ordering::SeqCst));
    assert_eq!(session.me()["summary"], "");
    session.call("set_summary", json!({ "summary": "by hand" }));
}

#[test]
fn an_answer_that_comes_late_never_replaces_what_the_session_said() {
    let sandbox = Sandbox::new();
    let go = Arc::new(AtomicBool::new(false));
    let endpoint =
        Endpoint::new([Behaviour::After(Arc::clone(&go), "An automatic one.".to_owned())]);
    let mut session = endpoint.options("work").start(&sandbox);
    let mut other = endpoint.options("other").start(&sandbox);
    until("both have asked", || endpoint.asked().len() == 2);
    // A slow endpoint delays no session.
    session.call("set_summary", json!({ "summary": "set by the session" }));
    go.store(true, Ordering::SeqCst);
    until("the answer has come", || other.me()["summary"] == "An automatic one.");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(session.me()["summary"], "set by the session");
}

#[test]
fn nothing_is_asked_where_it_is_switched_off_or_for_a_one_shot_session() {
    let sandbox = Sandbox::new();
    let endpoint = Endpoint::new([Behaviour::Says("Asked after all.".to_owned())]);
    let mut quiet = vec![
        endpoint.options("off").with("CLAUDE_PEERS_AUTO_SUMMARY", "off").start(&sandbox),
        endpoint.options("without-key").with("OPENAI_API_KEY", "").start(&sandbox),
    ];
    // The options set the entry point after their own variables, so it is set by hand.
    let directory = sandbox.path().join("one-shot");
    std::fs::create_dir(&directory).unwrap();
    let mut command = sandbox.command(["mcp"]);
    command
        .current_dir(&directory)
        .envs(endpoint.options("x").variables)
        .env("CLAUDE_CODE_SESSION_ID", "one-shot")
        .env("CLAUDE_CODE_ENTRYPOINT", "sdk-cli");
    let mut one_shot = Session::spawn(command);
    one_shot.handshake("claude-code");
    quiet.push(one_shot);
    for session in &mut quiet {
        session.until_live();
    }
    let mut asking = endpoint.options("asking").start(&sandbox);
    until("one that may asks", || asking.me()["summary"] == "Asked after all.");
    assert_eq!(endpoint.asked().len(), 1);
    for session in &mut quiet {
        assert_eq!(session.me()["summary"], "");
    }
    let text = asking.text("list_peers", json!({}));
    assert!(text.contains("a one-shot session that ends with its answer"), "{text}");
}

#[cfg(target_os = "linux")]
#[test]
fn keys_and_tokens_of_a_session_never_reach_the_broker() {
    let sandbox = Sandbox::new();
    let endpoint = Endpoint::new([Behaviour::Says("Fine.".to_owned())]);
    let mut session = endpoint
        .options("work")
        .with("ANTHROPIC_API_KEY", "sk-ant-secret")
        .with("CLAUDE_CODE_MESSAGING_TOKEN", "token-secret")
        .with("CLAUDE_PEERS_NAME", "named")
        .with("SOME_PASSWORD", "password-secret")
        .start(&sandbox);
    until("it is described", || session.me()["summary"] == "Fine.");
    let pid = sandbox.broker().unwrap().pid;
    assert_eq!(sandbox.json(["status"])["health"]["started"], "fallback");
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment);
    assert!(environment.contains("HOME="), "it can be read: {environment}");
    for secret in ["secret", "OPENAI", "ANTHROPIC", "CLAUDE_CODE", "CLAUDE_PEERS_NAME", "PASSWORD"]
    {
        assert!(!environment.contains(secret), "{secret}: {environment}");
    }
    // Nor do its log and the database have them.
    let log = std::fs::read_to_string(sandbox.config().paths.log).unwrap();
    assert!(!log.contains("secret"), "{log}");
    for suffix in ["", "-wal"] {
        let path = format!("{}{suffix}", sandbox.database().display());
        let bytes = std::fs::read(path).unwrap();
        let hidden = b"sk-very-secret-key";
        assert!(!bytes.windows(hidden.len()).any(|part| part == hidden), "{suffix}");
    }
    // The broker outlives the process that started it.
    session.kill9();
    let status = std::process::Command::new("kill").args(["-0", &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// `rm DATABASE && claude-peers kill-broker`: the sessions' servers know the summaries.
#[test]
fn a_new_broker_is_given_each_sessions_name_and_summary_again() {
    let sandbox = Sandbox::new();
    let endpoint = Endpoint::new([Behaviour::Says("Made by the endpoint.".to_owned())]);
    let mut spoken = sandbox.session("spoken");
    spoken.call("set_summary", json!({ "summary": "Said by the model.", "name": "chosen" }));
    let mut automatic = endpoint.options("automatic").start(&sandbox);
    let listed = || sandbox.json(["peers"])["peers"].as_array().unwrap().clone();
    until("the endpoint's is there", || {
        listed().iter().any(|peer| peer["summary"] == "Made by the endpoint.")
    });
    let before = spoken.id();
    std::fs::remove_file(sandbox.database()).unwrap();
    sandbox.ok(["kill-broker"]);
    let all = [("chosen", "Said by the model."), ("automatic", "Made by the endpoint.")];
    until("all are here again", || {
        let peers = listed();
        all.iter().all(|(name, summary)| {
            peers.iter().any(|peer| peer["name"] == *name && peer["summary"] == *summary)
        })
    });
    assert_ne!(spoken.id(), before, "it is a new database");
    assert_eq!(endpoint.asked().len(), 1, "the endpoint is not asked again");
    // The sources are kept, too: a summary by the session replaces an automatic one, not vice
    // versa.
    let connection = rusqlite::Connection::open(sandbox.database()).unwrap();
    let source = |name: &str| -> String {
        let select = "SELECT summary_source FROM peers WHERE name = ?1";
        connection.query_row(select, [name], |row| row.get(0)).unwrap()
    };
    assert_eq!((source("chosen"), source("automatic")), ("session".into(), "automatic".into()));
    automatic.call("set_summary", json!({ "summary": "Said at last." }));
    assert_eq!(source("automatic"), "session");
}
