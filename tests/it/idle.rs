//! What sessions cost while nothing happens, as Linux counts it.

use std::time::Duration;

use crate::support::{Sandbox, Session, SessionOptions, number, until};

/// How often each thread of a process gave up or lost the processor, by thread id.
fn switches(pid: u32) -> std::collections::BTreeMap<u32, u64> {
    let mut found = std::collections::BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let task = task.unwrap();
        // A thread may end between the two.
        let Ok(status) = std::fs::read_to_string(task.path().join("status")) else { continue };
        let count = status
            .lines()
            .filter(|line| line.contains("voluntary_ctxt_switches:"))
            .map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap())
            .sum();
        found.insert(task.file_name().to_str().unwrap().parse().unwrap(), count);
    }
    found
}

/// A line of `/proc/PID/status` that counts in KiB.
fn kibibytes(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn idle_sessions_never_wake_up_and_take_little_memory() {
    const SESSIONS: usize = 20;
    let idle = Duration::from_secs(number("CLAUDE_PEERS_TEST_IDLE_SECONDS").unwrap_or(3));
    let sandbox = Sandbox::new();
    let sessions: Vec<Session> = (0..SESSIONS)
        .map(|n| SessionOptions::new(&format!("idle-{n}")).at_once().start(&sandbox))
        .collect();
    until("all are live", || sandbox.live_names().len() == SESSIONS);
    // The last one's pushes have begun, and what the last listing needed is done.
    std::thread::sleep(Duration::from_secs(2));
    let broker = sandbox.broker().unwrap().pid;
    let mut pids: Vec<u32> = sessions.iter().map(Session::pid).collect();
    pids.push(broker);
    let before: Vec<_> = pids.iter().map(|pid| switches(*pid)).collect();
    std::thread::sleep(idle);
    for (pid, before) in pids.iter().zip(&before) {
        let what = if *pid == broker { "the broker" } else { "a session" };
        let after = switches(*pid);
        for (thread, count) in &after {
            // A thread of the pool for blocking calls ends after ten idle seconds; the others
            // stay as they are, and nobody starts a new one.
            assert_eq!(before.get(thread), Some(count), "{what} woke up, thread {thread}");
        }
        assert!(after.contains_key(pid));
    }
    let largest = |name: &str| pids.iter().map(|pid| kibibytes(*pid, name)).max().unwrap();
    eprintln!(
        "largest of {}: RSS {} KiB, of which anonymous {} KiB",
        pids.len(),
        largest("VmRSS:"),
        largest("RssAnon:")
    );
    // What a process has for itself. The rest is the program's file, which all of them share and
    // which in a debug build is several times as large.
    assert!(largest("RssAnon:") < 5_000, "{} KiB", largest("RssAnon:"));
}
