//! The measures.

use std::collections::{HashMap, HashSet};
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::Size;
use crate::figures::Figures;
use crate::peer::{Peer, live};
use crate::sandbox::{PROGRAM, Sandbox, until};

/// The pause between two messages whose latency is measured.
const APART: Duration = Duration::from_millis(2);

/// A sandbox whose database is on a real disk.
pub struct World {
    // Dropped first: it ends the broker that has the database open.
    pub sandbox: Sandbox,
    disk: TempDir,
}

impl World {
    pub fn new() -> Self {
        let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let database = disk.path().join("bench.db");
        let sandbox =
            Sandbox::unlimited().with("CLAUDE_PEERS_DB", database.to_str().unwrap().to_owned());
        Self { sandbox, disk }
    }

    fn peers(&self) -> Duration {
        let since = Instant::now();
        self.sandbox.ok(["peers"]);
        since.elapsed()
    }
}

/// Measures from a tool call in one session to the push in another, one message at a time.
pub fn latency(world: &World, size: &Size, figures: &mut Figures) {
    let heading = format!("latency ({} messages, one by one)", size.messages);
    let mut peers = live(&world.sandbox, ["a".to_owned(), "b".to_owned()]);
    let (mut b, mut a) = (peers.pop().unwrap(), peers.pop().unwrap());
    let text = "Which of the two endpoints is the one that the frontend should call? ".repeat(3);
    let (mut pushes, mut answers) = (Vec::new(), Vec::new());
    // The first few find cold caches everywhere and are not counted.
    for number in 0..size.messages + 10 {
        let since = a.call("send_message", json!({ "to_id": "b", "message": text }));
        let (pushed, push) = b.next();
        let (answered, answer) = a.next();
        assert_eq!(push["method"], "notifications/claude/channel", "{push}");
        assert_eq!(&push["params"]["meta"]["message_id"], id_of(&answer), "{answer}");
        if number >= 10 {
            pushes.push(pushed - since);
            answers.push(answered - since);
        }
        std::thread::sleep(APART);
    }
    figures.quantiles(&heading, "send_message called -> pushed into the other session", pushes);
    figures.quantiles(&heading, "send_message called -> answered", answers);
    let mut pings = Vec::new();
    for _ in 0..size.messages {
        let since = b.request("ping", json!({}));
        pings.push(b.next().0 - since);
    }
    figures.quantiles(&heading, "for comparison: ping -> answered, without the broker", pings);
    figures.quantiles(
        &heading,
        "for comparison: 4 KiB written and synced on this disk",
        syncs(world.disk.path(), size.messages),
    );
}

fn id_of(answer: &Value) -> &Value {
    &answer["result"]["structuredContent"]["id"]
}

fn syncs(directory: &Path, rounds: usize) -> Vec<Duration> {
    let mut file = std::fs::File::create(directory.join("sync")).unwrap();
    let page = [7; 4096];
    let round = |_| {
        let since = Instant::now();
        file.rewind().unwrap();
        file.write_all(&page).unwrap();
        file.sync_data().unwrap();
        since.elapsed()
    };
    (0..rounds).map(round).collect()
}

/// Measures how long Claude Code waits for a server, and a person for a command.
pub fn start(world: &World, size: &Size, figures: &mut Figures) {
    let heading = format!("start ({} times)", size.starts);
    let (mut initialized, mut listed) = (Vec::new(), Vec::new());
    for number in 0..size.starts {
        let since = Instant::now();
        let mut peer = Peer::spawn(&world.sandbox, &format!("start-{number}"));
        initialized.push(peer.initialize() - since);
        let since = peer.request("tools/list", json!({}));
        listed.push(peer.next().0 - since);
    }
    figures.quantiles(&heading, "server spawned -> initialize answered", initialized);
    figures.quantiles(&heading, "tools/list -> answered", listed);
    world.peers();
    let calls = (0..size.starts).map(|_| world.peers()).collect();
    figures.quantiles(&heading, "`claude-peers peers`, start to end", calls);
}

/// Measures the first call where no broker runs, which starts one.
pub fn cold_start(world: &World, size: &Size, figures: &mut Figures) {
    let heading = format!("cold start ({} times)", size.cold_starts);
    let round = |_| {
        let took = world.peers();
        world.sandbox.ok(["kill-broker"]);
        until("the broker is gone", || world.sandbox.broker().is_none());
        took
    };
    // The very first call creates the database.
    round(0);
    let took = (0..size.cold_starts).map(round).collect();
    figures.quantiles(&heading, "`claude-peers peers` with no broker, start to end", took);
}

/// Measures as many messages as the calls can carry. None may be lost, doubled or overtaken.
pub fn burst(world: &World, size: &Size, figures: &mut Figures) {
    let heading = format!("burst ({} messages, calls not waited for)", size.burst);
    for (from, to) in [(1, 1), (8, 1), (1, 50)] {
        let took = one_burst(world, from, to, size.burst);
        #[allow(clippy::cast_precision_loss)]
        let rate = size.burst as f64 / took.as_secs_f64();
        let values = [("messages/s", rate), ("seconds", took.as_secs_f64())];
        figures.line(&heading, &format!("{from} -> {to}"), "", &values);
    }
}

