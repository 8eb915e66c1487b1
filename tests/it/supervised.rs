//! Promises 7 and 8: the broker tells its service manager its state, and reloads on request.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::support::http::{RawPeer, Request, read_answer};
use crate::support::{
    Manager, Notifications, PATIENCE, Sandbox, SessionOptions, send_signal, until,
};

/// Starts a broker by its first caller, with a manager that receives its notifications.
fn supervised(sandbox: &Sandbox, watchdog: Option<Duration>) -> (Notifications, Child) {
    let notifications = Notifications::listen(sandbox);
    let mut manager = Manager::default();
    manager.add_unix(sandbox, "unix", &sandbox.socket());
    manager.set("NOTIFY_SOCKET", notifications.address());
    if let Some(limit) = watchdog {
        manager.set("WATCHDOG_USEC", limit.as_micros().to_string());
    }
    let (_, broker) = manager.activate(sandbox, || sandbox.ok(["peers"]));
    (notifications, broker)
}

fn write_config(sandbox: &Sandbox, text: &str) {
    let path = sandbox.path().join("config/claude-peers/config.toml");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn broker_log(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.path().join("broker.log")).unwrap()
}

fn statuses(told: &[Vec<String>]) -> Vec<&str> {
    told.iter().flatten().filter_map(|line| line.strip_prefix("STATUS=")).collect()
}

#[test]
fn the_manager_is_told_ready_before_any_caller_is_answered() {
    for _ in 0..5 {
        let sandbox = Sandbox::new();
        let notifications = Notifications::listen(&sandbox);
        let mut manager = Manager::default();
        manager.add_unix(&sandbox, "unix", &sandbox.socket());
        manager.set("NOTIFY_SOCKET", notifications.address());
        // The request is in the socket before the broker starts.
        let mut caller = UnixStream::connect(sandbox.socket()).unwrap();
        caller.set_read_timeout(Some(PATIENCE)).unwrap();
        caller.write_all(&Request::get("/health").bytes()).unwrap();
        let mut broker = manager.start(&sandbox);
        assert_eq!(read_answer(&mut caller).unwrap().status, 200);
        // A datagram arrives at once, so what was sent before the answer is here.
        let told = notifications.told();
        assert_eq!(told[0][0], "READY=1", "{told:?}");
        assert_eq!(statuses(&told), ["serving 0 peers, 0 unread"]);
        sandbox.ok(["kill-broker"]);
        let told = notifications.wait_for("STOPPING=1");
        assert_eq!(statuses(&told), ["stopped on request"]);
        assert!(broker.wait().unwrap().success());
    }
}

#[test]
fn the_status_follows_peers_and_mail_and_says_nothing_while_nothing_changes() {
    let sandbox = Sandbox::unlimited();
    let (notifications, mut broker) = supervised(&sandbox, None);
    notifications.wait_for("READY=1");
    let a = sandbox.session("a");
    notifications.wait_for_status("serving 1 peer, 0 unread");
    let sender = RawPeer::register(&sandbox, "sender");
    let away = RawPeer::register(&sandbox, "away");
    sender.send(&sandbox, &away.id, "one");
    notifications.wait_for_status("serving 1 peer, 1 unread");
    sender.send(&sandbox, &away.id, "two");
    notifications.wait_for_status("serving 1 peer, 2 unread");

    // A burst causes a few notifications. They are not read meanwhile, which must delay no caller.
    for n in 0..300 {
        sender.send(&sandbox, &away.id, &n.to_string());
    }
    let since = Instant::now();
    let told = notifications.wait_for_status("serving 1 peer, 302 unread");
    let most = 4 * (since.elapsed().as_secs() as usize + 4);
    assert!(statuses(&told).len() <= most.min(100), "{told:?}");

    drop(a);
    notifications.wait_for_status("serving 0 peers, 302 unread");
    assert_eq!(notifications.next_within(Duration::from_secs(2)), None, "nothing has changed");

    send_signal(broker.id(), Signal::TERM);
    let told = notifications.wait_for("STOPPING=1");
    assert_eq!(statuses(&told), ["stopped by a signal"]);
    assert!(broker.wait().unwrap().success());
}

