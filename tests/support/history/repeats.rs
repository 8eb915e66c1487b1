//! No id is pushed twice to one instance, and a repeat elsewhere is marked as one.

use super::index::Index;
use super::{Event, Rule, Shown, Violation, Way};

pub fn check(index: &Index<'_>, found: &mut Vec<Violation>) {
    for all in index.by_receiver.values() {
        let mut earlier: std::collections::BTreeMap<&str, Vec<&Shown>> = Default::default();
        for shown in all {
            let before = earlier.entry(&shown.message.id).or_default();
            in_one_receiver(index, before, shown, found);
            before.push(shown);
        }
    }
    for id in index.shown.keys() {
        let all = index.showings(id);
        for shown in &all {
            let is_marked = shown.message.repeat || shown.message.already_pushed;
            let before = all.iter().find(|before| {
                index.span(before).is_before(index.span(shown)) && must_mark(before, shown)
            });
            if let (Some(before), false) = (before, is_marked) {
                let events = vec![Event::from(*before), Event::from(*shown)];
                found.push(Violation { rule: Rule::Unmarked, events });
            }
        }
    }
}

/// Checks a message that one receiver shows, after it has shown the same one `before`.
fn in_one_receiver(
    index: &Index<'_>,
    before: &[&Shown],
    shown: &Shown,
    found: &mut Vec<Violation>,
) {
    let mut broken = |rule, before: &[&Shown]| {
        let events = before.iter().copied().chain([shown]).map(Event::from).collect();
        found.push(Violation { rule, events });
    };
    if shown.way == Way::Push {
        if before.iter().any(|one| one.way == Way::Push) {
            broken(Rule::PushedTwice, before);
        } else if !before.is_empty() {
            broken(Rule::PushedBehindTool, before);
        }
    }
    let is_session = index.began.contains_key(shown.receiver.as_str());
    if shown.message.already_pushed && is_session && before.is_empty() {
        broken(Rule::FalselyMarked, &[]);
    }
}

/// Whether a message is marked as a repeat if it was shown that way before.
fn must_mark(before: &Shown, shown: &Shown) -> bool {
    let is_one_receiver = before.receiver == shown.receiver;
    match shown.way {
        Way::Hook => true,
        // A rule of its own: it is not pushed at all.
        Way::Push => !is_one_receiver,
        // Parts of one message are no repeats.
        _ => !(is_one_receiver && before.message.part),
    }
}
