//! Measures the latency of messages, the start of a session, and the cost of an idle one.
//!
//! ```text
//! cargo bench --bench messages                       everything, under two minutes
//! cargo bench --bench messages -- --quick            the same with fewer rounds
//! cargo bench --bench messages -- --json latency     one measure, as JSON
//! ```
//!
//! Real processes of the release build talk over what Claude Code gives its servers: a pair of
//! sockets each for input and output. Home, sockets and port are private. The database is below
//! `target/`, because a commit costs nothing where `/tmp` is in memory. It is synced as in a
//! release (`synchronous=FULL`); only the limits on rate and backlog are off. A message that is
//! lost, doubled or out of order ends the run with an error.

// A benchmark prints, and ends at the first fault.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

mod figures;
mod floor;
mod lines;
mod measures;
mod peer;
mod processes;
#[path = "../../tests/it/support/sandbox.rs"]
mod sandbox;
mod world;

use figures::Figures;
use measures::{burst, counts, hook, idle, latency, start};
use world::World;

/// The size of a run.
pub struct Size {
    /// Messages whose latency is measured one by one.
    pub messages: usize,
    /// Starts of a session, and calls of the command line.
    pub starts: usize,
    /// Starts of a broker.
    pub cold_starts: usize,
    /// Messages of a burst.
    pub burst: usize,
    /// How often each burst is sent.
    pub rounds: usize,
    pub idle_sessions: usize,
    pub idle_seconds: u64,
}

const FULL: Size = Size {
    messages: 1_000,
    starts: 100,
    cold_starts: 20,
    burst: 2_000,
    rounds: 5,
    idle_sessions: 20,
    idle_seconds: 10,
};

const QUICK: Size = Size {
    messages: 200,
    starts: 20,
    cold_starts: 5,
    burst: 2_000,
    rounds: 3,
    idle_sessions: 5,
    idle_seconds: 2,
};

/// For `cargo test`, which only checks that the benchmark works.
const TRIAL: Size = Size {
    messages: 10,
    starts: 2,
    cold_starts: 1,
    burst: 200,
    rounds: 1,
    idle_sessions: 2,
    idle_seconds: 1,
};

type Measure = fn(&World, &Size, &mut Figures);

const MEASURES: [(&str, Measure); 7] = [
    ("latency", latency::latency),
    ("counts", counts::counts),
    ("start", start::start),
    ("cold", start::cold_start),
    ("hook", hook::hook),
    ("burst", burst::burst),
    ("idle", idle::idle),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if floor::run(&arguments) {
        return;
    }
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    if let Some(unknown) = wanted.iter().find(|w| !MEASURES.iter().any(|(name, _)| name == *w)) {
        let names = MEASURES.map(|(name, _)| name).join(", ");
        eprintln!("there is no measure {unknown}; there are {names}");
        std::process::exit(2);
    }
    // Cargo passes `--bench` for a benchmark and nothing for a test.
    let size = match (has("--bench"), has("--quick")) {
        (false, _) => &TRIAL,
        (true, true) => &QUICK,
        (true, false) => &FULL,
    };
    let mut figures = Figures::new(has("--json"));
    for (name, measure) in MEASURES {
        if wanted.is_empty() || wanted.iter().any(|wanted| *wanted == name) {
            measure(&World::new(), size, &mut figures);
        }
    }
    figures.finish();
}
