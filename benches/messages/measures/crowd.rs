//! A thousand live sessions: what they cost two that talk, and the broker.
//!
//! All but two are stand-ins, for a thousand servers would need gigabytes of memory. The broker does
//! the same for both: a registration, and an event stream that is open.

use std::time::Duration;

use crate::Size;
use crate::figures::Figures;
use crate::measures::latency::exchange;
use crate::peer::{Peer, live};
use crate::processes::usage;
use crate::wire::{StandIn, Wire};
use crate::world::World;

const TEXT: &str = "Which of the two endpoints should the frontend call?";

/// The pause between two messages.
const APART: Duration = Duration::from_millis(2);

pub fn crowd(world: &World, size: &Size, figures: &mut Figures) {
    let Size { crowd, messages, idle_seconds, .. } = size;
    let heading = format!("{crowd} live sessions, all but two of them stand-ins");
    figures.measure_beside("crowd", &heading, "two");
    let mut peers = live(&world.sandbox, ["a".to_owned(), "b".to_owned()]);
    let (mut b, mut a) = (peers.pop().unwrap(), peers.pop().unwrap());
    let broker = [world.broker()];
    // Half of those that the crowd stands beside are sent before it comes, and half after it left.
    let mut two = talk(&mut a, &mut b, messages / 2);
    let memory_of_two = usage(&broker);
    let mut calls = Wire::open(&world.sandbox);
    let stand_in = |number| StandIn::live(&world.sandbox, &mut calls, &format!("peer-{number}"));
    let others: Vec<StandIn> = (2..*crowd).map(stand_in).collect();
    let many = talk(&mut a, &mut b, *messages);
    std::thread::sleep(Duration::from_secs(*idle_seconds));
    let before = usage(&broker);
    std::thread::sleep(Duration::from_secs(*idle_seconds));
    let after = usage(&broker);
    drop(others);
    std::thread::sleep(Duration::from_secs(1));
    let after_the_crowd = talk(&mut a, &mut b, messages / 2);
    two.iter_mut().zip(after_the_crowd).for_each(|(two, more)| two.extend(more));
    figures.durations("pushed", "send_message called -> pushed", &many[0], &two[0]);
    figures.durations("answered", "send_message called -> answered", &many[1], &two[1]);
    let (Some(two), Some(before), Some(after)) = (memory_of_two, before, after) else { return };
    figures.compared(
        "broker.resident",
        "the broker: memory (RSS)",
        "MB",
        after.resident,
        Some(two.resident),
    );
    figures.compared(
        "broker.own",
        "the broker: memory of its own (RssAnon)",
        "MB",
        after.anonymous,
        Some(two.anonymous),
    );
    let what = format!("the broker: context switches in {idle_seconds} idle seconds");
    figures.value("broker.switches", &what, "", after.switches_since(&before));
}

/// Sends messages. Returns how long each took to be pushed and answered.
fn talk(a: &mut Peer, b: &mut Peer, messages: usize) -> [Vec<Duration>; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..messages + 10 {
        let ([called, pushed, answered], _) = exchange(a, b, TEXT);
        if number >= 10 {
            times[0].push(pushed - called);
            times[1].push(answered - called);
        }
        std::thread::sleep(APART);
    }
    times
}
