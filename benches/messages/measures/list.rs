//! `list_peers` where there are many.

use serde_json::json;

use crate::Size;
use crate::figures::Figures;
use crate::floor::Floor;
use crate::peer::live;
use crate::processes::ProcessorTimes;
use crate::wire::{StandIn, Wire};
use crate::world::World;

/// How often the list is asked for.
const ROUNDS: usize = 30;

pub fn list(world: &World, size: &Size, figures: &mut Figures) {
    let count = size.listed;
    figures.measure("list", &format!("list_peers ({count} live peers, {ROUNDS} times)"));
    let mut a = live(&world.sandbox, ["a".to_owned()]).pop().unwrap();
    let mut calls = Wire::open(&world.sandbox);
    let name = |number| format!("peer-{number}");
    let stand_in = |number| StandIn::live(&world.sandbox, &mut calls, &name(number));
    let _others: Vec<StandIn> = (1..count).map(stand_in).collect();
    let call = a.call_line("list_peers", &json!({}));
    a.write(&call);
    let (_, line) = a.take(1).pop().unwrap();
    let mut floor = Floor::asking(world.disk(), call.len(), line.len() + 1);
    let (mut took, mut floors) = (Vec::new(), Vec::new());
    let before = ProcessorTimes::now(&[world.broker(), a.pid()]);
    for _ in 0..ROUNDS {
        let called = a.call("list_peers", json!({}));
        took.push(a.take(1).pop().unwrap().0 - called);
        floors.push(floor.ask());
    }
    let times = before.since(ROUNDS);
    figures.durations("answered", "list_peers -> answered", &took, &floors);
    for (who, what, time) in
        [("broker", "the broker", times[0]), ("server", "the session's server", times[1])]
    {
        if let Some(time) = time {
            let what = format!("processor time of {what}");
            figures.value(&format!("processor.{who}"), &what, "ms", time / 1e3);
        }
    }
    let characters = String::from_utf8_lossy(&line).chars().count();
    figures.value("characters", "the whole answer", "chars", characters as f64);
}