#[test]
fn a_broker_that_exits_idle_or_cannot_start_says_so() {
    let sandbox = Sandbox::new().with("CLAUDE_PEERS_IDLE_EXIT_SECONDS", "1");
    let (notifications, mut broker) = supervised(&sandbox, None);
    let told = notifications.wait_for("STOPPING=1");
    assert_eq!(statuses(&told).last(), Some(&"idle; the next call starts it"));
    assert!(broker.wait().unwrap().success());

    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.database()).unwrap();
    let notifications = Notifications::listen(&sandbox);
    let mut manager = Manager::listen(&sandbox, true, false);
    manager.set("NOTIFY_SOCKET", notifications.address());
    let mut broker = manager.start(&sandbox);
    assert!(!broker.wait().unwrap().success());
    let told = notifications.told();
    assert!(statuses(&told)[0].contains("database"), "{told:?}");
    assert!(!told.iter().flatten().any(|line| line == "READY=1"), "{told:?}");

    write_config(&sandbox, "no = such key");
    let mut broker = manager.start(&sandbox);
    assert!(!broker.wait().unwrap().success());
    let told = notifications.told();
    assert!(statuses(&told)[0].contains("config.toml"), "{told:?}");
    write_config(&sandbox, "");
}

fn pings(told: &[Vec<String>]) -> usize {
    told.iter().flatten().filter(|line| *line == "WATCHDOG=1").count()
}

#[test]
fn the_watchdog_is_told_only_while_the_database_answers() {
    let sandbox = Sandbox::new();
    let (notifications, mut broker) = supervised(&sandbox, Some(Duration::from_millis(200)));
    for _ in 0..5 {
        notifications.wait_for("WATCHDOG=1");
    }
    // Another process locks the database. The writer waits for it, 2 s at a time. One ping may come
    // between two waits.
    let mut other = rusqlite::Connection::open(sandbox.database()).unwrap();
    let held = other.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    // By then the writer's work of once a second is due.
    std::thread::sleep(Duration::from_millis(1_300));
    notifications.told();
    std::thread::sleep(Duration::from_millis(1_800));
    let silent = pings(&notifications.told());
    drop(held);
    assert!(silent <= 2, "{silent} pings while the database hung, of 18 that a timer would send");
    for _ in 0..5 {
        notifications.wait_for("WATCHDOG=1");
    }
    sandbox.ok(["kill-broker"]);
    assert!(broker.wait().unwrap().success());
}

#[test]
fn without_a_watchdog_nothing_is_sent() {
    let sandbox = Sandbox::new();
    let (notifications, mut broker) = supervised(&sandbox, None);
    notifications.wait_for("READY=1");
    // A watchdog that is meant for another process is ignored.
    assert_eq!(notifications.next_within(Duration::from_millis(1_500)), None);
    sandbox.ok(["kill-broker"]);
    assert!(broker.wait().unwrap().success());
}

