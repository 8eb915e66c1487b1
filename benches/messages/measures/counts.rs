//! What a message costs that can be counted, so that noise does not matter: pages of the log,
//! system calls, syncs.

use std::time::Duration;

use crate::Size;
use crate::figures::Figures;
use crate::log::Log;
use crate::measures::hook;
use crate::measures::latency::exchange;
use crate::peer::{Peer, live};
use crate::strace::{Calls, Strace};
use crate::world::World;

/// The pause after each message and hook: what belongs to it, such as a receipt, is done then.
const APART: Duration = Duration::from_millis(10);

const TEXT: &str = "Which of the two endpoints should the frontend call?";

pub fn counts(world: &World, size: &Size, figures: &mut Figures) {
    let count = (size.messages / 4).clamp(10, 100);
    figures.measure("counts", &format!("counts ({count} messages and hooks, one by one)"));
    let mut peers = live(&world.sandbox, ["a".to_owned(), "b".to_owned()]);
    let (mut b, mut a) = (peers.pop().unwrap(), peers.pop().unwrap());
    let (pages, calls) = counted(world, count, |number| {
        hook::tool_used(&world.sandbox, number);
    });
    hooks(figures, "hook.empty", "a hook event without mail", pages, calls.as_ref(), count);
    let (pages, calls) = counted(world, count, |number| {
        exchange(&mut a, &mut b, TEXT);
        hook::one(&world.sandbox, number, true);
        hook::tool_used(&world.sandbox, number);
    });
    hooks(
        figures,
        "hook.mail",
        "a message, the hook that shows it, the next one",
        pages,
        calls.as_ref(),
        count,
    );
    messages(world, count, figures, &mut a, &mut b);
}

fn messages(world: &World, count: usize, figures: &mut Figures, a: &mut Peer, b: &mut Peer) {
    let whose = [("sender", a.pid()), ("broker", world.broker()), ("recipient", b.pid())];
    let (pages, _) = counted(world, count, |_| {
        exchange(a, b, TEXT);
    });
    figures.value("send.pages", "a message with its receipt: pages written to the log", "", pages);
    let counting = whose.map(|(_, pid)| Strace::counting(pid));
    if counting.iter().any(Option::is_none) {
        eprintln!("system calls are not counted: strace is missing or may not attach");
        return;
    }
    for _ in 0..count {
        exchange(a, b, TEXT);
        std::thread::sleep(APART);
    }
    let calls = counting.map(|counting| counting.unwrap().counted());
    for ((who, _), calls) in whose.iter().zip(&calls) {
        let (name, what) =
            (format!("send.calls.{who}"), format!("a message: system calls of the {who}"));
        figures.value(&name, &what, "", each(calls.total(), count));
    }
    let syncs = each(calls[1].syncs(), count);
    figures.value("send.syncs", "a message with its receipt: syncs of the broker", "", syncs);
}

fn hooks(
    figures: &mut Figures,
    name: &str,
    what: &str,
    pages: f64,
    calls: Option<&Calls>,
    count: usize,
) {
    figures.value(&format!("{name}.pages"), &format!("{what}: pages written"), "", pages);
    if let Some(calls) = calls {
        let [syncs, total] = [calls.syncs(), calls.total()].map(|calls| each(calls, count));
        figures.value(&format!("{name}.syncs"), &format!("{what}: syncs of the broker"), "", syncs);
        figures.value(
            &format!("{name}.calls"),
            &format!("{what}: system calls of the broker"),
            "",
            total,
        );
    }
}

/// Does something several times. Returns the pages that each time has written to the log, and all
/// system calls of the broker.
fn counted(world: &World, count: usize, mut act: impl FnMut(usize)) -> (f64, Option<Calls>) {
    // What went before has an end of its own: a receipt, the working directory that a hook reports.
    act(count);
    std::thread::sleep(10 * APART);
    let calls = Strace::counting(world.broker());
    let (mut pages, mut known) = (0, 0);
    let mut before = Log::of(&world.database());
    for number in 0..count {
        act(number);
        std::thread::sleep(APART);
        let after = Log::of(&world.database());
        // Where the log began anew, it cannot be told.
        if let Some(new) = after.since(&before) {
            pages += new.pages;
            known += 1;
        }
        before = after;
    }
    (each(pages as u64, known), calls.map(Strace::counted))
}

fn each(all: u64, count: usize) -> f64 {
    all as f64 / count as f64
}
