//! The cost of sessions that do nothing.

use std::time::Duration;

use crate::Size;
use crate::figures::Figures;
use crate::peer::{Peer, live};
use crate::processes::usage;
use crate::sandbox::PROGRAM;
use crate::world::World;

pub fn idle(world: &World, size: &Size, figures: &mut Figures) {
    let Size { idle_sessions, idle_seconds, .. } = size;
    figures.measure("idle", &format!("idle ({idle_sessions} sessions, {idle_seconds} s)"));
    let peers = live(&world.sandbox, (0..*idle_sessions).map(|number| format!("idle-{number}")));
    // By then the threads that only the start needed have ended, and their counts are gone.
    std::thread::sleep(Duration::from_secs(idle_seconds + 1));
    let servers: Vec<u32> = peers.iter().map(Peer::pid).collect();
    for (name, what, pids) in [
        ("broker", "the broker", vec![world.broker()]),
        ("server", "the largest of the servers", servers),
    ] {
        let before = usage(&pids);
        std::thread::sleep(Duration::from_secs(*idle_seconds));
        let (Some(before), Some(after)) = (before, usage(&pids)) else {
            println!("idle: this system does not tell");
            return;
        };
        figures.value(
            &format!("{name}.resident"),
            &format!("{what}: memory (RSS)"),
            "MB",
            after.resident,
        );
        figures.value(
            &format!("{name}.own"),
            &format!("{what}: memory of its own (RssAnon)"),
            "MB",
            after.anonymous,
        );
        figures.value(&format!("{name}.threads"), &format!("{what}: threads"), "", after.threads);
        let whose = if pids.len() == 1 { what } else { "all servers" };
        let switches = after.switches_since(&before);
        figures.value(
            &format!("{name}.switches"),
            &format!("{whose}: context switches"),
            "",
            switches,
        );
    }
    let binary = std::fs::metadata(PROGRAM).unwrap().len() as f64 / 1e6;
    figures.value("program", "the program's file", "MB", binary);
}
