//! Where a message's time goes: each hop by itself, with the benchmark in the place of the others.

use std::time::{Duration, Instant};

use claude_peers::protocol::{header, route};
use claude_peers::sys::{clock, random};
use serde_json::json;

use crate::Size;
use crate::figures::{Figures, at};
use crate::floor::{Floor, Lengths};
use crate::measures::latency::exchange;
use crate::peer::{Peer, live};
use crate::wire::{StandIn, Wire};
use crate::world::World;

const TEXT: &str = "Which of the two endpoints should the frontend call?";

/// The pause between two messages.
const APART: Duration = Duration::from_millis(2);

/// The ways that a message takes, from whom to whom. Each is timed from the call to the push.
struct Ways {
    a: Peer,
    b: Peer,
    /// Sends and receives without a server.
    from: StandIn,
    to: StandIn,
    calls: Wire,
    receipts: Wire,
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

    /// Through the broker alone. Returns when the event had come, and the answer.
    fn broker(&mut self) -> [Duration; 2] {
        let to = self.to.name.clone();
        let called = self.post(&to);
        let event = self.event();
        let answered = self.calls.answer().0;
        [event - called, answered - called]
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

    /// Waits for the event of a message, and reports it as written, as a server does.
    fn event(&mut self) -> Instant {
        let (at, event) = self.to.stream.event();
        let id = event["delivery"]["id"].as_str().unwrap_or_else(|| panic!("no message: {event}"));
        self.receipts.post(route::WRITTEN, &self.to.secret, &json!({ "ids": [id] }));
        at
    }
}

pub fn hops(world: &World, size: &Size, figures: &mut Figures) {
    figures.measure("hops", &format!("hops ({} messages each way, medians)", size.messages));
    let mut peers = live(&world.sandbox, ["a".to_owned(), "b".to_owned()]);
    let (b, a) = (peers.pop().unwrap(), peers.pop().unwrap());
    let mut calls = Wire::open(&world.sandbox);
    let from = StandIn::live(&world.sandbox, &mut calls, "from");
    let to = StandIn::live(&world.sandbox, &mut calls, "to");
    let receipts = Wire::open(&world.sandbox);
    let mut ways = Ways { a, b, from, to, calls, receipts };
    let mut floor = Floor::start(world.disk(), 1, 1, Lengths { call: 600, answer: 600, push: 600 });
    let mut times: [Vec<Duration>; 9] = Default::default();
    for number in 0..size.messages + 10 {
        let [event, answered] = ways.broker();
        std::thread::sleep(APART);
        let mut round = vec![event, answered];
        for way in
            [Ways::whole, Ways::without_recipient, Ways::without_sender, Ways::health, Ways::ping]
        {
            round.push(way(&mut ways));
            std::thread::sleep(APART);
        }
        let [called, pushed, answered] = floor.pass(0, 0);
        round.extend([pushed - called, answered - called]);
        // The first messages find cold caches everywhere.
        if number >= 10 {
            times.iter_mut().zip(round).for_each(|(times, time)| times.push(time));
        }
    }
    let [event, answered, whole, to_event, from_post, health, ping, floor, _] =
        times.map(|times| at(&times, 0.5));
    let mut add = |name: &str, what: &str, value: f64| figures.value(name, what, "ms", value);
    add(
        "sender",
        "harness -> sender's server -> broker: the call becomes a request",
        to_event - event,
    );
    add("broker", "broker: request -> stored, synced, event in the stream", event);
    add(
        "recipient",
        "broker -> recipient's server -> harness: event becomes a push",
        from_post - event,
    );
    add("answer", "broker: from the event in the stream to the answer", answered - event);
    add("http", "of the broker's: a request that asks for nothing (GET /health)", health);
    add("ping", "of each server's: a ping answered", ping);
    figures.compared("whole", "the whole way in the same minute", "ms", whole, Some(floor));
}
