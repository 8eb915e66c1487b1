//! Every system call of one message, in the order of time, of all three processes.
//!
//! Each call is several times as slow while it is traced: the order counts, not the times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Size;
use crate::figures::Figures;
use crate::measures::latency::exchange;
use crate::peer::live;
use crate::strace::Strace;
use crate::world::World;

const TEXT: &str = "Which of the two endpoints should the frontend call?";

/// As many messages go before, so that all caches are warm.
const BEFORE: usize = 20;

/// How long the processes are still watched after the last message, for its receipt.
const AFTER: Duration = Duration::from_millis(300);

pub fn trace(world: &World, _: &Size, _: &mut Figures) {
    let mut peers = live(&world.sandbox, ["a".to_owned(), "b".to_owned()]);
    let (mut b, mut a) = (peers.pop().unwrap(), peers.pop().unwrap());
    let whose = [("sender", a.pid()), ("broker", world.broker()), ("recipient", b.pid())];
    let traces = whose.map(|(_, pid)| Strace::writing(pid));
    if traces.iter().any(Option::is_none) {
        eprintln!("nothing is traced: strace is missing or may not attach");
        return;
    }
    for _ in 0..BEFORE {
        exchange(&mut a, &mut b, TEXT);
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(AFTER);
    let began = now();
    let ([called, pushed, answered], _) = exchange(&mut a, &mut b, TEXT);
    std::thread::sleep(AFTER);
    let marks = [("called", called), ("pushed", pushed), ("answered", answered)];
    let mut lines: Vec<(f64, &str, String)> = marks
        .iter()
        .map(|(what, at)| (began + (*at - called).as_secs_f64(), "benchmark", format!("-- {what}")))
        .collect();
    for ((who, _), trace) in whose.iter().zip(traces) {
        let calls = trace.unwrap().written().into_iter().filter(|(at, _)| *at >= began);
        lines.extend(calls.map(|(at, call)| (at, *who, call)));
    }
    lines.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
    println!("      ms");
    for (at, who, call) in lines {
        println!("{:>8.3}  {who:<10}{call}", (at - began) * 1e3);
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}
