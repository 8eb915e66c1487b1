//! Claude Code's hooks: whether ours are set up and active, and whether any has ever run.

use std::path::Path;

use serde_json::Value;

use crate::doctor::claude::setup_command;
use crate::doctor::finding::Finding;
use crate::doctor::snapshot::{BrokerState, Snapshot};
use crate::setup::clients::effective_hooks;
use crate::setup::clients::effective_hooks::{Hooks, Obstacle, Places};
use crate::setup::clients::hooks;
use crate::setup::edit::file::MAX_BYTES;
use crate::sys::clock;
use crate::sys::files::read_text;

const CHECK: &str = "hooks";

pub fn check(snapshot: &Snapshot) -> Vec<Finding> {
    let directory = &snapshot.config.claude.directory;
    if !directory.is_dir() {
        return Vec::new();
    }
    let Ok(project) = std::env::current_dir() else { return Vec::new() };
    vec![match effective_hooks::hooks(&Places::of(directory, &project)) {
        Hooks::Absent => Finding::ok(CHECK, "our hooks are not set up in Claude Code").detail(
            "sessions see messages only when they call a claude-peers tool; `claude-peers setup claude` adds the hooks",
        ),
        Hooks::Off { place, obstacle } => off(&place, &obstacle),
        Hooks::InForce { place } => in_force(snapshot, &place),
    }]
}

fn off(place: &Path, obstacle: &Obstacle) -> Finding {
    let Obstacle { key, file, managed } = obstacle;
    let managed = if *managed { " (managed by an administrator)" } else { "" };
    let (place, file) = (place.display(), file.display());
    Finding::warning(CHECK, format!("our hooks ({place}) do not run: {key} is set in {file}{managed}"))
        .detail(format!("sessions see messages only when they call a claude-peers tool, and are not woken; remove {key} from {file} to change this"))
}

fn in_force(snapshot: &Snapshot, place: &Path) -> Finding {
    let text = read_text(place, MAX_BYTES).unwrap_or_default();
    let settings: Value = serde_json::from_str(&text).unwrap_or_default();
    let missing = hooks::missing(&settings);
    // The hooks of a plugin are not in the settings.
    if !missing.is_empty() && missing.len() < hooks::COUNT {
        let what =
            format!("some of our hooks are missing in {}: {}", place.display(), missing.join(", "));
        return Finding::warning(CHECK, what)
            .detail("they were set up by an earlier version, or were removed")
            .fix(setup_command(&snapshot.config.environment));
    }
    let place = place.display();
    let BrokerState::Answers { detail, .. } = &snapshot.running else {
        return Finding::ok(CHECK, format!("our hooks are active ({place})"));
    };
    match detail.hooks_spoke_at {
        Some(at) => {
            let age = at.age(clock::now());
            Finding::ok(
                CHECK,
                format!("our hooks are active ({place}); the last one ran about {age} ago"),
            )
        }
        None if detail.peers == 0 => {
            Finding::ok(CHECK, format!("our hooks are active ({place}); none has run yet"))
        }
        None => {
            let what = format!("our hooks are configured in {place}, but none has ever run");
            Finding::warning(CHECK, what).detail(
                "sessions started before setup have no hooks until you restart them; `/hooks` in a \
                 session lists its hooks",
            )
        }
    }
}
