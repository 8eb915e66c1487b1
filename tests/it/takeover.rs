//! Promise 8: takeover from a fallback broker to the service and back, under load.
//!
//! No call fails and no message is lost.

use std::collections::HashSet;
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::http::Request;
use crate::support::{Manager, Sandbox, send_signal, until};

/// Sends from a session and from the command line while `change` happens. Every call must succeed,
/// and every message must arrive once.
fn under_load<T>(sandbox: &Sandbox, change: impl FnOnce() -> T) -> T {
    let mut sender = sandbox.session("sender");
    let mut receiver = sandbox.session("receiver");
    let over = AtomicBool::new(false);
    let sent = AtomicUsize::new(0);
    let (result, ids) = std::thread::scope(|scope| {
        let from_session = scope.spawn(|| {
            let mut ids = Vec::new();
            while !over.load(Ordering::Relaxed) {
                ids.push(sender.send("receiver", &format!("session {}", ids.len())));
                sent.fetch_add(1, Ordering::Relaxed);
            }
            ids
        });
        let from_cli: Vec<_> = (0..3)
            .map(|n| {
                let (over, sent) = (&over, &sent);
                scope.spawn(move || {
                    let mut ids = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let text = format!("cli {n} {}", ids.len());
                        let answer = sandbox.json(["send", "receiver", &text]);
                        ids.push(answer["id"].as_str().unwrap().to_owned());
                        sent.fetch_add(1, Ordering::Relaxed);
                    }
                    ids
                })
            })
            .collect();
        let flowing = |more: usize| {
            let before = sent.load(Ordering::Relaxed);
            until("messages flow", || sent.load(Ordering::Relaxed) > before + more);
        };
        flowing(40);
        let result = change();
        flowing(40);
        over.store(true, Ordering::Relaxed);
        let mut ids = from_session.join().unwrap();
        for sender in from_cli {
            ids.extend(sender.join().unwrap());
        }
        (result, ids)
    });
    let mut missing: HashSet<String> = ids.into_iter().collect();
    while !missing.is_empty() {
        let push = receiver.push();
        let id = push["meta"]["message_id"].as_str().unwrap();
        assert!(missing.remove(id), "twice, or never sent: {push}");
    }
    assert!(receiver.push_within(Duration::from_millis(300)).is_none(), "one too many");
    result
}

fn stop(mut broker: Child) {
    send_signal(broker.id(), Signal::TERM);
    broker.wait().unwrap();
}

#[test]
fn a_service_takes_over_from_a_fallback_broker_and_the_port_with_it() {
    let sandbox = Sandbox::unlimited();
    let service = under_load(&sandbox, || {
        let fallback = sandbox.broker().unwrap();
        assert_eq!(Request::get("/health").tcp(&sandbox).status, 200);
        // As systemd does, the manager takes over the path. It does not get the port.
        let mut manager = Manager::default();
        manager.add_unix(&sandbox, "unix", &sandbox.socket());
        let service = manager.start_on_connection(&sandbox);
        until("the service has taken over", || {
            sandbox.broker().is_some_and(|now| now.pid == service.id())
        });
        assert_ne!(fallback.pid, service.id());
        let log = std::fs::read_to_string(sandbox.path().join("broker.log")).unwrap();
        assert!(log.contains("is asked to stop") && !log.contains("is killed"), "{log}");
        service
    });
    assert_eq!(sandbox.broker().unwrap().pid, service.id());
    until("the port is served again", || {
        sandbox.json(["status"])["health"]["tcp"]["listening"] == true
    });
    assert_eq!(Request::get("/health").tcp(&sandbox).status, 200);
    assert!(sandbox.socket().exists(), "the fallback broker left the manager's socket alone");
    stop(service);
}

#[test]
fn a_fallback_broker_takes_over_where_the_service_is_stopped_for_good() {
    let sandbox = Sandbox::unlimited();
    let mut manager = Manager::default();
    manager.add_unix(&sandbox, "unix", &sandbox.socket());
    manager.add_tcp("tcp", sandbox.port());
    let (_, service) = manager.activate(&sandbox, || sandbox.ok(["peers"]));
    under_load(&sandbox, || {
        let pid = service.id();
        // As masking the units does: the sockets close and their path is removed, then the service
        // ends.
        std::fs::remove_file(sandbox.socket()).unwrap();
        drop(manager);
        stop(service);
        until("a fallback broker serves", || {
            sandbox.broker().is_some_and(|now| now.pid > 0 && now.pid != pid)
        });
    });
    let status = sandbox.json(["status"]);
    assert_eq!(status["health"]["started"], "fallback");
    assert_eq!(status["health"]["tcp"]["listening"], true);
    assert_eq!(Request::get("/health").tcp(&sandbox).status, 200);
}

#[test]
fn a_fallback_broker_that_hangs_is_replaced_and_what_it_accepted_is_there() {
    let sandbox = Sandbox::unlimited();
    let mut receiver = sandbox.session("receiver");
    let fallback = sandbox.broker().unwrap();
    let id = receiver.id();
    sandbox.ok(["send", &id, "before"]);
    assert_eq!(receiver.push()["content"], "before");
    send_signal(fallback.pid, Signal::STOP);
    let mut manager = Manager::default();
    manager.add_unix(&sandbox, "unix", &sandbox.socket());
    let (_, service) = manager.activate(&sandbox, || sandbox.ok(["send", &id, "after"]));
    assert_eq!(receiver.push()["content"], "after");
    assert_eq!(sandbox.broker().unwrap().pid, service.id());
    until("the port is served again", || {
        sandbox.json(["status"])["health"]["tcp"]["listening"] == true
    });
    stop(service);
}

#[test]
fn a_process_that_got_a_dead_brokers_number_is_not_signalled() {
    let sandbox = Sandbox::new();
    let mut broker = sandbox.start_broker();
    let mut lock = sandbox.broker().unwrap();
    // The lock is held, but not by this process.
    let mut bystander = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    lock.pid = bystander.id();
    lock.ask_to_stop();
    lock.kill();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(bystander.try_wait().unwrap(), None);
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    sandbox.broker().unwrap().ask_to_stop();
    assert!(broker.wait().unwrap().success());
}
