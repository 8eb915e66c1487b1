//! How long Claude Code waits for a server, and a person for a command.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::Size;
use crate::figures::Figures;
use crate::floor;
use crate::floor::{Floor, Lengths};
use crate::peer::{Peer, live};
use crate::world::World;

/// About what a command writes to the broker, and gets from it.
const COMMAND: Lengths = Lengths { call: 600, answer: 600, push: 600 };

/// The lengths of `initialize` and its answer.
const INITIALIZE: Lengths = Lengths { call: 250, answer: 2_500, push: 0 };

/// The start of a server, and of commands.
pub fn start(world: &World, size: &Size, figures: &mut Figures) {
    figures.measure("start", &format!("start ({} times)", size.starts));
    let (mut initialized, mut listed, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..size.starts {
        let since = Instant::now();
        let mut peer = Peer::spawn(&world.sandbox, &format!("start-{number}"));
        initialized.push(peer.initialize() - since);
        let since = peer.request("tools/list", json!({}));
        listed.push(peer.next().0 - since);
        floors.push(floor::echo(INITIALIZE));
    }
    figures.durations("initialize", "server spawned -> initialize answered", &initialized, &floors);
    figures.durations("tools", "tools/list -> answered", &listed, &[]);
    let _peers = live(&world.sandbox, ["a".to_owned()]);
    let floor = Floor::start(world.disk(), 1, 1, COMMAND);
    for (name, what, command) in [
        ("peers", "`claude-peers peers`, start to end", &["peers"][..]),
        ("send", "`claude-peers send`, start to end", &["send", "a", "Is the build green?"]),
    ] {
        let (mut took, mut floors) = (Vec::new(), Vec::new());
        for _ in 0..size.starts {
            took.push(timed(world, command));
            floors.push(floor.run(name == "peers"));
        }
        figures.durations(name, what, &took, &floors);
    }
}

/// Runs a command to its end.
pub fn timed(world: &World, command: &[&str]) -> Duration {
    let since = Instant::now();
    world.sandbox.ok(command);
    since.elapsed()
}

/// The first call where no broker runs, which starts one.
pub fn cold_start(world: &World, size: &Size, figures: &mut Figures) {
    figures.measure("cold", &format!("cold start ({} times)", size.cold_starts));
    let round = |_| {
        let took = timed(world, &["peers"]);
        world.stop_broker();
        (took, floor::cold(world.disk(), COMMAND))
    };
    // The very first call creates the database.
    round(0);
    let (took, floors): (Vec<_>, Vec<_>) = (0..size.cold_starts).map(round).unzip();
    figures.durations("peers", "`claude-peers peers` with no broker, start to end", &took, &floors);
}
