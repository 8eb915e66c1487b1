//! The nemesis: it chooses one fault after the other, by the run's seed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use claude_peers::endpoint::broker_lock::Holder;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::Chance;
use crate::support::faults::Control;
use crate::world::{Kind, World, locked};

/// A fault, and how often it is chosen in comparison with others.
type Fault = (&'static str, u64, fn(&Arc<World>, &mut Chance) -> bool);

const FAULTS: &[Fault] = &[
    ("broker: SIGKILL", 12, |world, _| broker(world).is_some_and(|broker| broker.kill())),
    ("broker: SIGTERM", 6, |world, _| broker(world).is_some_and(|broker| broker.ask_to_stop())),
    ("broker: SIGSTOP for a while", 5, suspend_broker),
    ("broker: two are raced", 4, race),
    ("server: SIGKILL", 8, |world, chance| signal(world, chance, Kind::Server, Signal::KILL)),
    ("server: SIGTERM", 4, |world, chance| signal(world, chance, Kind::Server, Signal::TERM)),
    ("server: SIGSTOP for a while", 4, |world, chance| suspend(world, chance, Kind::Server)),
    ("hook: SIGKILL", 4, |world, chance| signal(world, chance, Kind::Hook, Signal::KILL)),
    ("hook: SIGTERM", 2, |world, chance| signal(world, chance, Kind::Hook, Signal::TERM)),
    ("hook: SIGSTOP for a while", 2, |world, chance| suspend(world, chance, Kind::Hook)),
    ("command line: SIGKILL", 4, |w, chance| signal(w, chance, Kind::CommandLine, Signal::KILL)),
    ("command line: SIGTERM", 2, |w, chance| signal(w, chance, Kind::CommandLine, Signal::TERM)),
    ("command line: SIGSTOP for a while", 2, |w, chance| suspend(w, chance, Kind::CommandLine)),
    ("socket removed", 3, |world, _| remove(&world.sandbox.config().paths.socket)),
    ("broker lock removed", 3, |world, _| remove(&world.sandbox.config().paths.broker_lock)),
    ("token removed", 2, |world, _| remove(&world.sandbox.config().paths.token)),
    ("runtime directory removed", 2, |world, _| {
        std::fs::remove_dir_all(world.sandbox.config().paths.runtime()).is_ok()
    }),
    ("database removed under the broker", 1, remove_database),
    ("a client reads nothing", 4, deafen),
    ("the machine pauses", 1, pause_machine),
    ("disk full", 2, |world, chance| disk(world, chance, 65_536, |control| &control.full)),
    ("disk read-only", 1, |world, chance| disk(world, chance, 65_536, |c| &c.read_only)),
    ("writes fail", 3, |world, chance| disk(world, chance, 4_000, |control| &control.write_error)),
    ("a write is torn, and its process dies", 4, |world, chance| {
        shimmed(world, chance, 6_000, |control| &control.torn, 300)
    }),
    ("syncs fail", 3, |world, chance| disk(world, chance, 20_000, |control| &control.sync_error)),
    ("no descriptors", 3, |world, chance| shimmed(world, chance, 20_000, |c| &c.descriptors, 300)),
    ("no threads", 2, |world, chance| shimmed(world, chance, 40_000, |c| &c.threads, 300)),
    ("the wall clock is set", 4, set_clock),
];

/// What a session itself does to its server.
pub const IN_A_CALL: &str = "server: SIGKILL while it answers";

/// Does one fault after the other until the run settles.
pub fn rage(world: &Arc<World>, mut chance: Chance, pace: Duration) {
    let sum: u64 = FAULTS.iter().map(|(_, weight, _)| weight).sum();
    while !world.is_settling() {
        let mut at = chance.below(sum);
        let fault = FAULTS.iter().find(|(_, weight, _)| {
            let is_it = at < *weight;
            at = at.saturating_sub(*weight);
            is_it
        });
        let Some((name, _, fault)) = fault else { continue };
        let began = world.recorder.now();
        if fault(world, &mut chance) {
            world.count(name);
            let ended = world.recorder.now();
            locked(&world.log).push(format!("{began} to {ended}: {name}\n"));
        }
        std::thread::sleep(chance.between(pace / 4, pace * 3 / 2));
    }
    if let Some(shim) = &world.shim {
        shim.control().calm();
    }
}

/// The names of all faults.
pub fn names() -> impl Iterator<Item = &'static str> {
    FAULTS.iter().map(|(name, _, _)| *name).chain([IN_A_CALL])
}

fn broker(world: &World) -> Option<Holder> {
    world.sandbox.broker()
}

fn pid_of(broker: &Holder) -> Option<Pid> {
    i32::try_from(broker.pid).ok().and_then(Pid::from_raw)
}

fn suspend_broker(world: &Arc<World>, chance: &mut Chance) -> bool {
    let Some(pid) = broker(world).as_ref().and_then(pid_of) else { return false };
    if kill_process(pid, Signal::STOP).is_err() {
        return false;
    }
    std::thread::sleep(chance.between(Duration::from_millis(50), Duration::from_millis(1_200)));
    // The broker is no child of ours: it may have been replaced, but not while it is suspended.
    let _ = kill_process(pid, Signal::CONT);
    true
}

