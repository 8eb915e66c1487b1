//! `doctor`: each fault is planted, found, and gone once its advice was followed as printed.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::cli::shell;
use crate::support::http::{RawPeer, Request};
use crate::support::{Sandbox, free_port, until, write_program};
use crate::upgrade::older_broker;

/// Runs it; gives the exit code and the findings.
fn examine(sandbox: &Sandbox) -> (i32, Vec<Value>) {
    let output = sandbox.run(["doctor", "--json", "--no-claude"]);
    let error = String::from_utf8_lossy(&output.stderr);
    let findings = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {error}{}", String::from_utf8_lossy(&output.stdout)));
    (output.status.code().unwrap(), findings)
}

/// What is not as it should be.
fn faults(findings: &[Value]) -> Vec<&Value> {
    findings.iter().filter(|finding| finding["level"] != "ok").collect()
}

#[track_caller]
fn is_clean(sandbox: &Sandbox) {
    let (code, findings) = examine(sandbox);
    assert_eq!((code, faults(&findings)), (0, Vec::new()));
    let text = sandbox.ok(["doctor", "--no-claude"]);
    assert!(text.ends_with("\nAll is well.\n"), "{text}");
}

/// Finds the one fault of this check whose text has these words.
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

/// Time passes between two runs.
fn without_uptime(text: &str) -> String {
    match text.split_once("runs for ") {
        Some((before, after)) => {
            format!("{before}{}", after.split_once(';').map_or("", |(_, rest)| rest))
        }
        None => text.to_owned(),
    }
}

