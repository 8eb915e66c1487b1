//! The fault run: real sessions, hooks and command lines send to one another, while faults come.
//!
//! `cargo test --test faults` runs it for some seconds, to show that it works. A long one:
//! `cargo test --test faults -- --minutes 30`. The seed is printed, and `--seed N` chooses the same
//! faults in the same order again, as far as the scheduler lets them repeat. `--longest SECONDS` also
//! fails the run if nobody's call succeeded for longer than that, while the disk was not full.
//! Exit status 1 means that a promise was broken: what is wrong, the seed, and the kept directory are
//! printed.

// A test may fail loudly, and prints what it found.
#![allow(clippy::pedantic, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

mod actor;
mod commands;
#[allow(dead_code, unused_imports, reason = "the run needs a part of it, and none of its tests")]
#[path = "../support/history/mod.rs"]
mod history;
mod nemesis;
mod settle;
mod shim;
#[allow(dead_code, unused_imports, reason = "the tests of the whole program use all of it")]
#[path = "../it/support/mod.rs"]
mod support;
mod world;

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use shim::Shim;
use support::{Chance, PROGRAM, ROUNDS, Sandbox};
use world::{World, locked};

struct Options {
    time: Duration,
    seed: u64,
    sessions: usize,
    pace: Duration,
    longest: Option<Duration>,
}

/// Reads the command line. `None` where the arguments are those of another test program.
fn options() -> Option<Options> {
    let mut options = Options {
        time: Duration::from_secs(6),
        seed: getrandom::u64().unwrap_or(1) >> 16,
        sessions: 40,
        pace: Duration::from_millis(450),
        longest: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next()?.parse::<f64>().ok();
        match argument.as_str() {
            "--minutes" => options.time = Duration::from_secs_f64(number()? * 60.0),
            "--seconds" => options.time = Duration::from_secs_f64(number()?),
            "--seed" => options.seed = arguments.next()?.parse().ok()?,
            "--sessions" => options.sessions = number()? as usize,
            "--pace" => options.pace = Duration::from_secs_f64(number()? / 1_000.0),
            "--longest" => options.longest = Some(Duration::from_secs_f64(number()?)),
            // A filter or an option of other test programs.
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        println!("faults: nothing to do for these arguments");
        return ExitCode::SUCCESS;
    };
    // Processes of a long run live longer than those of a test.
    let minutes = options.time.as_secs() / 60 + 10;
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var(ROUNDS, minutes.to_string()) };
    println!("seed {}", options.seed);
    let world = world(&options);
    let threads = begin(&world, options.seed);
    let ready = Instant::now();
    while world.ready.load(Ordering::SeqCst) < options.sessions as u32 {
        assert!(ready.elapsed() < Duration::from_secs(120), "the sessions do not come up");
        std::thread::sleep(Duration::from_millis(20));
    }
    world.cli.get_or_init(|| settle::command_line(&world).expect("the command line has a peer"));
    world.watch_gaps(true);
    let nemesis = {
        let (world, chance) = (Arc::clone(&world), Chance::of(options.seed, 0));
        std::thread::spawn(move || nemesis::rage(&world, chance, options.pace))
    };
    let began = Instant::now();
    std::thread::sleep(options.time);
    let raged = began.elapsed();
    world.is_settling.store(true, Ordering::SeqCst);
    nemesis.join().expect("the nemesis ends");
    world.watch_gaps(false);
    settle::wait(&world);
    world.is_over.store(true, Ordering::SeqCst);
    let mut panicked = 0;
    for thread in threads {
        panicked += usize::from(thread.join().is_err());
    }
    if panicked > 0 {
        world.problem(format!("{panicked} threads of the run panicked"));
    }
    let history = world.recorder.finish(settle::stored(&world));
    report(&world, &options, &history, raged)
}

fn world(options: &Options) -> Arc<World> {
    let sandbox = Sandbox::unlimited().with("CLAUDE_PEERS_IDLE_EXIT_SECONDS", "0");
    let shim = match Shim::build(std::path::Path::new(PROGRAM), sandbox.path()) {
        Ok(shim) => Some(shim),
        Err(why) => {
            println!("skipped: disk errors, torn writes, the clock, descriptors, threads: {why}");
            None
        }
    };
    println!("skipped: upgrade and downgrade: another version needs another build (tests/system)");
    Arc::new(World::new(sandbox, shim, options.sessions))
}

/// Starts all sessions and command lines.
fn begin(world: &Arc<World>, seed: u64) -> Vec<std::thread::JoinHandle<()>> {
    let mut threads = Vec::new();
    for at in 0..world.sessions.len() {
        let (world, chance) = (Arc::clone(world), Chance::of(seed, 100 + at as u64));
        threads.push(std::thread::spawn(move || actor::work(&world, at, chance)));
    }
    let (world, chance) = (Arc::clone(world), Chance::of(seed, 1));
    threads.push(std::thread::spawn(move || commands::command_line(&world, chance)));
    threads
}

fn report(
    world: &World,
    options: &Options,
    history: &history::History,
    raged: Duration,
) -> ExitCode {
    let mut problems = std::mem::take(&mut *locked(&world.problems));
    let since = Instant::now();
    problems.extend(history::check(history).iter().map(ToString::to_string));
    let checked = since.elapsed();
    let counts = locked(&world.counts);
    let faults: u64 = nemesis::names().filter_map(|name| counts.get(name)).sum();
    for (name, count) in counts.iter() {
        println!("{count:>8}  {name}");
    }
    for (name, count) in world.shim.iter().flat_map(|shim| shim.hits()) {
        println!("{count:>8}  system calls: {name}");
    }
    let hourly = faults as f64 * 3_600.0 / raged.as_secs_f64();
    println!("{faults} faults in {} s ({hourly:.0} an hour)", raged.as_secs());
    println!(
        "{} events, checked in {} ms; all over after {} s",
        history.events.len(),
        checked.as_millis(),
        world.elapsed().as_secs()
    );
    let (longest, at) = {
        let gaps = locked(&world.gaps);
        (gaps.longest, gaps.longest_at)
    };
    println!("longest time without a successful call: {longest:.1?}, until {at:.0?}");
    if let Some(limit) = options.longest.filter(|limit| longest > *limit) {
        problems.push(format!("no call succeeded for {longest:.1?}; {limit:.1?} are allowed"));
    }
    if problems.is_empty() {
        return ExitCode::SUCCESS;
    }
    for problem in problems.iter().take(20) {
        println!("VIOLATION: {problem}");
    }
    println!("{} violations; seed {}", problems.len(), options.seed);
    keep(world, options.seed, history);
    ExitCode::FAILURE
}

/// Keeps what the run has left, and its history.
fn keep(world: &World, seed: u64, history: &history::History) {
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-{seed}"));
    let copied = Command::new("cp").arg("-a").arg(world.sandbox.path()).arg(&kept).status();
    let lines: Vec<String> = history.events.iter().map(|event| format!("{event:?}\n")).collect();
    let written = std::fs::write(kept.join("history.txt"), lines.concat());
    let _ = std::fs::write(kept.join("faults.txt"), locked(&world.log).concat());
    println!("kept: {} ({copied:?}, {written:?})", kept.display());
}