fn race(world: &Arc<World>, _: &mut Chance) -> bool {
    if let Some(broker) = broker(world) {
        broker.kill();
    }
    for _ in 0..2 {
        let mut command = world.command(&["broker"]);
        world.spawn(Kind::Broker, command.stdin(Stdio::null()).stdout(Stdio::null()));
    }
    true
}

fn signal(world: &Arc<World>, chance: &mut Chance, kind: Kind, signal: Signal) -> bool {
    let running = world.running(kind);
    if running.is_empty() {
        return false;
    }
    running[chance.below(running.len() as u64) as usize].signal(signal)
}

fn suspend(world: &Arc<World>, chance: &mut Chance, kind: Kind) -> bool {
    let running = world.running(kind);
    if running.is_empty() {
        return false;
    }
    let process = Arc::clone(&running[chance.below(running.len() as u64) as usize]);
    let pause = chance.between(Duration::from_millis(50), Duration::from_millis(2_500));
    if !process.signal(Signal::STOP) {
        return false;
    }
    // It goes on beside the faults that follow.
    std::thread::spawn(move || {
        std::thread::sleep(pause);
        process.signal(Signal::CONT);
    });
    true
}

fn pause_machine(world: &Arc<World>, chance: &mut Chance) -> bool {
    let kinds = [Kind::Server, Kind::Hook, Kind::CommandLine, Kind::Broker];
    let all: Vec<_> = kinds.into_iter().flat_map(|kind| world.running(kind)).collect();
    let broker = broker(world).as_ref().and_then(pid_of);
    let pause = chance.between(Duration::from_millis(300), Duration::from_millis(1_500));
    world.excuse(Instant::now() + pause);
    for process in &all {
        process.signal(Signal::STOP);
    }
    broker.map(|pid| kill_process(pid, Signal::STOP));
    std::thread::sleep(pause);
    broker.map(|pid| kill_process(pid, Signal::CONT));
    for process in &all {
        process.signal(Signal::CONT);
    }
    world.excuse(Instant::now());
    true
}

fn remove(path: &Path) -> bool {
    std::fs::remove_file(path).is_ok()
}

/// Removes the database while a broker runs, which writes it back. Nothing else is done to it until
/// then: what no process has open any more is gone.
fn remove_database(world: &Arc<World>, _: &mut Chance) -> bool {
    let database: PathBuf = world.sandbox.config().database;
    let serves = broker(world).is_some_and(|broker| !broker.starting);
    if !serves || !world.sandbox.status_is("running") || !remove(&database) {
        return false;
    }
    let since = Instant::now();
    while !database.exists() && since.elapsed() < Duration::from_secs(20) {
        // Each write looks whether the database is in its place.
        world.run(Kind::CommandLine, &mut world.command(&["inbox", "--peek", "--json"]), None);
    }
    // A broker that was about to end writes it back as well; what is missing then, the checker finds.
    if !database.exists() {
        world.problem("a removed database was not written back by its broker".to_owned());
    }
    true
}

fn deafen(world: &Arc<World>, chance: &mut Chance) -> bool {
    let at = chance.below(world.sessions.len() as u64) as usize;
    let pause = chance.between(Duration::from_millis(200), Duration::from_millis(4_000));
    world.sessions[at].is_deaf.store(true, Ordering::SeqCst);
    let world = Arc::clone(world);
    std::thread::spawn(move || {
        std::thread::sleep(pause);
        world.sessions[at].is_deaf.store(false, Ordering::SeqCst);
    });
    true
}

/// Has system calls fail with this probability for a while.
fn shimmed(
    world: &Arc<World>,
    chance: &mut Chance,
    probability: u32,
    field: fn(&Control) -> &AtomicU32,
    milliseconds: u64,
) -> bool {
    let Some(shim) = &world.shim else { return false };
    field(shim.control()).store(probability, Ordering::SeqCst);
    let longest = Duration::from_millis(milliseconds);
    std::thread::sleep(chance.between(longest / 4, longest));
    field(shim.control()).store(0, Ordering::SeqCst);
    true
}

/// The same, and calls may fail meanwhile.
fn disk(
    world: &Arc<World>,
    chance: &mut Chance,
    probability: u32,
    field: fn(&Control) -> &AtomicU32,
) -> bool {
    world.excuse(Instant::now() + Duration::from_millis(1_200));
    let done = shimmed(world, chance, probability, field, 1_000);
    world.excuse(Instant::now());
    done
}

/// Sets the wall clock to within ten days of the real time.
fn set_clock(world: &Arc<World>, chance: &mut Chance) -> bool {
    const SECOND: i64 = 1_000;
    const STEPS: [i64; 8] = [1, 2, 20, 45, 3_600, 8 * 3_600, 25 * 3_600, 8 * 24 * 3_600];
    let Some(shim) = &world.shim else { return false };
    let step = STEPS[chance.below(STEPS.len() as u64) as usize] * SECOND;
    let sign = if chance.below(2) == 0 { 1 } else { -1 };
    // Sometimes it is set right.
    let offset = if chance.below(4) == 0 { 0 } else { sign * step };
    shim.control().clock_offset.store(offset, Ordering::SeqCst);
    true
}
