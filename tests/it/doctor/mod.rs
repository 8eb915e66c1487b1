//! Doctor: each fault is planted, found, and gone after the printed fix was run.
//!
//! Promise 4: no fix ends or removes what is not proven ours.

mod brokers;
mod database;
mod endpoint;
mod files;
mod hooks;
mod settings;

use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::http::{RawPeer, Request};
use crate::support::{Sandbox, findings_of, until, write_program};

/// Runs doctor. Returns the exit code and the findings.
fn examine(sandbox: &Sandbox) -> (i32, Vec<Value>) {
    let output = sandbox.run(["doctor", "--json", "--no-claude"]);
    let findings = findings_of(&output);
    (output.status.code().unwrap(), findings)
}

/// The findings that are not `ok`.
fn faults(findings: &[Value]) -> Vec<&Value> {
    findings.iter().filter(|finding| finding["level"] != "ok").collect()
}

#[track_caller]
fn is_clean(sandbox: &Sandbox) {
    let (code, findings) = examine(sandbox);
    assert_eq!((code, faults(&findings)), (0, Vec::new()));
    let text = sandbox.ok(["doctor", "--no-claude"]);
    assert!(text.ends_with("\nNo problems found.\n"), "{text}");
}

/// Returns the fault of this check whose text has these words.
#[track_caller]
fn find(sandbox: &Sandbox, check: &str, level: &str, words: &[&str]) -> Value {
    let (code, findings) = examine(sandbox);
    let found = faults(&findings).into_iter().find(|finding| {
        let text = format!("{} {}", finding["finding"], finding["detail"]);
        finding["check"] == check && words.iter().all(|word| text.contains(word))
    });
    let found = found.unwrap_or_else(|| panic!("{check} {words:?}: {findings:#?}"));
    assert_eq!(found["level"], level, "{found}");
    let fails = findings.iter().any(|finding| finding["level"] == "failure");
    assert_eq!(code, i32::from(fails), "{findings:#?}");
    found.clone()
}

/// The uptime differs between two runs.
fn without_uptime(text: &str) -> String {
    match text.split_once("running for ") {
        Some((before, after)) => {
            format!("{before}{}", after.split_once(',').map_or("", |(_, rest)| rest))
        }
        None => text.to_owned(),
    }
}

