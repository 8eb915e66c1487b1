//! As many messages as the calls can carry. None may be lost, doubled or overtaken.

use std::collections::HashSet;
use std::time::Instant;

use serde_json::json;

use crate::Size;
use crate::figures::{Figures, median};
use crate::floor::{Floor, Lengths};
use crate::lines::Line;
use crate::log::{Log, Written};
use crate::peer::{Peer, id_of, live, parsed};
use crate::processes::ProcessorTimes;
use crate::world::World;

pub fn burst(world: &World, size: &Size, figures: &mut Figures) {
    let Size { burst, rounds, .. } = size;
    figures.measure(
        "burst",
        &format!("burst ({burst} messages, calls not waited for, median of {rounds})"),
    );
    for (from, to) in [(1, 1), (8, 1), (1, 50)] {
        shape(world, size, figures, from, to);
    }
}

/// Measures bursts of one shape, in turns with the floor.
fn shape(world: &World, size: &Size, figures: &mut Figures, from: usize, to: usize) {
    let name = |role: &str, number: usize| format!("{role}-{from}-{to}-{number}");
    let senders = live(&world.sandbox, (0..from).map(|number| name("from", number)));
    let receivers = live(&world.sandbox, (0..to).map(|number| name("to", number)));
    let mut burst = Burst { senders, receivers, share: size.burst / from / to, sent: 0 };
    let messages = burst.share * from * to;
    let ours = [burst.senders[0].pid(), world.broker(), burst.receivers[0].pid()];
    // The first round tells the lengths of the lines. It is not counted.
    let (_, lengths) = burst.round();
    let mut floor = Floor::start(world.disk(), from, to, lengths);
    let (mut took, mut floor_took, mut times) = (Vec::new(), Vec::new(), [const { Vec::new() }; 6]);
    let mut written = Vec::new();
    for _ in 0..size.rounds {
        let before = ProcessorTimes::now(&floor.pids());
        floor_took.push(floor_round(&mut floor, burst.share));
        let floor_times = before.since(1);
        let (before, log) = (ProcessorTimes::now(&ours), Log::of(&world.database()));
        took.push(burst.round().0);
        written.extend(Log::of(&world.database()).since(&log));
        for (times, time) in times.iter_mut().zip(before.since(1).into_iter().chain(floor_times)) {
            times.extend(time);
        }
    }
    let rate = |took: &[f64]| messages as f64 / median(took);
    let shape = format!("{from} -> {to}");
    let (took, floor_took) = (median(&took), median(&floor_took));
    let name = format!("{from}-{to}");
    figures.compared(
        &format!("{name}.time"),
        &format!("{shape}: first call -> last push"),
        "ms",
        took * 1e3,
        Some(floor_took * 1e3),
    );
    figures.compared(
        &format!("{name}.rate"),
        &format!("{shape}: messages a second"),
        "",
        rate(&[took]),
        Some(rate(&[floor_took])),
    );
    // Of the rounds in which the log did not begin anew.
    let each = |count: fn(&Written) -> usize| {
        let counts: Vec<f64> = written.iter().map(|written| count(written) as f64).collect();
        median(&counts)
    };
    if !written.is_empty() {
        let pages = each(|written| written.pages) / messages as f64;
        let what = format!("{shape}: pages written, a message");
        figures.value(&format!("{name}.pages"), &what, "", pages);
        let grouped = messages as f64 / each(|written| written.commits);
        let what = format!("{shape}: messages that share a commit");
        figures.value(&format!("{name}.grouped"), &what, "", grouped);
    }
    // What each of several senders or receivers handles is its share.
    let shares = [messages / from, messages, messages / to];
    let whose = [
        ("sender", "a sender's server"),
        ("broker", "the broker"),
        ("recipient", "a recipient's server"),
    ];
    for (index, (who, what)) in whose.into_iter().enumerate() {
        if !times[index].is_empty() {
            let each = |times: &[f64]| median(times) / shares[index] as f64;
            figures.compared(
                &format!("{name}.processor.{who}"),
                &format!("{shape}: processor time a message: {what}"),
                "µs",
                each(&times[index]),
                Some(each(&times[3 + index])),
            );
        }
    }
}

