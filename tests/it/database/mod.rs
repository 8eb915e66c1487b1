//! Promise 1: databases that cannot be used, cannot be used yet, or cannot be used any longer.

mod damage;
mod disks;
mod forks;
pub mod legacy;
mod limits;
mod migration;
mod moved;
mod schema;
mod slow;

use std::path::Path;

use crate::support::Sandbox;
use crate::support::http::RawPeer;

/// Checks that no broker can start and that `peers` says so. Returns its message.
#[track_caller]
fn why_not(sandbox: &Sandbox) -> String {
    let (code, error) = sandbox.fails(["peers"]);
    assert_eq!(code, 1, "{error}");
    assert!(error.starts_with("error: the broker did not start: "), "{error}");
    assert!(error.contains("\nhint: "), "{error}");
    assert!(sandbox.broker().is_none(), "no broker is left behind");
    error
}

/// The suffixes of the files beside the database, without the lock.
fn suffixes(database: &Path) -> Vec<String> {
    let name = database.file_name().unwrap().to_string_lossy().into_owned();
    let mut found: Vec<String> = std::fs::read_dir(database.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|file| file.strip_prefix(&name).map(str::to_owned))
        .filter(|suffix| !suffix.is_empty() && suffix != "-lock")
        .collect();
    found.sort();
    found
}

/// Leaves a stopped broker's database with `count` messages in it.
fn with_history(sandbox: &Sandbox, count: usize, text: &str) {
    sandbox.ok(["peers"]);
    let (a, b) = (RawPeer::register(sandbox, "a"), RawPeer::register(sandbox, "b"));
    for _ in 0..count {
        a.send(sandbox, &b.id, text);
    }
    sandbox.ok(["kill-broker"]);
}