/// The same in the text, with the command.
#[track_caller]
fn is_told(text: &str, found: &Value) {
    let level = found["level"].as_str().unwrap().to_uppercase();
    let said = without_uptime(found["finding"].as_str().unwrap());
    let line = text
        .lines()
        .find(|line| without_uptime(line).ends_with(&said))
        .unwrap_or_else(|| panic!("{text}"));
    assert!(line.starts_with(&level), "{line}");
    let mend = format!("mend: {}\n", found["mend"].as_str().unwrap());
    assert!(text.contains(&mend), "{text}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

/// Follows the advice as it is printed.
#[track_caller]
fn follow(sandbox: &Sandbox, found: &Value) {
    let mend = found["mend"].as_str().unwrap_or_else(|| panic!("no advice: {found}"));
    let output = shell(sandbox, mend);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{mend}: {error}");
}

/// A planted fault that stays until it is mended.
#[track_caller]
fn is_found_and_mended(sandbox: &Sandbox, check: &str, level: &str, words: &[&str]) {
    let found = find(sandbox, check, level, words);
    let text = sandbox.run(["doctor", "--no-claude"]);
    is_told(&String::from_utf8(text.stdout).unwrap(), &found);
    follow(sandbox, &found);
    is_clean(sandbox);
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_database_whose_path_is_no_text_is_looked_into() {
    use std::os::unix::ffi::OsStrExt as _;

    let sandbox = Sandbox::new();
    let directory = sandbox.path().join(std::ffi::OsStr::from_bytes(b"a\xff%3f?#"));
    std::fs::create_dir(&directory).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command.env("CLAUDE_PEERS_DB", directory.join("x.db")).output().unwrap()
    };
    let told = String::from_utf8_lossy(&run(&["doctor"]).stdout).into_owned();
    assert!(told.contains("is sound"), "{told}");
}

#[test]
fn a_message_goes_the_whole_way_and_nothing_of_it_is_left() {
    let sandbox = Sandbox::new();
    assert!(sandbox.holder().is_none());
    is_clean(&sandbox);
    let running = sandbox.holder().unwrap().pid;
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
    assert!(told("database").contains("is sound"));

    // Nobody sees any of it, and the order of what follows does not know of it.
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
    assert_eq!(sandbox.holder().unwrap().pid, running, "nothing was restarted");

    drop(session);
    sandbox.ok(["kill-broker"]);
    let database = Connection::open(sandbox.database()).unwrap();
    let count = |what: &str| -> i64 {
        database.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count("peers"), 3, "the command line's, the broker's and the session's");
    assert_eq!((count("messages"), count("receivers")), (2, 1));
    assert_eq!(count("messages WHERE seq < 1 OR text LIKE '%protocol%'"), 0);
    assert_eq!(count("answers WHERE caller NOT IN (SELECT instance FROM receivers)"), 2);
}

#[test]
fn a_probe_that_was_left_is_seen_by_nobody_and_the_next_one_removes_it() {
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
        let sql = "SELECT count(*) FROM peers WHERE kind = 'history' AND id <> 'broker'";
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

#[test]
fn a_stale_socket_is_told_though_the_examination_itself_mends_it() {
    let sandbox = Sandbox::new();
    for text in [false, true] {
        sandbox.ok(["peers"]);
        sandbox.kill9_broker().unwrap();
        until("it is gone", || sandbox.holder().is_none());
        assert!(sandbox.socket().exists());
        if text {
            let told = sandbox.ok(["doctor", "--no-claude"]);
            assert!(told.contains("WARNING  socket "), "{told}");
            assert!(told.contains("mend: claude-peers peers\n"), "{told}");
            assert!(told.ends_with("\n0 failures, 1 warning.\n"), "{told}");
        } else {
            let found = find(&sandbox, "socket", "warning", &["stale", "nobody listened"]);
            let running = sandbox.holder().unwrap().pid;
            follow(&sandbox, &found);
            assert_eq!(sandbox.holder().unwrap().pid, running, "the advice does no harm");
        }
        is_clean(&sandbox);
    }
}

#[test]
fn a_broker_that_lost_its_socket_is_told_and_not_ended() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let running = sandbox.holder().unwrap().pid;
    std::fs::remove_file(sandbox.socket()).unwrap();
    is_found_and_mended(&sandbox, "socket", "failure", &["leads nowhere", &running.to_string()]);
    assert_ne!(sandbox.holder().unwrap().pid, running);
}

#[test]
fn what_is_no_socket_in_its_place_is_moved_out_of_the_way() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    sandbox.ok(["kill-broker"]);
    std::fs::create_dir(sandbox.socket()).unwrap();
    is_found_and_mended(&sandbox, "socket", "failure", &["no socket"]);
}

/// Not a test: a stranger that holds the port, run by the test below in a process of its own.
#[test]
#[ignore = "another test runs it, as a process of its own"]
fn the_stranger_on_the_port() {
    if let Ok(port) = std::env::var("CLAUDE_PEERS_TEST_STRANGER") {
        let _listener = std::net::TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
        std::thread::sleep(std::time::Duration::from_secs(600));
    }
}

#[cfg(target_os = "linux")]
fn stranger(port: u16) -> std::process::Child {
    use std::process::{Command, Stdio};

    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "doctor::the_stranger_on_the_port", "--ignored"])
        .env("CLAUDE_PEERS_TEST_STRANGER", port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until("it listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    child
}

#[cfg(target_os = "linux")]
#[test]
fn a_stranger_on_the_port_is_named() {
    let sandbox = Sandbox::new();
    let mut stranger = stranger(sandbox.port());
    let pid = format!("process {}", stranger.id());
    is_found_and_mended(&sandbox, "port", "warning", &["is held by", &pid]);
    stranger.wait().unwrap();

    // It came and went: nobody has the port, and the broker did not get it.
    sandbox.ok(["kill-broker"]);
    let mut stranger = self::stranger(sandbox.port());
    sandbox.ok(["peers"]);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    is_found_and_mended(&sandbox, "port", "warning", &["is not served", "nobody else"]);
}

#[test]
fn a_database_of_another_user_is_told() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give a file away");
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    sandbox.ok(["kill-broker"]);
    std::os::unix::fs::chown(sandbox.database(), Some(12_345), None).unwrap();
    let (_, findings) = examine(&sandbox);
    let trip = faults(&findings).into_iter().find(|f| f["check"] == "round trip").unwrap();
    assert!(trip["finding"].as_str().unwrap().contains("belongs to user id 12345"), "{trip}");
    is_found_and_mended(&sandbox, "database", "failure", &["belongs to user 12345"]);
    assert!(std::fs::metadata(sandbox.database()).unwrap().uid() == 0);
}

