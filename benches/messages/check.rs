//! What fails a run with `--check`: a count or a ratio that is far too high, never a time.
//!
//! Counts are the same on every machine, so they are bounded where they would have grown by half;
//! system calls where they would have doubled, because a busy machine wakes a process more often.
//! They hold for `cargo test`, too, where the program is not optimised. Ratios to the floor are
//! bounded at five times what they usually are. Whoever makes something cheaper lowers its bound.

use crate::figures::Figure;

/// The most that a figure may be.
const COUNTS: [(&str, f64); 18] = [
    ("counts.send.pages", 6.0),
    ("counts.send.syncs", 1.6),
    ("counts.send.calls.sender", 45.0),
    ("counts.send.calls.broker", 100.0),
    ("counts.send.calls.recipient", 30.0),
    ("counts.hook.empty.pages", 0.2),
    ("counts.hook.empty.syncs", 0.2),
    ("counts.hook.empty.calls", 400.0),
    ("counts.hook.mail.pages", 22.0),
    ("counts.hook.mail.syncs", 4.5),
    ("burst.1-1.pages", 2.0),
    ("burst.8-1.pages", 2.0),
    ("burst.1-50.pages", 2.0),
    ("list.characters", 20_000.0),
    ("tokens.instructions", 513.0),
    ("tokens.tools", 2_800.0),
    ("tokens.list", 400.0),
    ("tokens.check", 90.0),
];

/// The most that a figure may be of its floor.
const RATIOS: [(&str, f64); 10] = [
    ("latency.pushed.p50", 20.0),
    ("latency.answered.p50", 20.0),
    ("burst.1-1.time", 150.0),
    ("burst.8-1.time", 150.0),
    ("burst.1-50.time", 150.0),
    ("start.initialize.p50", 12.0),
    ("start.send.p50", 20.0),
    ("hook.empty.p50", 16.0),
    ("hook.mail.p50", 25.0),
    ("list.answered.p50", 100.0),
];

/// Returns a line for each figure that is over its bound. Ratios are only looked at `with_ratios`.
pub fn excesses(figures: &[Figure], with_ratios: bool) -> Vec<String> {
    let counts = COUNTS.into_iter().filter_map(|(name, most)| {
        let value = named(figures, name)?.value;
        (value > most).then(|| format!("{name} is {value:.1}, more than {most}"))
    });
    let ratios = RATIOS.into_iter().filter(|_| with_ratios).filter_map(|(name, most)| {
        let ratio = named(figures, name)?.ratio()?;
        (ratio > most).then(|| format!("{name} is {ratio:.1} times its floor, more than {most}"))
    });
    counts.chain(ratios).collect()
}

/// Returns how many of the bounded figures were measured.
pub fn bounded(figures: &[Figure], with_ratios: bool) -> usize {
    let names = COUNTS.iter().chain(RATIOS.iter().filter(|_| with_ratios)).map(|(name, _)| *name);
    names.filter(|name| named(figures, name).is_some()).count()
}

fn named<'a>(figures: &'a [Figure], name: &str) -> Option<&'a Figure> {
    figures.iter().find(|figure| figure.name == name)
}
