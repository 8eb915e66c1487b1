//! Claude Code's hooks: whether ours are set up and run, and whether any has ever spoken.

use std::path::Path;

use serde_json::Value;

use crate::doctor::claude::setup_command;
use crate::doctor::finding::Finding;
use crate::doctor::snapshot::{BrokerState, Snapshot};
use crate::setup::clients::effective_hooks;
use crate::setup::clients::effective_hooks::{Hooks, Obstacle, Places};
use crate::setup::clients::hooks;
use crate::sys::clock;

const CHECK: &str = "hooks";

pub fn check(snapshot: &Snapshot) -> Vec<Finding> {
    let directory = &snapshot.config.claude.directory;
    if !directory.is_dir() {
        return Vec::new();
    }
    let Ok(project) = std::env::current_dir() else { return Vec::new() };
    vec![match effective_hooks::hooks(&Places::of(directory, &project)) {
        Hooks::Absent => Finding::ok(CHECK, "none of ours are set up for Claude Code").detail(
            "a session sees mail when it calls a tool; `claude-peers setup claude` adds them",
        ),
        Hooks::Off { place, obstacle } => off(&place, &obstacle),
        Hooks::InForce { place } => in_force(snapshot, &place),
    }]
}

fn off(place: &Path, obstacle: &Obstacle) -> Finding {
    let Obstacle { key, file, managed } = obstacle;
    let whose = if *managed { ", which is an administrator's" } else { "" };
    let (place, file) = (place.display(), file.display());
    Finding::warning(CHECK, format!("ours ({place}) are not run: {key} is set in {file}{whose}"))
        .detail("sessions here see mail only when they call a tool, and no hook wakes them")
}

fn in_force(snapshot: &Snapshot, place: &Path) -> Finding {
    let text = std::fs::read_to_string(place).unwrap_or_default();
    let settings: Value = serde_json::from_str(&text).unwrap_or_default();
    let missing = hooks::missing(&settings);
    // What a plugin brings is not in the settings.
    if !missing.is_empty() && missing.len() < hooks::COUNT {
        let what = format!("{} lacks some of ours: {}", place.display(), missing.join(", "));
        return Finding::warning(CHECK, what)
            .detail("an earlier version set them up, or somebody took them out")
            .fix(setup_command(&snapshot.config.environment));
    }
    let place = place.display();
    let BrokerState::Answers { detail, .. } = &snapshot.running else {
        return Finding::ok(CHECK, format!("ours are in force ({place})"));
    };
    match detail.hooks_spoke_at {
        Some(at) => {
            let age = at.age(clock::now());
            Finding::ok(CHECK, format!("ours are in force ({place}); one spoke about {age} ago"))
        }
        None if detail.peers == 0 => {
            Finding::ok(CHECK, format!("ours are in force ({place}); none has spoken yet"))
        }
        None => {
            let what = format!("ours stand in {place}, and none has ever spoken");
            Finding::warning(CHECK, what).detail(
                "sessions that were begun before have none until they are begun again; \
                 `/hooks` in a session shows what it runs",
            )
        }
    }
}
