//! Promise 8: one user has one broker, however the shell came about.
//!
//! Two runtime directories, one that is removed and made again, and one place under two names.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Barrier;

use serde_json::{Value, json};

use crate::support::hooks::context;
use crate::support::http::Request;
use crate::support::{Manager, Sandbox, SessionOptions, chmod, ends, findings_of, until};

fn private_directory(path: &Path) -> String {
    std::fs::create_dir_all(path).unwrap();
    chmod(path, 0o700);
    path.display().to_string()
}

/// The same user with another runtime directory.
fn elsewhere(sandbox: &Sandbox) -> Sandbox {
    sandbox.shell_with("XDG_RUNTIME_DIR", private_directory(&sandbox.path().join("other")))
}

fn names(listed: &Value) -> BTreeSet<String> {
    let peers = listed["peers"].as_array().unwrap();
    peers.iter().map(|peer| peer["name"].as_str().unwrap().to_owned()).collect()
}

fn faults(sandbox: &Sandbox) -> Vec<Value> {
    let output = sandbox.run(["doctor", "--json", "--no-claude"]);
    findings_of(&output).into_iter().filter(|finding| finding["level"] != "ok").collect()
}

#[test]
fn two_runtime_directories_of_one_user_have_one_broker() {
    let sandbox = Sandbox::new();
    let mut first = sandbox.session("first");
    let other = elsewhere(&sandbox);
    let (broker, socket) = (sandbox.broker().unwrap().pid, sandbox.socket());
    assert_ne!(socket, other.socket());

    let mut second = other.session("second");
    let mut third = SessionOptions::new("third").without_channel().start(&other);
    for shell in [&sandbox, &other] {
        let all = ["first", "second", "third"].map(str::to_owned);
        assert_eq!(names(&shell.json(["peers"])), BTreeSet::from(all));
        let status = shell.json(["status"]);
        assert_eq!((&status["state"], &status["pid"]), (&json!("running"), &json!(broker)));
        assert_eq!(status["socket"], socket.to_str().unwrap());
        assert_eq!(faults(shell), Vec::<Value>::new());
        assert_eq!(shell.ok(["token"]).trim(), sandbox.token());
    }
    first.send("second", "hello");
    assert_eq!(second.push()["content"], "hello");
    second.send("first", "and back");
    assert_eq!(first.push()["content"], "and back");
    first.send("third", "by its hook");
    let shown = context(&other, "UserPromptSubmit", "third", "t1", json!({}));
    assert!(shown.contains("by its hook"), "{shown}");
    other.ok(["send", "first", "from the command line"]);
    assert_eq!(first.push()["content"], "from the command line");

    let stopped = other.json(["kill-broker"]);
    assert_eq!((&stopped["was_running"], &stopped["pid"]), (&json!(true), &json!(broker)));
    // All clients meet at the next broker, whichever of them starts it.
    for session in [&mut third, &mut second, &mut first] {
        session.call("list_peers", json!({}));
    }
    until("all are live again", || sandbox.live_peers() == Some(3));
    assert_eq!(other.live_peers(), Some(3));
    assert_eq!(sandbox.json(["status"])["pid"], other.json(["status"])["pid"]);
}

#[test]
fn clients_of_two_runtime_directories_that_find_no_broker_all_meet_at_one() {
    let sandbox = Sandbox::new();
    let other = elsewhere(&sandbox);
    for _ in 0..3 {
        let together = Barrier::new(16);
        std::thread::scope(|scope| {
            for n in 0..16 {
                let (shell, together) = (if n % 2 == 0 { &sandbox } else { &other }, &together);
                scope.spawn(move || {
                    together.wait();
                    shell.ok(["peers"]);
                });
            }
        });
        let running = sandbox.broker().unwrap().pid;
        assert_eq!(other.broker().unwrap().pid, running);
        sandbox.kill9_broker();
        until("it is gone", || sandbox.broker().is_none());
    }
}

