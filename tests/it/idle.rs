//! Promise 7: idle sessions and an idle broker never wake up, and take little memory (Linux).

use std::time::Duration;

use crate::support::{Sandbox, Session, SessionOptions, number, process_status, until};

/// How often each thread of a process was switched off the processor, by thread id.
fn switches(pid: u32) -> std::collections::BTreeMap<u32, u64> {
    let mut found = std::collections::BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let task = task.unwrap();
        // The thread may have ended since it was listed.
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

#[test]
fn idle_sessions_never_wake_up_and_take_little_memory() {
    const SESSIONS: usize = 20;
    let idle = Duration::from_secs(number("CLAUDE_PEERS_TEST_IDLE_SECONDS").unwrap_or(3));
    let sandbox = Sandbox::new();
    let sessions: Vec<Session> = (0..SESSIONS)
        .map(|n| SessionOptions::new(&format!("idle-{n}")).at_once().start(&sandbox))
        .collect();
    until("all are live", || sandbox.live_names().len() == SESSIONS);
    // By then the last session's pushes have begun, and the work after the last listing is done.
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
            // A thread of the blocking pool ends after ten idle seconds. The others stay, and no
            // new one starts.
            assert_eq!(before.get(thread), Some(count), "{what} woke up, thread {thread}");
        }
        assert!(after.contains_key(pid));
    }
    let largest = |name: &str| pids.iter().map(|pid| process_status(*pid, name)).max().unwrap();
    eprintln!(
        "largest of {}: RSS {} KiB, of which anonymous {} KiB",
        pids.len(),
        largest("VmRSS"),
        largest("RssAnon")
    );
    // Memory of the process alone. The rest is the program's file, which all processes share and
    // which is several times as large in a debug build.
    assert!(largest("RssAnon") < 5_000, "{} KiB", largest("RssAnon"));
}