/// Measures one burst from the first call to the last push.
fn one_burst(world: &World, from: usize, to: usize, messages: usize) -> Duration {
    let name = |role: &str, number: usize| format!("{role}-{from}-{to}-{number}");
    let mut senders = live(&world.sandbox, (0..from).map(|number| name("from", number)));
    let receivers = live(&world.sandbox, (0..to).map(|number| name("to", number)));
    let share = messages / from / to;
    let since = Instant::now();
    for number in 0..share {
        for receiver in &receivers {
            for sender in &mut senders {
                let text = format!("{} {number}", sender.name);
                sender.call("send_message", json!({ "to_id": receiver.name, "message": text }));
            }
        }
    }
    let mut last = since;
    let mut ids = HashSet::new();
    for receiver in &receivers {
        let mut next = vec![0; from];
        for _ in 0..share * from {
            let (at, push) = receiver.next();
            last = last.max(at);
            let params = &push["params"];
            let text = params["content"].as_str().unwrap_or_else(|| panic!("no push: {push}"));
            let sender = senders.iter().position(|s| params["meta"]["from_name"] == s.name);
            let sender = sender.unwrap_or_else(|| panic!("of nobody: {push}"));
            let expected = format!("{} {}", senders[sender].name, next[sender]);
            assert_eq!(text, expected, "lost, doubled or overtaken at {}", receiver.name);
            next[sender] += 1;
            assert!(
                ids.insert(params["meta"]["message_id"].as_str().unwrap().to_owned()),
                "{push}"
            );
        }
    }
    for sender in &senders {
        for _ in 0..share * to {
            let (_, answer) = sender.next();
            let id = id_of(&answer).as_str().unwrap_or_else(|| panic!("refused: {answer}"));
            assert!(ids.remove(id), "pushed, but under another id: {answer}");
        }
    }
    assert!(ids.is_empty(), "pushed, but not answered: {ids:?}");
    last - since
}

/// Measures the cost of sessions that do nothing.
pub fn idle(world: &World, size: &Size, figures: &mut Figures) {
    let heading = format!("idle ({} sessions, {} s)", size.idle_sessions, size.idle_seconds);
    let peers =
        live(&world.sandbox, (0..size.idle_sessions).map(|number| format!("idle-{number}")));
    // By then the threads that only the start needed have ended, and their counts are gone.
    std::thread::sleep(Duration::from_secs(size.idle_seconds + 1));
    let broker = [world.sandbox.broker().expect("a broker runs").pid];
    let servers: Vec<u32> = peers.iter().map(Peer::pid).collect();
    let before = [usage(&broker), usage(&servers)];
    std::thread::sleep(Duration::from_secs(size.idle_seconds));
    let after = [usage(&broker), usage(&servers)];
    for (what, before, after) in [
        ("the broker", &before[0], &after[0]),
        ("the servers (the largest one's memory, switches of all)", &before[1], &after[1]),
    ] {
        let (Some(before), Some(after)) = (before, after) else {
            println!("{heading}: this system does not tell");
            return;
        };
        let values = [
            ("RSS, MB", after.resident),
            ("own, MB", after.anonymous),
            ("threads", after.threads),
            ("switches", switches(before, after)),
        ];
        figures.line(&heading, what, "", &values);
    }
    #[allow(clippy::cast_precision_loss)]
    let binary = std::fs::metadata(PROGRAM).unwrap().len() as f64 / 1e6;
    figures.line("size", "the program's file", "", &[("MB", binary)]);
}

/// The resources of processes: memory and threads of the largest, context switches of all.
struct Usage {
    resident: f64,
    anonymous: f64,
    threads: f64,
    /// By thread.
    switches: HashMap<String, f64>,
}

/// The switches of threads that ran all the while; the counts of an ended thread are lost.
fn switches(before: &Usage, after: &Usage) -> f64 {
    after
        .switches
        .iter()
        .map(|(task, count)| count - before.switches.get(task).unwrap_or(&0.0))
        .sum()
}

/// The resources of these processes; `None` where there is no `/proc`.
fn usage(pids: &[u32]) -> Option<Usage> {
    let mut usage = Usage { resident: 0.0, anonymous: 0.0, threads: 0.0, switches: HashMap::new() };
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        usage.resident = usage.resident.max(field(&status, "VmRSS")? * 1_024.0 / 1e6);
        usage.anonymous = usage.anonymous.max(field(&status, "RssAnon")? * 1_024.0 / 1e6);
        usage.threads = usage.threads.max(field(&status, "Threads")?);
        for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
            let task = task.ok()?;
            let status = std::fs::read_to_string(task.path().join("status")).ok()?;
            let count = field(&status, "voluntary_ctxt_switches")?
                + field(&status, "nonvoluntary_ctxt_switches")?;
            usage.switches.insert(task.file_name().to_string_lossy().into_owned(), count);
        }
    }
    Some(usage)
}

fn field(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}