/// As `su` leaves it, which keeps the variable of another user.
#[test]
fn a_runtime_directory_of_another_user_does_not_end_the_search() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give a directory away");
        return;
    }
    let sandbox = Sandbox::new();
    let other = elsewhere(&sandbox);
    std::os::unix::fs::chown(sandbox.path().join("other"), Some(12_345), None).unwrap();
    let mut first = other.session("first");
    assert!(!other.socket().starts_with(sandbox.path().join("other")));
    let mut second = sandbox.session("second");
    first.send("second", "hello");
    assert_eq!(second.push()["content"], "hello");
    assert_eq!(names(&sandbox.json(["peers"])), names(&other.json(["peers"])));
}

#[test]
fn a_socket_that_is_named_comes_first_and_where_nothing_listens_the_database_leads_on() {
    let sandbox = Sandbox::new();
    let named = sandbox.path().join("run/named.sock").display().to_string();
    let by_name = sandbox.shell_with("CLAUDE_PEERS_SOCKET", named);
    let mut first = sandbox.session("first");
    by_name.ok(["send", "first", "nobody listens there"]);
    assert_eq!(first.push()["content"], "nobody listens there");
    assert_eq!(by_name.json(["status"])["pid"], sandbox.json(["status"])["pid"]);
    sandbox.ok(["kill-broker"]);
    drop(first);
    // A broker that was started there serves all shells.
    by_name.ok(["peers"]);
    let process = by_name.json(["status"])["pid"].clone();
    assert_eq!(sandbox.json(["status"])["pid"], process);
    sandbox.ok(["peers"]);
}

#[test]
fn a_service_takes_over_from_a_broker_in_another_runtime_directory_and_all_come_along() {
    let sandbox = Sandbox::unlimited();
    let other = elsewhere(&sandbox);
    let mut first = other.session("first");
    let fallback = other.broker().unwrap();
    let mut manager = Manager::default();
    manager.add_unix(&sandbox, "unix", &sandbox.socket());
    // Clients find the broker by the database's lock, and the service need not start.
    sandbox.ok(["send", "first", "by the database"]);
    assert_eq!(first.push()["content"], "by the database");
    assert_eq!(sandbox.broker().unwrap().pid, fallback.pid);
    // A client that knows only the socket's path starts the service.
    let raw = || Request::get("/health").unix(&sandbox).status;
    let (status, mut service) = manager.activate(&sandbox, raw);
    assert_eq!(status, 200);
    assert_eq!(sandbox.broker().unwrap().pid, service.id());
    other.ok(["send", "first", "after it"]);
    assert_eq!(first.push()["content"], "after it");
    let mut second = sandbox.session("second");
    second.send("first", "from here");
    assert_eq!(first.push()["content"], "from here");
    first.send("second", "from there");
    assert_eq!(second.push()["content"], "from there");
    sandbox.broker().unwrap().ask_to_stop();
    service.wait().unwrap();
}

#[test]
fn a_broker_that_is_started_by_hand_ends_none_that_serves() {
    let sandbox = Sandbox::new();
    let other = elsewhere(&sandbox);
    let mut first = other.session("first");
    let serving = other.broker().unwrap().pid;
    let (_, error) = sandbox.fails(["broker"]);
    assert!(error.contains(&serving.to_string()), "{error}");
    assert_eq!(other.broker().unwrap().pid, serving);
    sandbox.ok(["send", "first", "as before"]);
    assert_eq!(first.push()["content"], "as before");
}

#[test]
fn a_service_of_another_port_ends_no_broker_for_its_database() {
    let first = Sandbox::new();
    let mut session = first.session("session");
    let serving = first.broker().unwrap().pid;
    let second = Sandbox::new().with("CLAUDE_PEERS_DB", first.database().to_str().unwrap());
    let mut manager = Manager::default();
    manager.add_unix(&second, "unix", &second.socket());
    let mut service = manager.start(&second);
    assert!(!ends(&mut service).success());
    assert_eq!(first.broker().unwrap().pid, serving);
    first.ok(["send", "session", "as before"]);
    assert_eq!(session.push()["content"], "as before");
}

