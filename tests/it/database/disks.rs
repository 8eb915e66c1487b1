//! Promise 1: on a full or read-only disk, sends fail and nothing that was accepted is lost.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::with_history;
use crate::support::http::{RawPeer, Request};
use crate::support::{Sandbox, mounted, until};

/// Starts a broker in a mount namespace of its own, with a file system for the database that
/// vanishes with it. Returns `None` where that is not allowed.
fn broker_on_own_disk(sandbox: &Sandbox, directory: &Path, mount: &str) -> Option<u32> {
    // The process of the new namespace becomes the broker, by exec.
    let mut child = mounted(sandbox, directory, mount, "exec \"$2\" broker")?
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(sandbox.path().join("broker.log")).unwrap())
        .spawn()
        .unwrap();
    let pid = child.id();
    std::thread::spawn(move || child.wait());
    Some(pid)
}

#[test]
fn on_a_full_disk_sends_fail_the_broker_lives_and_nothing_accepted_is_lost() {
    let sandbox = Sandbox::unlimited();
    let disk = sandbox.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", disk.join("peers.db").display().to_string());
    let mount = "mount -t tmpfs -o size=3m,mode=0700 tmpfs \"$1\"";
    let Some(pid) = broker_on_own_disk(&sandbox, &disk, mount) else { return };
    until("the broker serves", || sandbox.status_is("running"));
    let (a, b) = (RawPeer::register(&sandbox, "a"), RawPeer::register(&sandbox, "b"));
    let mut accepted = vec![a.send(&sandbox, &b.id, "before")];
    // By the broker's own root: the disk exists in its namespace only.
    let ballast = PathBuf::from(format!("/proc/{pid}/root{}", disk.join("ballast").display()));
    let fill = || {
        let mut file = std::fs::File::options().create(true).append(true).open(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    };
    let mut refused = 0;
    for round in 0..200 {
        fill();
        let answer = a.try_send(&sandbox, &b.id, &format!("{round} {}", "x".repeat(20_000)));
        if answer.status == 200 {
            accepted.push(answer.json()["id"].as_str().unwrap().to_owned());
            continue;
        }
        assert_eq!(answer.refusal(), (503, "storage".to_owned()));
        let json = answer.json();
        assert!(json["hint"].as_str().unwrap().contains("The disk is full"), "{json}");
        refused += 1;
        if refused == 5 {
            break;
        }
    }
    assert_eq!(refused, 5, "the disk is full");
    let (code, error) = sandbox.fails(["send", &b.id, &"y".repeat(20_000)]);
    assert_eq!(code, 1);
    assert!(error.contains("full"), "{error}");
    // It runs, answers and reads.
    assert_eq!(Request::get("/health").unix(&sandbox).json()["pid"], pid);
    sandbox.ok(["peers"]);
    std::fs::remove_file(&ballast).unwrap();
    accepted.push(a.send(&sandbox, &b.id, "after"));
    let listed = sandbox.json(["log", "-n", "1000"])["messages"].clone();
    let listed: Vec<&str> =
        listed.as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(listed, accepted, "what was accepted, and nothing else, in order");
    assert_eq!(b.take(&sandbox).len(), accepted.len());
    assert_eq!(sandbox.broker().unwrap().pid, pid);
}

#[test]
fn a_read_only_disk_is_a_clear_error() {
    let sandbox = Sandbox::new();
    let disk = sandbox.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let sandbox = sandbox.with("CLAUDE_PEERS_DB", disk.join("peers.db").display().to_string());
    with_history(&sandbox, 1, "precious");
    let before = std::fs::read(disk.join("peers.db")).unwrap();
    let mount = "mount --bind \"$1\" \"$1\" && mount -o remount,bind,ro \"$1\"";
    let Some(_) = broker_on_own_disk(&sandbox, &disk, mount) else { return };
    let log = sandbox.path().join("broker.log");
    let mut text = String::new();
    until("the broker gives up with an error", || {
        text = std::fs::read_to_string(&log).unwrap();
        text.contains("hint: ")
    });
    assert!(text.contains("peers.db cannot be opened"), "{text}");
    assert!(text.to_lowercase().contains("read-only"), "{text}");
    assert!(text.contains("That file system is mounted read-only"), "{text}");
    until("it has ended", || sandbox.broker().is_none());
    assert_eq!(std::fs::read(disk.join("peers.db")).unwrap(), before);
    assert_eq!(sandbox.json(["log"])["messages"][0]["text"], "precious");
}