#[test]
fn a_token_that_others_could_read_is_replaced_by_the_advice() {
    let sandbox = Sandbox::new();
    for running in [true, false] {
        sandbox.ok(["peers"]);
        let token = sandbox.token();
        let path = sandbox.config().paths.token;
        if !running {
            sandbox.ok(["kill-broker"]);
        }
        chmod(&path, 0o644);
        let output = sandbox.run(["doctor", "--no-claude", "--json"]);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains("is open to others (mode 0644)"), "{told}");
        assert!(!told.contains(&token), "{told}");
        if running {
            is_found_and_mended(&sandbox, "files", "failure", &["token", "mode 0644"]);
        } else {
            // A broker that starts has made a new one by now.
            is_clean(&sandbox);
        }
        assert_eq!(mode(&path), 0o600);
        assert_ne!(sandbox.token(), token, "whoever read the old one has nothing");
    }
    std::fs::remove_file(sandbox.config().paths.token).unwrap();
    is_found_and_mended(&sandbox, "files", "warning", &["token", "is missing"]);
    std::fs::write(sandbox.config().paths.token, "0".repeat(64)).unwrap();
    chmod(&sandbox.config().paths.token, 0o600);
    is_found_and_mended(&sandbox, "port", "failure", &["refuses the token"]);
}

#[test]
fn directories_and_files_that_are_open_to_others_are_told() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let paths = sandbox.config().paths;
    for (path, open, closed, check) in [
        (paths.runtime().to_owned(), 0o755, 0o700, "files"),
        (paths.state().to_owned(), 0o770, 0o700, "files"),
        (sandbox.database(), 0o640, 0o600, "database"),
    ] {
        chmod(&path, open);
        let words = ["is open to others", &path.display().to_string()];
        is_found_and_mended(&sandbox, check, "warning", &words);
        assert_eq!(mode(&path), closed);
    }
    std::fs::create_dir_all(paths.config_file.parent().unwrap()).unwrap();
    std::fs::write(&paths.config_file, "").unwrap();
    chmod(&paths.config_file, 0o666);
    is_found_and_mended(&sandbox, "files", "warning", &["configuration file", "open to others"]);
}

