//! Where a message's time goes: each hop by itself, with the benchmark in the place of the others.
//!
//! The hops of the servers are differences: the way through the server, less the way through the
//! broker alone of the same round.

use std::time::{Duration, Instant};

use claude_peers::protocol::{header, route};
use claude_peers::sys::{clock, random};
use serde_json::json;

use crate::Size;
use crate::figures::{Figures, median};
use crate::floor::{Floor, Lengths};
use crate::measures::latency::exchange;
use crate::peer::{Peer, live};
use crate::wire::{StandIn, Wire};
use crate::world::World;

const TEXT: &str = "Which of the two endpoints should the frontend call?";

/// The pause between two messages.
const APART: Duration = Duration::from_millis(2);

/// The first messages find cold caches everywhere and are not counted.
const UNCOUNTED: usize = 10;

/// How many messages are reported as written at once.
const REPORTED: usize = 16;

/// The ways that a message takes, from whom to whom. Each is timed from the call to the push.
struct Ways {
    a: Peer,
    b: Peer,
    /// Sends and receives without a server.
    from: StandIn,
    to: StandIn,
    calls: Wire,
    receipts: Wire,
    unreported: Vec<String>,
    /// How long the broker took to answer, the last time.
    answered: Duration,
}

impl Ways {
    /// Through both servers.
    fn whole(&mut self) -> Duration {
        let ([called, pushed, _], _) = exchange(&mut self.a, &mut self.b, TEXT);
        pushed - called
    }

    /// Through the sender's server, with the benchmark as the recipient's.
    fn without_recipient(&mut self) -> Duration {
        let arguments = json!({ "to_id": self.to.name, "message": TEXT });
        let call = self.a.call_line("send_message", &arguments);
        let called = self.a.write(&call);
        let event = self.event();
        self.a.next();
        event - called
    }

    /// Through the recipient's server, with the benchmark as the sender's.
    fn without_sender(&mut self) -> Duration {
        let called = self.post("b");
        let pushed = self.b.next().0;
        self.calls.answer();
        pushed - called
    }

    /// Through the broker alone.
    fn broker(&mut self) -> Duration {
        let to = self.to.name.clone();
        let called = self.post(&to);
        let event = self.event();
        self.answered = self.calls.answer().0 - called;
        event - called
    }

    /// A request that asks the broker for nothing.
    fn health(&mut self) -> Duration {
        let called =
            self.calls.write(&Wire::request("GET", route::HEALTH, &self.from.secret, "", ""));
        self.calls.answer().0 - called
    }

    fn ping(&mut self) -> Duration {
        let called = self.b.request("ping", json!({}));
        self.b.next().0 - called
    }

    fn post(&mut self, to: &str) -> Instant {
        let body = json!({ "to": to, "text": TEXT }).to_string();
        let key = random::idempotency_key(clock::now());
        let headers = format!("{}: {key}\r\n", header::IDEMPOTENCY_KEY);
        self.calls.write(&Wire::request(
            "POST",
            route::MESSAGES,
            &self.from.secret,
            &headers,
            &body,
        ))
    }

    /// Waits for the event of a message. What was written is reported now and then: a receipt makes
    /// room in the push window, and the broker need not answer it soon.
    fn event(&mut self) -> Instant {
        let (at, event) = self.to.stream.event();
        let id = event["delivery"]["id"].as_str().unwrap_or_else(|| panic!("no message: {event}"));
        self.unreported.push(id.to_owned());
        at
    }

    fn report(&mut self) {
        if self.unreported.len() >= REPORTED {
            let ids = std::mem::take(&mut self.unreported);
            self.receipts.post(route::WRITTEN, &self.to.secret, &json!({ "ids": ids }));
        }
    }
}

pub fn hops(world: &World, size: &Size, figures: &mut Figures) {
    figures.measure("hops", &format!("hops (medians of {} messages each way)", size.messages));
    let mut peers = live(&world.sandbox, ["a".to_owned(), "b".to_owned()]);
    let (b, a) = (peers.pop().unwrap(), peers.pop().unwrap());
    let mut calls = Wire::open(&world.sandbox);
    let from = StandIn::live(&world.sandbox, &mut calls, "from");
    let to = StandIn::live(&world.sandbox, &mut calls, "to");
    let receipts = Wire::open(&world.sandbox);
    let mut ways =
        Ways { a, b, from, to, calls, receipts, unreported: Vec::new(), answered: Duration::ZERO };
    let mut floor = Floor::start(world.disk(), 1, 1, Lengths { call: 600, answer: 600, push: 600 });
    let all: [fn(&mut Ways) -> Duration; 6] = [
        Ways::broker,
        Ways::without_recipient,
        Ways::without_sender,
        Ways::whole,
        Ways::health,
        Ways::ping,
    ];
    // What each round has of each, in milliseconds.
    let mut found: [Vec<f64>; 8] = Default::default();
    for number in 0..size.messages + UNCOUNTED {
        let mut round = [Duration::ZERO; 6];
        // Each way is the first of a round in its turn: what comes after a pause takes longer.
        for turn in 0..all.len() {
            let way = (number + turn) % all.len();
            round[way] = all[way](&mut ways);
            std::thread::sleep(APART);
        }
        ways.report();
        let [called, pushed, _] = floor.pass(0, 0);
        std::thread::sleep(APART);
        if number >= UNCOUNTED {
            let [event, to_event, from_post, whole, health, ping] = round;
            let less = |whole: Duration, part: Duration| whole.as_secs_f64() - part.as_secs_f64();
            let seconds = [
                less(to_event, event),
                event.as_secs_f64(),
                less(from_post, event),
                less(ways.answered, event),
                health.as_secs_f64(),
                ping.as_secs_f64(),
                whole.as_secs_f64(),
                (pushed - called).as_secs_f64(),
            ];
            found.iter_mut().zip(seconds).for_each(|(found, time)| found.push(time * 1e3));
        }
    }
    let [sender, broker, recipient, answer, health, ping, whole, floor] =
        found.map(|times| median(&times));
    let mut add = |name: &str, what: &str, value: f64| figures.value(name, what, "ms", value);
    add("sender", "the sender's server: from the call to the request", sender);
    add("broker", "the broker: from the request to the event, with its sync", broker);
    add("recipient", "the recipient's server: from the event to the push", recipient);
    add("answer", "the broker: from the event to the answer", answer);
    add("http", "for comparison: a request that asks the broker for nothing", health);
    add("ping", "for comparison: a server answers a ping", ping);
    figures.compared("whole", "the whole way, from the call to the push", "ms", whole, Some(floor));
}