#[test]
fn a_reload_takes_effect_at_once_and_names_what_it_cannot_change() {
    let sandbox = Sandbox::new();
    let (notifications, mut broker) = supervised(&sandbox, None);
    notifications.wait_for("READY=1");
    let sender = RawPeer::register(&sandbox, "sender");
    let away = RawPeer::register(&sandbox, "away");
    let long = "x".repeat(2_000);
    sender.send(&sandbox, &away.id, &long);

    let good = "idle_exit_seconds = 1234\n[limits]\nmax_message_bytes = 1000\n";
    write_config(&sandbox, good);
    send_signal(broker.id(), Signal::HUP);
    let told = notifications.wait_for("RELOADING=1");
    let reloading = told.last().unwrap();
    let time = reloading.iter().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(time.parse::<u64>().unwrap() > 0);
    notifications.wait_for("READY=1");
    let refused = sender.try_send(&sandbox, &away.id, &long);
    assert_eq!(refused.status, 413, "{}", String::from_utf8_lossy(&refused.body));
    let health = &sandbox.json(["status"])["health"];
    assert_eq!(health["idle_exit_seconds"], 1234);
    assert_eq!(health["settings_problem"], json!(null));
    let said = broker_log(&sandbox);
    assert!(said.contains("idle_exit_seconds 600 is now 1234"), "{said}");
    assert!(said.contains("max_message_bytes 65536 is now 1000"), "{said}");

    // An error changes nothing, and is reported until it is fixed.
    write_config(&sandbox, "idle_exit_seconds = 5\n[limits]\nmax_message_byte = 5\n");
    send_signal(broker.id(), Signal::HUP);
    notifications.wait_for("RELOADING=1");
    let told = notifications.wait_for("READY=1");
    let status = statuses(&told)[0];
    assert!(
        status.contains("the old settings stay in effect") && status.contains("config.toml"),
        "{status}"
    );
    // Fixed, because the clients read the file as well, but not read again by the broker.
    write_config(&sandbox, good);
    let health = &sandbox.json(["status"])["health"];
    assert_eq!(health["idle_exit_seconds"], 1234);
    assert!(health["settings_problem"].as_str().unwrap().contains("max_message_byte"), "{health}");
    assert_eq!(sender.try_send(&sandbox, &away.id, &long).status, 413);
    assert_eq!(sender.try_send(&sandbox, &away.id, "short").status, 200);
    assert!(broker_log(&sandbox).contains("the settings stay as they were"));

    // What needs a restart is named; all other values take effect.
    write_config(&sandbox, "database = \"~/other.db\"\n[limits]\nmax_message_bytes = 3000\n");
    send_signal(broker.id(), Signal::HUP);
    notifications.wait_for("RELOADING=1");
    let told = notifications.wait_for("READY=1");
    assert!(
        statuses(&told)[0].contains("restart the broker to apply the new database"),
        "{told:?}"
    );
    // The clients use the file at once, so they report the difference; for them it is reverted.
    let (_, refused) = sandbox.fails(["peers"]);
    assert!(refused.contains("other.db"), "{refused}");
    write_config(&sandbox, "");
    sender.send(&sandbox, &away.id, &long);
    let status = sandbox.json(["status"]);
    assert_eq!(status["health"]["idle_exit_seconds"], 600);
    let problem = status["health"]["settings_problem"].as_str().unwrap();
    assert!(problem.contains("other.db"), "{problem}");
    assert!(!sandbox.home().join("other.db").exists());
    assert!(broker_log(&sandbox).contains("a change of database"));

    send_signal(broker.id(), Signal::HUP);
    notifications.wait_for("RELOADING=1");
    let told = notifications.wait_for("READY=1");
    assert_eq!(statuses(&told), ["serving 0 peers, 3 unread"]);
    sandbox.ok(["kill-broker"]);
    assert!(broker.wait().unwrap().success());
}

#[test]
fn a_broker_that_a_client_started_reloads_as_well() {
    let sandbox = Sandbox::new();
    let mut session = SessionOptions::new("a").start(&sandbox);
    let broker = sandbox.broker().unwrap();
    write_config(&sandbox, "idle_exit_seconds = 2\n[limits]\nmax_unread = 0\n");
    send_signal(broker.pid, Signal::HUP);
    until("it has reloaded", || sandbox.json(["status"])["health"]["idle_exit_seconds"] == 2);
    session.me();
    assert_eq!(sandbox.broker().unwrap().pid, broker.pid);
    drop(session);
    // The new idle time is short.
    until("it has gone", || sandbox.broker().is_none());
}

#[test]
fn a_reload_takes_a_port_that_was_freed() {
    let sandbox = Sandbox::new();
    let foreign = std::net::TcpListener::bind(("127.0.0.1", sandbox.port())).unwrap();
    let (notifications, mut broker) = supervised(&sandbox, None);
    notifications.wait_for_status("no TCP on port");
    drop(foreign);
    send_signal(broker.id(), Signal::HUP);
    notifications.wait_for("RELOADING=1");
    let told = notifications.wait_for("READY=1");
    assert_eq!(statuses(&told), ["serving 0 peers, 0 unread"]);
    assert_eq!(Request::get("/health").tcp(&sandbox).status, 200);
    sandbox.ok(["kill-broker"]);
    assert!(broker.wait().unwrap().success());
}