/// Checks that the text form says the same, with the fix.
#[track_caller]
fn is_told(text: &str, found: &Value) {
    let level = found["level"].as_str().unwrap().to_uppercase();
    let said = without_uptime(found["finding"].as_str().unwrap());
    let line = text
        .lines()
        .find(|line| without_uptime(line).ends_with(&said))
        .unwrap_or_else(|| panic!("{text}"));
    assert!(line.starts_with(&level), "{line}");
    let fix = format!("fix: {}\n", found["fix"].as_str().unwrap());
    assert!(text.contains(&fix), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

/// Runs the fix as it is printed.
#[track_caller]
fn follow(sandbox: &Sandbox, found: &Value) {
    let fix = found["fix"].as_str().unwrap_or_else(|| panic!("no advice: {found}"));
    let output = sandbox.shell(fix);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{fix}: {error}");
}

/// Checks a fault that stays until it is fixed: it is found, and gone after the fix was run.
#[track_caller]
fn is_found_and_fixed(sandbox: &Sandbox, check: &str, level: &str, words: &[&str]) {
    let found = find(sandbox, check, level, words);
    let text = sandbox.run(["doctor", "--no-claude"]);
    is_told(&String::from_utf8(text.stdout).unwrap(), &found);
    follow(sandbox, &found);
    is_clean(sandbox);
}

#[test]
fn a_message_goes_the_whole_way_and_nothing_of_it_is_left() {
    let sandbox = Sandbox::new();
    assert!(sandbox.broker().is_none());
    is_clean(&sandbox);
    let running = sandbox.broker().unwrap().pid;
    let mut session = sandbox.session("backend");
    let first = sandbox.ok(["send", "backend", "before"]);
    assert_eq!(session.push()["content"], "before");

    let (_, findings) = examine(&sandbox);
    let trip = findings.iter().find(|f| f["check"] == "round trip").unwrap();
    assert!(trip["finding"].as_str().unwrap().contains(" ms"), "{trip}");
    let told =
        |check: &str| findings.iter().find(|f| f["check"] == check).unwrap()["finding"].to_string();
    assert!(told("broker").contains(&format!("process {running}")));
    assert!(told("socket").contains(&running.to_string()));
    assert!(told("port").contains(&sandbox.port().to_string()));
    assert!(told("database").contains("is intact"));

    // No trace is visible, and the order of later messages is not affected.
    let second = sandbox.ok(["send", "backend", "after"]);
    assert_eq!(session.push()["content"], "after");
    let log = sandbox.json(["log"]);
    let ids: Vec<&str> =
        log["messages"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    let id = |sent: &str| sent.split(' ').next().unwrap().to_owned();
    assert_eq!(ids, [id(&first), id(&second)]);
    let peers = sandbox.json(["peers", "--all"]);
    assert_eq!(peers["peers"].as_array().unwrap().len(), 1, "{peers}");
    assert_eq!(sandbox.json(["status"])["health"]["backlog"], 2);
    assert_eq!(sandbox.broker().unwrap().pid, running, "nothing was restarted");

    drop(session);
    sandbox.ok(["kill-broker"]);
    let database = Connection::open(sandbox.database()).unwrap();
    let count = |what: &str| -> i64 {
        database.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count("peers"), 3, "the command line's, the broker's and the session's");
    assert_eq!((count("messages"), count("receivers")), (2, 1));
    assert_eq!(count("messages WHERE seq < 1 OR text LIKE '%protocol%'"), 0);
    assert_eq!(count("answers WHERE caller NOT IN (SELECT instance FROM receivers)"), 0);
    assert_eq!(count("messages WHERE key_caller = 'cli'"), 2);
}

#[test]
fn a_probe_that_was_left_is_invisible_and_the_next_one_removes_it() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let secret = "x".repeat(64);
    let register = json!({
        "instance": "left", "secret": secret, "cwd": "/", "channel": "absent", "probe": true,
    });
    let answer = Request::post("/v1/register", &register).unix(&sandbox);
    assert_eq!(answer.status, 200);
    let id = answer.json()["peer"]["id"].as_str().unwrap().to_owned();
    let send = |to: &str| {
        let body = json!({ "to": to, "text": "to myself" });
        Request::post("/v1/messages", &body).session(&secret).unix(&sandbox)
    };
    assert_eq!(send(&id).status, 200);

    let backend = RawPeer::register(&sandbox, "backend");
    assert_eq!(send("backend").refusal(), (403, "forbidden".to_owned()));
    assert_eq!(send("cli").refusal(), (403, "forbidden".to_owned()));
    assert_eq!(backend.try_send(&sandbox, &id, "hello").status, 404);
    assert_eq!(sandbox.fails(["send", &id, "hello"]).0, 1);
    assert_eq!(sandbox.json(["log"])["messages"], json!([]));
    assert!(!sandbox.ok(["peers", "--all"]).contains(&id));
    assert_eq!(sandbox.json(["status"])["health"]["backlog"], 0);
    let leave =
        |secret: &str| Request::post("/v1/unregister", &json!({})).session(secret).unix(&sandbox);
    assert_eq!(leave(&backend.secret).refusal(), (403, "forbidden".to_owned()));
    assert_eq!(Request::post("/v1/unregister", &json!({})).unix(&sandbox).status, 403);

    is_clean(&sandbox);
    let rows = || -> i64 {
        let database = Connection::open(sandbox.database()).unwrap();
        let sql = "SELECT count(*) FROM peers WHERE kind = 'probe'";
        database.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(rows(), 1, "it may be at work");
    sandbox.ok(["kill-broker"]);
    let database = Connection::open(sandbox.database()).unwrap();
    database.execute("UPDATE receivers SET registered_at = 0 WHERE instance = 'left'", []).unwrap();
    drop(database);
    is_clean(&sandbox);
    assert_eq!(rows(), 0);
}

/// Claude Code is asked for its servers. Here a program of its name hangs, knows nothing, or is
/// missing.
#[test]
fn claude_code_is_asked_with_a_time_limit_or_left_out() {
    let sandbox = Sandbox::new();
    let bin = sandbox.path().join("claude-bin");
    std::fs::create_dir(&bin).unwrap();
    let path = sandbox.variable("PATH").unwrap().to_owned();
    let told = |sandbox: &Sandbox, script: &str| {
        let claude = bin.join("claude");
        write_program(&claude, format!("#!/bin/sh\n{script}\n"));
        let output = sandbox.run(["doctor", "--json"]);
        findings_of(&output).into_iter().find(|f| f["check"] == "claude").unwrap()
    };
    let sandbox = sandbox.with("PATH", format!("{}:{path}", bin.display()));
    let none = told(&sandbox, "[ \"$1\" = --version ] && echo '2.1.0 (Claude Code)'; exit 0");
    assert_eq!(none["level"], "warning");
    assert!(none["fix"].as_str().unwrap().ends_with("claude-peers setup claude"), "{none}");
    let known = told(
        &sandbox,
        "case $1 in mcp) echo 'peers: claude-peers mcp - ✓ Connected';; *) echo 2.1.0;; esac",
    );
    assert_eq!(known["level"], "ok", "{known}");
    let broken = told(&sandbox, "echo 'no configuration' >&2; exit 1");
    assert_eq!(broken["level"], "warning");
    assert!(broken["finding"].as_str().unwrap().contains("no configuration"), "{broken}");
    // The processes that it started must not be left behind either.
    let hangs =
        told(&sandbox, "[ $1 = mcp ] || exit 0; sleep 601 & echo $! > \"$HOME/child\"; wait");
    assert!(hangs["finding"].as_str().unwrap().contains("did not end within 20 s"), "{hangs}");
    let child = std::fs::read_to_string(sandbox.home().join("child")).unwrap();
    let child: i32 = child.trim().parse().unwrap();
    let child = rustix::process::Pid::from_raw(child).unwrap();
    until("it is ended", || rustix::process::test_kill_process(child).is_err());

    let output = sandbox.run(["doctor", "--json", "--no-claude"]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("skipped"));
    let sandbox = sandbox.with("PATH", "/nonexistent");
    let output = sandbox.run(["doctor"]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("there is no `claude` in PATH"));
}

/// Measured with the real client: without the rule it asks each time, and `-p` refuses.
#[test]
fn a_permission_rule_that_is_missing_or_denied_is_named_with_its_fix() {
    for (name, rule) in [
        ("claude-peers", "mcp__claude-peers"),
        ("plugin:peers:claude-peers", "mcp__plugin_peers_claude-peers"),
    ] {
        let sandbox = Sandbox::new();
        let script = format!(
            "#!/bin/sh\ncase $1 in mcp) echo '{name}: claude-peers mcp - ✔ Connected';; *) echo 2.1.0;; esac\n"
        );
        write_program(&sandbox.path().join("claude-bin/claude"), script);
        let path = sandbox.variable("PATH").unwrap().to_owned();
        let path = format!("{}:{path}", sandbox.path().join("claude-bin").display());
        let sandbox = sandbox.with("PATH", path);
        let told = || -> Vec<Value> {
            let findings = findings_of(&sandbox.run(["doctor", "--json"]));
            let claude = findings.into_iter().filter(|f| f["check"] == "claude");
            claude.filter(|finding| finding["level"] != "ok").collect()
        };
        let settings = sandbox.home().join(".claude/settings.json");
        let put = |file: &Path, value: Value| {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, value.to_string()).unwrap();
        };
        let missing = told();
        assert_eq!(missing.len(), 1, "{missing:?}");
        assert_eq!((&missing[0]["level"], missing.len()), (&"warning".into(), 1));
        assert!(missing[0]["detail"].as_str().unwrap().contains(rule), "{missing:?}");
        assert!(missing[0]["fix"].as_str().unwrap().ends_with("setup claude"), "{missing:?}");
        // The fix removes the finding. The stand-in registers nothing, so only the plugin's case
        // shows it.
        if name.starts_with("plugin:") {
            put(&settings, json!({ "enabledPlugins": { "peers@claude-peers": true } }));
            sandbox.ok(["setup", "claude", "--yes"]);
        } else {
            put(&settings, json!({ "permissions": { "allow": [rule] } }));
        }
        assert_eq!(told(), Vec::<Value>::new());
        // The project's own settings count as well.
        std::fs::remove_file(&settings).unwrap();
        let local = sandbox.path().join(".claude/settings.local.json");
        put(&local, json!({ "permissions": { "allow": [format!("{rule}__*")] } }));
        assert_eq!(told(), Vec::<Value>::new());
        put(&settings, json!({ "permissions": { "deny": [format!("{rule}__send_message")] } }));
        let denied = told();
        assert!(denied[0]["finding"].as_str().unwrap().contains("refuses"), "{denied:?}");
        let file = settings.display().to_string();
        assert!(denied[0]["detail"].as_str().unwrap().contains(&file), "{denied:?}");
    }
}