#[test]
fn an_old_broker_that_still_runs_is_told_and_not_ended() {
    for role in ["fallback", "foreground"] {
        let sandbox = Sandbox::new();
        let mut older = older_broker(&sandbox, role);
        let found = find(&sandbox, "broker", "failure", &["an old broker", "protocol 0"]);
        assert_eq!(older.try_wait().unwrap(), None, "it goes on");
        follow(&sandbox, &found);
        older.wait().unwrap();
        is_clean(&sandbox);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_broker_whose_program_was_replaced_or_is_another_is_told() {
    use crate::support::{PROGRAM, copy_program};

    let sandbox = Sandbox::new();
    let copy = sandbox.path().join("claude-peers");
    copy_program(&copy);
    let run = || {
        let mut command = sandbox.command_of(&copy, ["broker"]);
        let quiet = std::process::Stdio::null;
        let child = command.stdout(quiet()).stderr(quiet()).spawn().unwrap();
        until("it serves", || sandbox.status_is("running"));
        child
    };
    // A copy is as good as this program.
    let mut child = run();
    is_clean(&sandbox);
    // As a package manager does it: another file under the same name.
    copy_program(&sandbox.path().join("new"));
    std::fs::rename(sandbox.path().join("new"), &copy).unwrap();
    is_found_and_mended(&sandbox, "broker", "warning", &["an old broker", "was replaced"]);
    child.wait().unwrap();
    sandbox.ok(["kill-broker"]);

    let mut bytes = std::fs::read(PROGRAM).unwrap();
    bytes.push(0);
    write_program(&copy, bytes);
    let mut child = run();
    is_found_and_mended(&sandbox, "broker", "warning", &["another build"]);
    child.wait().unwrap();
}

#[test]
fn a_broker_that_hangs_is_told_and_not_ended() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let broker = sandbox.holder().unwrap();
    let pid = rustix::process::Pid::from_raw(broker.pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let words = ["does not answer", &broker.pid.to_string()];
    let found = find(&sandbox, "broker", "failure", &words);
    assert_eq!(sandbox.holder().unwrap().pid, broker.pid);
    follow(&sandbox, &found);
    is_clean(&sandbox);
}

/// The same, with a broker that was started where no variable says anything.
fn restarted_elsewhere(sandbox: Sandbox) -> Sandbox {
    sandbox.ok(["kill-broker"]);
    let mut command = sandbox.command(["peers"]);
    for name in ["DB", "MAX_UNREAD", "MESSAGE_BURST"] {
        command.env_remove(format!("CLAUDE_PEERS_{name}"));
    }
    assert!(command.output().unwrap().status.success());
    sandbox
}

/// The advice makes both go by the client's value, wherever the file stands.
#[test]
fn settings_that_differ_are_named_with_their_sources() {
    let sandbox = Sandbox::new();
    sandbox.ok(["peers"]);
    let file = sandbox.config().paths.config_file;
    let other = sandbox.path().join("it's other.db").display().to_string();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", other.clone());
    let words = ["differ in database", &other, "here (environment)", "there (default)"];
    is_found_and_mended(&sandbox, "configuration", "failure", &words);
    assert_eq!(sandbox.json(["status"])["health"]["database"], other.as_str());

    // The file has a key already, a table already, nothing of both.
    let sandbox = restarted_elsewhere(sandbox);
    let another = sandbox.path().join("another&.db").display().to_string();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", another.clone());
    is_found_and_mended(&sandbox, "configuration", "failure", &["differ in database", &another]);
    let sandbox = restarted_elsewhere(sandbox).with("CLAUDE_PEERS_MAX_UNREAD", "7");
    is_found_and_mended(&sandbox, "configuration", "warning", &["limits.max_unread", "7 here"]);
    let sandbox = restarted_elsewhere(sandbox).with("CLAUDE_PEERS_MESSAGE_BURST", "3");
    is_found_and_mended(&sandbox, "configuration", "warning", &["limits.message_burst"]);
    let sandbox = restarted_elsewhere(sandbox).with("CLAUDE_PEERS_IDLE_EXIT_SECONDS", "60");
    is_found_and_mended(&sandbox, "configuration", "warning", &["idle_exit_seconds"]);
    let text = std::fs::read_to_string(&file).unwrap();
    let expected = format!(
        "idle_exit_seconds = 60\ndatabase = \"{another}\"\n[limits]\nmessage_burst = 3\nmax_unread = 7\n"
    );
    assert_eq!(text, expected);

    // What changed in the file since the broker started.
    std::fs::write(&file, text.replace("= 7", "= 8")).unwrap();
    let sandbox = sandbox.with("CLAUDE_PEERS_MAX_UNREAD", "");
    let words = ["limits.max_unread", "8 here (configuration file)", "7 there"];
    is_found_and_mended(&sandbox, "configuration", "warning", &words);
}

#[test]
fn a_reload_that_failed_is_told_until_the_broker_starts_anew() {
    let sandbox = Sandbox::new();
    is_clean(&sandbox);
    let paths = sandbox.config().paths;
    let file = paths.config_file;
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let broker = sandbox.holder().unwrap();
    std::fs::write(&file, "no TOML").unwrap();
    let process = rustix::process::Pid::from_raw(broker.pid.try_into().unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::HUP).unwrap();
    // With a file like that nothing else can ask the broker; its log tells when it has looked.
    let log = paths.log;
    until("it has read the file", || {
        std::fs::read_to_string(&log).unwrap().contains("was not read again")
    });
    std::fs::remove_file(&file).unwrap();
    is_found_and_mended(&sandbox, "configuration", "warning", &["told to reload", "old settings"]);
}

#[test]
fn a_database_that_a_broker_with_other_settings_has_is_told() {
    let sandbox = Sandbox::new();
    let database = sandbox.path().join("one.db").display().to_string();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", database);
    sandbox.ok(["peers"]);
    let running = sandbox.holder().unwrap().pid.to_string();
    let sandbox = sandbox.with("CLAUDE_PEERS_PORT", free_port().to_string());
    is_found_and_mended(&sandbox, "configuration", "failure", &["in use by a broker", &running]);
}

#[test]
fn a_configuration_that_cannot_be_used_is_a_finding() {
    let sandbox = Sandbox::new();
    let file = sandbox.config().paths.config_file;
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "prot = 1").unwrap();
    is_found_and_mended(&sandbox, "configuration", "failure", &["not valid", "prot"]);
    let output = sandbox.command(["doctor"]).env("CLAUDE_PEERS_PORT", "many").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("mend: unset CLAUDE_PEERS_PORT\n"), "{told}");
}

