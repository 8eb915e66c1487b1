//! Measures what a message costs, beside a floor of the same run. See `benches/README.md`.
//!
//! ```text
//! cargo bench --bench messages                       all but the big measures
//! cargo bench --bench messages -- --quick            the same with fewer rounds
//! cargo bench --bench messages -- all                the big measures, too
//! cargo bench --bench messages -- --json latency     one measure, as JSON
//! cargo bench --bench messages -- --check            fails if a count or a ratio is far too high
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

mod check;
mod figures;
mod floor;
mod lines;
mod log;
mod measures;
mod peer;
mod processes;
#[path = "../../tests/it/support/sandbox.rs"]
mod sandbox;
mod strace;
mod wire;
mod world;

use figures::Figures;
use measures::{
    burst, counts, crowd, hook, hops, idle, latency, list, million, start, tokens, trace, view,
};
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
    /// Peers in the list of peers.
    pub listed: usize,
    /// Live sessions at once.
    pub crowd: usize,
    /// Live peers of the live view.
    pub view_peers: usize,
    pub view_seconds: u64,
    /// Messages in a full database.
    pub stored: usize,
}

const FULL: Size = Size {
    messages: 1_000,
    starts: 100,
    cold_starts: 20,
    burst: 2_000,
    rounds: 5,
    idle_sessions: 20,
    idle_seconds: 10,
    listed: 1_000,
    crowd: 1_000,
    view_peers: 200,
    view_seconds: 30,
    stored: 1_000_000,
};

const QUICK: Size = Size {
    messages: 200,
    starts: 20,
    cold_starts: 5,
    rounds: 2,
    idle_sessions: 5,
    idle_seconds: 2,
    listed: 200,
    view_seconds: 5,
    stored: 100_000,
    ..FULL
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
    listed: 20,
    crowd: 20,
    view_peers: 5,
    view_seconds: 1,
    stored: 1_000,
};

type Measure = fn(&World, &Size, &mut Figures);

/// The measures, and whether a run without names makes them.
const MEASURES: [(&str, bool, Measure); 14] = [
    ("latency", true, latency::latency),
    ("hops", true, hops::hops),
    ("counts", true, counts::counts),
    ("burst", true, burst::burst),
    ("start", true, start::start),
    ("cold", true, start::cold_start),
    ("hook", true, hook::hook),
    ("list", true, list::list),
    ("tokens", true, tokens::tokens),
    ("idle", true, idle::idle),
    ("crowd", false, crowd::crowd),
    ("million", false, million::million),
    ("view", false, view::view),
    ("trace", false, trace::trace),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if floor::run(&arguments) {
        return;
    }
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let is_known = |name: &str| name == "all" || MEASURES.iter().any(|(known, ..)| *known == name);
    if let Some(unknown) = wanted.iter().find(|name| !is_known(name)) {
        let names = MEASURES.map(|(name, ..)| name).join(", ");
        eprintln!("there is no measure {unknown}; there are {names}, and all");
        std::process::exit(2);
    }
    // Cargo passes `--bench` for a benchmark and nothing for a test.
    let is_trial = !has("--bench");
    let size = match (is_trial, has("--quick")) {
        (true, _) => &TRIAL,
        (false, true) => &QUICK,
        (false, false) => &FULL,
    };
    let mut figures = Figures::new(has("--json"));
    for (name, is_usual, measure) in MEASURES {
        let is_wanted = match wanted.as_slice() {
            [] => is_usual || is_trial,
            // A trace has no figures.
            names => names.iter().any(|w| *w == name || *w == "all" && name != "trace"),
        };
        if is_wanted {
            measure(&World::new(), size, &mut figures);
        }
    }
    figures.finish();
    if is_trial || has("--check") {
        let excesses = check::excesses(&figures.found, !is_trial);
        excesses.iter().for_each(|excess| eprintln!("too much: {excess}"));
        if !excesses.is_empty() {
            std::process::exit(1);
        }
        eprintln!("{} figures are within their bounds", check::bounded(&figures.found, !is_trial));
    }
}
