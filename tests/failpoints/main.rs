//! Promises 1 and 2: SIGKILL at every step between a request and its answer, in real processes.
//!
//! Each case brings real sessions, a real broker, hooks or a command line to a step, has one process
//! die there, and checks what must hold afterwards. Then the coverage is printed: every failpoint of
//! the source, how often it was hit, and by which story. One that no case hits fails the run.
//!
//! `cargo test --features failpoints --test failpoints`; a word after `--` runs the cases whose point
//! or story contains it.

// A test may fail loudly, and prints its coverage.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

mod bench;
mod lives;
mod messages;
#[allow(dead_code, unused_imports, reason = "the tests of the whole program use all of it")]
#[path = "../it/support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bench::Case;
use claude_peers::failpoint::NAMES;
use support::Sandbox;

/// How many cases run at once: they mostly wait.
const AT_ONCE: usize = 8;

/// The steps of a request that is written to the database.
const WRITE: [&str; 7] = [
    "broker.request.read",
    "broker.store.begun",
    "broker.store.ran",
    "broker.store.committed",
    "broker.store.applied",
    "broker.store.answered",
    "broker.request.answered",
];

type Story = fn(&mut Case);

/// A story in which a failpoint is hit.
struct Plan {
    point: &'static str,
    hit: u32,
    story: &'static str,
    run: Story,
}

/// Returns all cases.
fn plans() -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut add = |story: &'static str, run: Story, hit: u32, points: &[&'static str]| {
        plans.extend(points.iter().map(|point| Plan { point, hit, story, run }));
    };
    let send: Story = |case| messages::send(case);
    add("a session sends", send, 1, &WRITE);
    add("a session sends", send, 1, &["broker.send.inserted", "broker.offer.streamed"]);
    let batch: Story = |case| messages::batch(case);
    add("a session sends a batch", batch, 2, &WRITE);
    add("a session sends a batch", batch, 3, &["broker.batch.inserted", "broker.send.inserted"]);
    let tool: Story = |case| messages::tool(case);
    add("a tool shows messages", tool, 1, &WRITE);
    add("a tool's result is evidence", tool, 2, &WRITE);
    add("a tool shows messages", tool, 2, &["broker.offer.taken", "broker.evidence.marked"]);
    let hook: Story = |case| lives::shown_by_hook(case);
    add("a hook shows a message", hook, 1, &WRITE);
    add("a hook shows a message", hook, 1, &["broker.offer.shown"]);
    add(
        "a hook shows a message",
        hook,
        1,
        &["hook.event.read", "hook.mail.received", "hook.output.written", "hook.receipt.answered"],
    );
    let registration: Story = |case| lives::registration(case);
    add("a session registers", registration, 1, &WRITE);
    add(
        "a session registers",
        registration,
        1,
        &["broker.registration.inserted", "broker.stream.opened"],
    );
    add(
        "a session registers",
        |case| lives::registered(case),
        1,
        &["server.registration.answered"],
    );
    add(
        "a push is reported",
        |case| messages::receipt(case),
        1,
        &["broker.notes.waiting", "broker.notes.due", "broker.receipt.stored"],
    );
    add(
        "a sender dies",
        |case| messages::sender(case),
        1,
        &["server.send.called", "server.send.answered", "server.batch.answered"],
    );
    add(
        "a reader dies",
        |case| messages::reader(case),
        1,
        &["server.result.written", "server.evidence.confirmed"],
    );
    add(
        "a recipient dies at a push",
        |case| messages::pushed(case),
        1,
        &[
            "server.push.received",
            "server.push.added",
            "server.push.written",
            "server.push.reported",
        ],
    );
    add(
        "a message ends unread",
        |case| {
            case.sandbox = Sandbox::unlimited().with("CLAUDE_PEERS_MESSAGE_TTL_SECONDS", "2");
            messages::expiry(case);
        },
        1,
        &["broker.expiry.swept", "broker.expiry.noticed"],
    );
    add(
        "the log is checkpointed",
        |case| messages::checkpoint(case),
        1,
        &["broker.checkpoint.begun", "broker.checkpoint.made"],
    );
    add(
        "the command line reads its mail",
        |case| messages::inbox(case),
        1,
        &["cli.inbox.taken", "cli.inbox.printed", "cli.inbox.confirmed"],
    );
    add(
        "hooks spoke before the broker",
        lives::spooled,
        1,
        &[
            "broker.spool.set_aside",
            "broker.spool.read",
            "broker.spool.applied",
            "broker.spool.deleted",
        ],
    );
    add(
        "a hook speaks without a broker",
        lives::spooling,
        1,
        &["hook.spool.opened", "hook.spool.appended"],
    );
    add(
        "a broker starts",
        |case| lives::start(case),
        1,
        &["broker.takeover.locked", "broker.takeover.opened", "broker.takeover.listening"],
    );
    add("a broker is replaced", |case| lives::takeover(case), 1, &["broker.takeover.asked"]);
    add(
        "a database is migrated",
        |case| lives::migration(case),
        1,
        &["broker.migration.begun", "broker.migration.run", "broker.migration.committed"],
    );
    add(
        "a broker stops",
        |case| lives::stop(case),
        1,
        &["broker.stop.drained", "broker.stop.marked_clean"],
    );
    plans
}

