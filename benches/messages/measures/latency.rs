//! One message at a time: how long it takes, and whose processor time.

use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Size;
use crate::figures::Figures;
use crate::floor::{Floor, Lengths};
use crate::peer::{Peer, id_of, live, parsed};
use crate::processes::ProcessorTimes;
use crate::world::World;

/// The pause between two messages.
const APART: Duration = Duration::from_millis(2);

/// The first messages find cold caches everywhere and are not counted.
const UNCOUNTED: usize = 10;

/// From a tool call in one session to the push in another, each message beside one of the floor.
pub fn latency(world: &World, size: &Size, figures: &mut Figures) {
    figures.measure("latency", &format!("latency ({} messages, one by one)", size.messages));
    let mut peers = live(&world.sandbox, ["a".to_owned(), "b".to_owned()]);
    let (mut b, mut a) = (peers.pop().unwrap(), peers.pop().unwrap());
    let text = "Which of the two endpoints is the one that the frontend should call? ".repeat(3);
    let (_, lengths) = exchange(&mut a, &mut b, &text);
    let mut floor = Floor::start(world.disk(), 1, 1, lengths);
    let (mut pushed, mut answered, mut floors) = (Vec::new(), Vec::new(), [Vec::new(), Vec::new()]);
    let ours = [a.pid(), world.broker(), b.pid()];
    let (mut times, mut floor_times) =
        (ProcessorTimes::now(&ours), ProcessorTimes::now(&floor.pids()));
    for number in 0..size.messages + UNCOUNTED {
        if number == UNCOUNTED {
            (times, floor_times) = (ProcessorTimes::now(&ours), ProcessorTimes::now(&floor.pids()));
            pushed.clear();
            answered.clear();
            floors.iter_mut().for_each(Vec::clear);
        }
        let ([called, push, answer], _) = exchange(&mut a, &mut b, &text);
        pushed.push(push - called);
        answered.push(answer - called);
        std::thread::sleep(APART);
        let [called, push, answer] = floor.pass(0, 0);
        floors[0].push(push - called);
        floors[1].push(answer - called);
        std::thread::sleep(APART);
    }
    figures.durations(
        "pushed",
        "send_message called -> pushed into the other session",
        &pushed,
        &floors[0],
    );
    figures.durations("answered", "send_message called -> answered", &answered, &floors[1]);
    processor_times(figures, &times, &floor_times, size.messages);
    let mut pings = Vec::new();
    for _ in 0..size.messages {
        let since = b.request("ping", json!({}));
        pings.push(b.next().0 - since);
    }
    figures.durations("ping", "for comparison: ping -> answered, without the broker", &pings, &[]);
    let syncs = syncs(world.disk(), size.messages);
    figures.durations("sync", "for comparison: 4 KiB written and synced on this disk", &syncs, &[]);
}

/// Sends one message. Returns when it was called, pushed and answered, and its lines' lengths.
pub fn exchange(a: &mut Peer, b: &mut Peer, text: &str) -> ([Instant; 3], Lengths) {
    let call = a.call_line("send_message", &json!({ "to_id": b.name, "message": text }));
    let called = a.write(&call);
    let (pushed, push) = b.take(1).pop().unwrap();
    let (answered, answer) = a.take(1).pop().unwrap();
    let lengths = Lengths { call: call.len(), answer: answer.len() + 1, push: push.len() + 1 };
    let (push, answer) = (parsed(&push), parsed(&answer));
    assert_eq!(push["method"], "notifications/claude/channel", "{push}");
    assert_eq!(&push["params"]["meta"]["message_id"], id_of(&answer), "{answer}");
    ([called, pushed, answered], lengths)
}

/// Adds the processor time of the sender's server, the broker and the recipient's server.
pub fn processor_times(
    figures: &mut Figures,
    ours: &ProcessorTimes,
    floor: &ProcessorTimes,
    messages: usize,
) {
    let what = [
        ("sender", "the sender's server"),
        ("broker", "the broker"),
        ("recipient", "the recipient's server"),
    ];
    for (((name, what), ours), floor) in
        what.iter().zip(ours.since(messages)).zip(floor.since(messages))
    {
        if let Some(ours) = ours {
            figures.compared(
                &format!("processor.{name}"),
                &format!("processor time a message: {what}"),
                "µs",
                ours,
                floor,
            );
        }
    }
}

fn syncs(directory: &Path, rounds: usize) -> Vec<Duration> {
    let mut file = std::fs::File::create(directory.join("sync")).unwrap();
    let page = [7; 4096];
    let round = |_| {
        let since = Instant::now();
        file.rewind().unwrap();
        file.write_all(&page).unwrap();
        file.sync_data().unwrap();
        since.elapsed()
    };
    (0..rounds).map(round).collect()
}