/// The last logout removes it, and the next login makes it again; sessions in tmux outlive both.
#[test]
fn a_runtime_directory_that_goes_and_comes_back_costs_no_call() {
    let sandbox = Sandbox::new();
    let run = sandbox.path().join("run");
    let (mut first, mut second) = (sandbox.session("first"), sandbox.session("second"));
    let before = sandbox.broker().unwrap().pid;
    std::fs::remove_dir_all(&run).unwrap();
    first.call("list_peers", json!({}));
    sandbox.ok(["send", "first", "from a shell"]);
    assert_eq!(first.push()["content"], "from a shell");
    first.send("second", "still here");
    assert_eq!(second.push()["content"], "still here");
    let between = sandbox.broker().unwrap().pid;
    assert_ne!(between, before, "the old one could not be reached");
    assert!(!run.exists(), "it is not ours to make");

    private_directory(&run);
    let mut third = sandbox.session("third");
    third.send("first", "of the new login");
    assert_eq!(first.push()["content"], "of the new login");
    second.send("third", "welcome");
    assert_eq!(third.push()["content"], "welcome");
    assert_eq!(sandbox.broker().unwrap().pid, between);
    // After that broker has ended, the runtime directory is used again.
    sandbox.ok(["kill-broker"]);
    first.call("list_peers", json!({}));
    third.send("second", "and now here");
    assert_eq!(second.push()["content"], "and now here");
    let socket: PathBuf = sandbox.json(["status"])["socket"].as_str().unwrap().into();
    assert!(socket.starts_with(&run), "{}", socket.display());
}

/// The same user in shells that name the sandbox's places in other ways.
fn other_names(sandbox: &Sandbox) -> Vec<Sandbox> {
    let top = sandbox.path();
    symlink("home", top.join("home-link")).unwrap();
    symlink(top.join("run"), top.join("run-link")).unwrap();
    let shown = |name: &str| top.join(name).display().to_string();
    let database = sandbox.database().file_name().unwrap().to_str().unwrap().to_owned();
    vec![
        sandbox.shell_with("HOME", shown("home-link")),
        sandbox.shell_with("HOME", format!("{}//home/", top.display())),
        sandbox.shell_with("XDG_RUNTIME_DIR", shown("run-link")),
        sandbox.shell_with("XDG_RUNTIME_DIR", format!("{}/", shown("run"))),
        sandbox.shell_with("XDG_RUNTIME_DIR", format!("{}/home/../run", top.display())),
        sandbox.shell_with("CLAUDE_PEERS_DB", format!("{}//home//{database}", top.display())),
        sandbox.shell_with("CLAUDE_PEERS_DB", shown(&format!("run/../home-link/./{database}"))),
        sandbox.shell_with(
            "CLAUDE_PEERS_SOCKET",
            sandbox.socket().display().to_string().replace("/run/", "//run-link/"),
        ),
    ]
}

#[test]
fn one_place_under_two_names_is_one_place() {
    let sandbox = Sandbox::new();
    let mut session = sandbox.session("here");
    let process = sandbox.json(["status"])["pid"].clone();
    for shell in other_names(&sandbox) {
        shell.ok(["send", "here", "hello"]);
        assert_eq!(session.push()["content"], "hello");
        let status = shell.json(["status"]);
        assert_eq!((&status["state"], &status["pid"]), (&json!("running"), &process));
        assert_eq!(faults(&shell), Vec::<Value>::new());
        let mut other = SessionOptions::new("there").at_once().start(&shell);
        other.send("here", "from there");
        assert_eq!(session.push()["content"], "from there");
    }
}

#[test]
fn a_broker_that_was_started_under_another_name_is_found() {
    for number in 0..8 {
        let sandbox = Sandbox::new();
        let shell = other_names(&sandbox).swap_remove(number);
        shell.ok(["peers"]);
        let process = shell.json(["status"])["pid"].clone();
        assert_eq!(sandbox.json(["status"])["pid"], process, "{number}");
        sandbox.ok(["peers"]);
        assert_eq!(faults(&sandbox), Vec::<Value>::new(), "{number}");
        sandbox.ok(["kill-broker"]);
        until("it is gone", || shell.broker().is_none());
    }
}

#[test]
fn a_manager_that_listens_under_another_name_is_awaited() {
    let sandbox = Sandbox::new();
    let manager = Manager::listen(&sandbox, true, false);
    let shells = other_names(&sandbox);
    for shell in &shells {
        assert!(shell.status_is("ready"), "{}", shell.ok(["status"]));
    }
    // The manager hands over a socket under its own name for it; the settings have another.
    let (_, mut broker) = manager.activate(&shells[2], || shells[2].ok(["peers"]));
    let status = sandbox.json(["status"]);
    assert_eq!(status["health"]["socket_inherited"], true, "{status}");
    sandbox.broker().unwrap().ask_to_stop();
    broker.wait().unwrap();
}

