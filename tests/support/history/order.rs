//! Messages of one sender to one recipient are offered in the order in which they were accepted.

use std::collections::BTreeMap;

use super::index::Index;
use super::{Answer, Event, Rule, Send, Shown, Violation, Way};

pub fn check(index: &Index<'_>, found: &mut Vec<Violation>) {
    let mut pairs: BTreeMap<(&str, &str), Vec<(&str, &Send)>> = BTreeMap::new();
    for (id, sends) in &index.accepted {
        // With retries it is not known which attempt stored it.
        if let [send] = sends[..] {
            pairs.entry((&send.from, &send.to)).or_default().push((id, send));
        }
    }
    for ((sender, recipient), mut messages) in pairs {
        messages.sort_by_key(|(_, send)| send.began);
        let questions: Vec<u64> = index
            .sends
            .iter()
            .filter(|send| send.waits && send.from == recipient && send.to == sender)
            .map(|send| send.began)
            .collect();
        let lost_pushes = index
            .looks
            .iter()
            .filter(|look| look.way == Way::Push && look.peer == recipient && !look.is_seen);
        // From then on a reply may overtake, or an unmarked message may have been offered before.
        let loose = questions.into_iter().chain(lost_pushes.map(|look| look.began)).min();
        let showings: Vec<Vec<&Shown>> =
            messages.iter().map(|(id, _)| index.showings(id)).collect();
        for (later, shown) in messages.iter().zip(&showings) {
            let Some(second) = shown.first().copied() else { continue };
            if loose.is_some_and(|from| from <= second.span.ended) {
                continue;
            }
            for (earlier, shown) in messages.iter().zip(&showings) {
                let Some(first) = shown.first().copied() else { continue };
                if is_accepted_before(earlier.1, later.1)
                    && is_unmarked(first)
                    && shown.iter().all(|one| index.precedes(second, one))
                {
                    let sends = [Event::from(earlier.1), Event::from(later.1)];
                    let events = sends.into_iter().chain([second.into(), first.into()]).collect();
                    found.push(Violation { rule: Rule::Overtaken, events });
                }
            }
        }
    }
}

/// Whether a message was certainly accepted before another one of the same sender.
fn is_accepted_before(one: &Send, other: &Send) -> bool {
    if let (Some((calls, place)), Some((others, after))) = (&one.place, &other.place)
        && calls == others
    {
        return place < after;
    }
    matches!(&one.answer, Some((at, Answer::Accepted { .. })) if *at < other.began)
}

/// Whether no receiver was offered the message before, so that it was first offered by this.
fn is_unmarked(shown: &Shown) -> bool {
    !shown.message.repeat && !shown.message.already_pushed
}

impl Index<'_> {
    /// Whether one showing was certainly offered before another.
    fn precedes(&self, one: &Shown, other: &Shown) -> bool {
        let is_one_result = one.span == other.span && one.receiver == other.receiver;
        let is_one_output = one.receiver == other.receiver
            && other.way == Way::Push
            && [Way::Push, Way::Tool].contains(&one.way);
        if is_one_result || is_one_output {
            return self.position(one) < self.position(other);
        }
        self.span(one).is_before(self.span(other))
    }

    fn position(&self, shown: &Shown) -> Option<usize> {
        self.positions.get(&std::ptr::from_ref(shown)).copied()
    }
}
