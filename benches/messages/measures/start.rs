//! How long Claude Code waits for a server, and a person for a command.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::Size;
use crate::figures::Figures;
use crate::peer::Peer;
use crate::sandbox::until;
use crate::world::World;

/// The start of a server, and of commands.
pub fn start(world: &World, size: &Size, figures: &mut Figures) {
    figures.measure("start", &format!("start ({} times)", size.starts));
    let (mut initialized, mut listed) = (Vec::new(), Vec::new());
    for number in 0..size.starts {
        let since = Instant::now();
        let mut peer = Peer::spawn(&world.sandbox, &format!("start-{number}"));
        initialized.push(peer.initialize() - since);
        let since = peer.request("tools/list", json!({}));
        listed.push(peer.next().0 - since);
    }
    figures.durations("initialize", "server spawned -> initialize answered", &initialized, &[]);
    figures.durations("tools", "tools/list -> answered", &listed, &[]);
    peers(world);
    let calls: Vec<Duration> = (0..size.starts).map(|_| peers(world)).collect();
    figures.durations("peers", "`claude-peers peers`, start to end", &calls, &[]);
}

fn peers(world: &World) -> Duration {
    let since = Instant::now();
    world.sandbox.ok(["peers"]);
    since.elapsed()
}

/// The first call where no broker runs, which starts one.
pub fn cold_start(world: &World, size: &Size, figures: &mut Figures) {
    figures.measure("cold", &format!("cold start ({} times)", size.cold_starts));
    let round = |_| {
        let took = peers(world);
        world.sandbox.ok(["kill-broker"]);
        until("the broker is gone", || world.sandbox.broker().is_none());
        took
    };
    // The very first call creates the database.
    round(0);
    let took: Vec<Duration> = (0..size.cold_starts).map(round).collect();
    figures.durations("peers", "`claude-peers peers` with no broker, start to end", &took, &[]);
}