#[test]
fn every_value_is_told_with_its_source_and_no_secret_is() {
    let sandbox = Sandbox::new().with("OPENAI_API_KEY", "sk-secret-of-mine");
    std::fs::create_dir_all(sandbox.config().paths.config_file.parent().unwrap()).unwrap();
    std::fs::write(sandbox.config().paths.config_file, "[limits]\nmax_unread = 5\n").unwrap();
    let (_, findings) = examine(&sandbox);
    let settings: Vec<&str> = findings
        .iter()
        .filter(|f| f["check"] == "setting")
        .map(|f| f["finding"].as_str().unwrap())
        .collect();
    let port = format!("port = {} (environment)", sandbox.port());
    for told in [
        &*port,
        "limits.max_unread = 5 (configuration file)",
        "limits.message_burst = 20 (default)",
        "OPENAI_API_KEY = set (environment)",
    ] {
        assert!(settings.contains(&told), "{told}: {settings:#?}");
    }
    let quiet = sandbox.ok(["doctor", "--no-claude"]);
    let all = sandbox.ok(["doctor", "--no-claude", "--all"]);
    assert!(quiet.contains(&port) && !quiet.contains("message_burst"), "{quiet}");
    assert!(settings.iter().all(|setting| all.contains(setting)), "{all}");
    for text in [quiet, all, format!("{findings:?}")] {
        assert!(!text.contains("sk-secret") && !text.contains(&sandbox.token()), "{text}");
    }
}

/// Claude Code itself is asked where it is; here a program of its name hangs, knows nothing, or
/// is not there.
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
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        findings.into_iter().find(|f| f["check"] == "claude").unwrap()
    };
    let sandbox = sandbox.with("PATH", format!("{}:{path}", bin.display()));
    let none = told(&sandbox, "[ \"$1\" = --version ] && echo '2.1.0 (Claude Code)'; exit 0");
    assert_eq!(none["level"], "warning");
    assert!(none["mend"].as_str().unwrap().ends_with("claude-peers setup claude"), "{none}");
    let known = told(
        &sandbox,
        "case $1 in mcp) echo 'peers: claude-peers mcp - ✓ Connected';; *) echo 2.1.0;; esac",
    );
    assert_eq!(known["level"], "ok", "{known}");
    let broken = told(&sandbox, "echo 'no configuration' >&2; exit 1");
    assert_eq!(broken["level"], "warning");
    assert!(broken["finding"].as_str().unwrap().contains("no configuration"), "{broken}");
    // What it started must not be left behind either.
    let hangs =
        told(&sandbox, "[ $1 = mcp ] || exit 0; sleep 601 & echo $! > \"$HOME/child\"; wait");
    assert!(hangs["finding"].as_str().unwrap().contains("did not end within 20 s"), "{hangs}");
    let child = std::fs::read_to_string(sandbox.home().join("child")).unwrap();
    let child: i32 = child.trim().parse().unwrap();
    let child = rustix::process::Pid::from_raw(child).unwrap();
    until("it is ended", || rustix::process::test_kill_process(child).is_err());

    let output = sandbox.run(["doctor", "--json", "--no-claude"]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("left out"));
    let sandbox = sandbox.with("PATH", "/nonexistent");
    let output = sandbox.run(["doctor"]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("there is no `claude` in PATH"));
}