struct Burst {
    senders: Vec<Peer>,
    receivers: Vec<Peer>,
    /// The messages from each sender to each receiver.
    share: usize,
    /// The messages before this round.
    sent: usize,
}

impl Burst {
    /// Sends the messages. Returns the seconds from the first call to the last push, and the lengths
    /// of the lines of one message.
    fn round(&mut self) -> (f64, Lengths) {
        let mut calls = Vec::new();
        for number in self.sent..self.sent + self.share {
            for receiver in &self.receivers {
                for (index, sender) in self.senders.iter_mut().enumerate() {
                    let text = format!("{} {number:06}", sender.name);
                    let arguments = json!({ "to_id": receiver.name, "message": text });
                    calls.push((index, sender.call_line("send_message", &arguments)));
                }
            }
        }
        let since = Instant::now();
        for (sender, call) in &calls {
            self.senders[*sender].write(call);
        }
        let (from, to) = (self.senders.len(), self.receivers.len());
        let pushes: Vec<Vec<Line>> =
            self.receivers.iter_mut().map(|receiver| receiver.take(self.share * from)).collect();
        let answers: Vec<Vec<Line>> =
            self.senders.iter_mut().map(|sender| sender.take(self.share * to)).collect();
        self.check(&pushes, &answers);
        self.sent += self.share;
        let longest = |lines: &[Vec<Line>]| {
            lines.iter().flatten().map(|(_, line)| line.len() + 1).max().unwrap()
        };
        let call = calls.iter().map(|(_, call)| call.len()).max().unwrap();
        (last(&pushes, since), Lengths { call, answer: longest(&answers), push: longest(&pushes) })
    }

    /// Fails if a message was lost, doubled or overtaken, or pushed under another id than answered.
    fn check(&self, pushes: &[Vec<Line>], answers: &[Vec<Line>]) {
        let mut ids = HashSet::new();
        for (receiver, pushes) in self.receivers.iter().zip(pushes) {
            let mut next = vec![self.sent; self.senders.len()];
            for (_, push) in pushes {
                let push = parsed(push);
                let params = &push["params"];
                let text = params["content"].as_str().unwrap_or_else(|| panic!("no push: {push}"));
                let sender =
                    self.senders.iter().position(|s| params["meta"]["from_name"] == s.name);
                let sender = sender.unwrap_or_else(|| panic!("of nobody: {push}"));
                let expected = format!("{} {:06}", self.senders[sender].name, next[sender]);
                assert_eq!(text, expected, "lost, doubled or overtaken at {}", receiver.name);
                next[sender] += 1;
                let id = params["meta"]["message_id"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "{push}");
            }
        }
        for (_, answer) in answers.iter().flatten() {
            let answer = parsed(answer);
            let id = id_of(&answer).as_str().unwrap_or_else(|| panic!("refused: {answer}"));
            assert!(ids.remove(id), "pushed, but under another id: {answer}");
        }
        assert!(ids.is_empty(), "pushed, but not answered: {ids:?}");
    }
}

/// Sends as many messages by the floor, in the same order.
fn floor_round(floor: &mut Floor, share: usize) -> f64 {
    let (from, to) = (floor.senders.len(), floor.receivers.len());
    let mut calls = Vec::new();
    for number in 0..share {
        for receiver in 0..to {
            for sender in 0..from {
                calls.push((sender, floor.line(sender, receiver, number)));
            }
        }
    }
    let since = Instant::now();
    for (sender, call) in &calls {
        floor.senders[*sender].write(call);
    }
    let pushes: Vec<Vec<Line>> =
        floor.receivers.iter_mut().map(|receiver| receiver.take(share * from)).collect();
    for sender in &mut floor.senders {
        sender.take(share * to);
    }
    last(&pushes, since)
}

/// Returns the seconds until the last line came.
fn last(lines: &[Vec<Line>], since: Instant) -> f64 {
    lines.iter().flatten().map(|(at, _)| *at - since).max().unwrap().as_secs_f64()
}