/// Returns the names of the failpoints in the source.
fn in_source(directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            in_source(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("failpoint.rs")
        {
            let text = std::fs::read_to_string(path).unwrap();
            let points = text.split("failpoint!(\"").skip(1);
            found.extend(points.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
}

/// Returns what is wrong with the registry of failpoints.
fn registry_problems() -> Vec<String> {
    let mut found = Vec::new();
    in_source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let mut problems = Vec::new();
    for name in &found {
        if !NAMES.contains(&name.as_str()) {
            problems.push(format!("{name} is in the source, but not in failpoint::NAMES"));
        }
    }
    for name in NAMES {
        match found.iter().filter(|other| other == name).count() {
            1 => {}
            count => problems.push(format!("{name} stands {count} times in the source")),
        }
    }
    problems
}

fn run(plan: &Plan) -> Result<(), String> {
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| {
        (plan.run)(&mut Case::new(plan.point, plan.hit));
    }));
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    })
}

fn main() -> ExitCode {
    let since = Instant::now();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let mut plans = plans();
    plans.retain(|plan| {
        let fits = |word: &String| plan.point.contains(word) || plan.story.contains(word);
        wanted.is_empty() || wanted.iter().any(fits)
    });
    let mut problems = registry_problems();
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let outcome = run(plan);
                    let key = (plan.point, plan.story, plan.hit);
                    outcomes.lock().unwrap().insert(key, (outcome, began.elapsed()));
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    println!("{:32} {:36} {:>4} {:>7}  checked", "failpoint", "story", "hit", "time");
    for ((point, story, hit), (outcome, time)) in &outcomes {
        print_case(point, story, *hit, outcome, *time);
        if let Err(text) = outcome {
            problems.push(format!("{point}, {story}, hit {hit}: {text}"));
        }
    }
    let hit: BTreeSet<&str> = outcomes
        .iter()
        .filter(|(_, (outcome, _))| outcome.is_ok())
        .map(|((point, ..), _)| *point)
        .collect();
    let missed: Vec<&&str> = NAMES.iter().filter(|name| !hit.contains(**name)).collect();
    if wanted.is_empty() {
        problems.extend(missed.iter().map(|name| format!("{name} was not hit")));
    }
    println!(
        "\n{} of {} failpoints hit by {} kills in {} s",
        hit.len(),
        NAMES.len(),
        outcomes.len(),
        since.elapsed().as_secs()
    );
    for problem in &problems {
        println!("FAILED: {problem}");
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_case(point: &str, story: &str, hit: u32, outcome: &Result<(), String>, time: Duration) {
    let word = if outcome.is_ok() { "held" } else { "FAILED" };
    println!("{point:32} {story:36} {hit:>4} {:>5.1} s  {word}", time.as_secs_f64());
}