#[test]
fn a_database_link_whose_target_is_not_there_yet_is_followed() {
    let sandbox = Sandbox::new();
    let (link, disk) = (sandbox.database(), sandbox.path().join("disk"));
    std::fs::create_dir(&disk).unwrap();
    for target in [disk.join("mail.db"), PathBuf::from("../disk/other.db")] {
        symlink(&target, &link).unwrap();
        // Doctor's own call creates it.
        assert_eq!(faults(&sandbox), Vec::<Value>::new());
        sandbox.ok(["peers"]);
        assert_eq!(sandbox.json(["status"])["state"], "running");
        assert_eq!(faults(&sandbox), Vec::<Value>::new());
        let made = disk.join(target.file_name().unwrap());
        assert!(made.metadata().unwrap().len() > 0);
        assert!(link.is_symlink());
        sandbox.ok(["kill-broker"]);
        std::fs::remove_file(&link).unwrap();
    }
    // A link that leads nowhere is reported, and nothing is created.
    symlink(disk.join("missing/mail.db"), &link).unwrap();
    let output = sandbox.command(["peers"]).stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("missing"), "{error}");
}

/// Starts a broker by `script` in a container with its own pids and mounts, which also sees the
/// sandbox's home at `inside`. Returns `None` where that is not allowed.
#[cfg(target_os = "linux")]
fn contained(sandbox: &Sandbox, script: &str) -> Option<std::process::Child> {
    let namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let probe = sandbox.command_of("unshare", namespaces).arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!("skipped: no namespaces here");
        return None;
    }
    std::fs::create_dir_all(sandbox.path().join("inside")).unwrap();
    let mut broker = sandbox.command_of("unshare", namespaces);
    broker.args(["sh", "-c", &format!("mount --bind home inside && {script} exec \"$0\" broker")]);
    let log = std::fs::File::create(sandbox.path().join("contained.log")).unwrap();
    broker.arg(crate::support::PROGRAM).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Some(broker.spawn().unwrap())
}

/// It has the home, possibly under another name, and no runtime directory.
#[cfg(target_os = "linux")]
#[test]
fn a_broker_in_a_container_that_has_our_home_serves_all() {
    for home in ["home", "inside"] {
        let sandbox = Sandbox::new();
        let sandbox = sandbox.shell_with("XDG_STATE_HOME", "");
        let script = format!("unset XDG_RUNTIME_DIR; export HOME=\"$PWD/{home}\";");
        let Some(mut broker) = contained(&sandbox, &script) else { return };
        let log = || std::fs::read_to_string(sandbox.path().join("contained.log")).unwrap();
        until("it serves", || log().contains(" serves "));
        let mut session = sandbox.session("outside");
        sandbox.ok(["send", "outside", home]);
        assert_eq!(session.push()["content"], home);
        let status = sandbox.json(["status"]);
        assert_eq!(status["state"], "running", "{status}");
        assert_eq!(status["health"]["started"], "foreground", "{status}");
        drop(session);
        sandbox.ok(["kill-broker"]);
        broker.wait().unwrap();
    }
}

/// Its socket is visible in the container only. That is no fault of any service.
#[cfg(target_os = "linux")]
#[test]
fn a_broker_that_is_out_of_reach_is_reported_and_left_alone() {
    let sandbox = Sandbox::new();
    let script = "mount -t tmpfs -o mode=0700 tmpfs \"$XDG_RUNTIME_DIR\";";
    let Some(mut broker) = contained(&sandbox, script) else { return };
    let log = || std::fs::read_to_string(sandbox.path().join("contained.log")).unwrap();
    until("it serves", || log().contains(" serves "));
    let (_, error) = sandbox.fails(["peers"]);
    assert!(error.contains("of another container or sandbox"), "{error}");
    assert_eq!(broker.try_wait().unwrap(), None);
    broker.kill().unwrap();
    broker.wait().unwrap();
    // The broker ends with its container; until then commands fail.
    until("another can serve", || sandbox.run(["peers"]).status.success());
}
