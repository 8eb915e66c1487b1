//! Promise 1: a disk that fails or tears a write, at any step, loses nothing that was accepted.

use std::collections::BTreeSet;
use std::process::Child;
use std::sync::atomic::AtomicU32;

use crate::support::faults::{self, Control, Mapped};
use crate::support::{Sandbox, until};

/// Sends numbered messages to a session that is away until one is refused, at most so many.
/// Returns the ids of the accepted ones, and whether one was refused.
fn send_until_refused(sandbox: &Sandbox, round: u32, most: u32) -> (Vec<String>, bool) {
    let mut accepted = Vec::new();
    for number in 0..most {
        let text = format!("round {round}, {number}");
        let sent = sandbox.run(["send", "--json", "bob", &text]);
        if !sent.status.success() {
            return (accepted, true);
        }
        let answer: serde_json::Value = serde_json::from_slice(&sent.stdout).unwrap();
        accepted.push(answer["id"].as_str().unwrap().to_owned());
    }
    (accepted, false)
}

fn stored(sandbox: &Sandbox) -> BTreeSet<String> {
    let log = sandbox.json(["log", "--limit", "1000"]);
    let ids =
        log["messages"].as_array().unwrap().iter().map(|message| message["id"].as_str().unwrap());
    ids.map(str::to_owned).collect()
}

/// A sandbox with faults, in which a session was that is away now.
fn sandbox() -> Option<(Sandbox, Mapped)> {
    let (sandbox, faults) = faults::sandbox()?;
    let sandbox = sandbox.with("CLAUDE_PEERS_MESSAGES_PER_MINUTE", "0");
    let mut bob = sandbox.session("bob");
    bob.until_live();
    bob.kill9();
    sandbox.kill9_broker();
    until("it is gone", || sandbox.broker().is_none());
    Some((sandbox, faults))
}

fn end(mut broker: Child) {
    broker.kill().unwrap();
    broker.wait().unwrap();
}

#[test]
fn a_write_or_sync_that_fails_is_a_refusal_and_loses_nothing_that_was_accepted() {
    let Some((sandbox, faults)) = sandbox() else { return };
    let broker = sandbox.start_broker();
    let mut accepted = BTreeSet::new();
    let mut refused = 0;
    for round in 0..12 {
        let fault: fn(&Control) -> &AtomicU32 = match round % 4 {
            0 => |control| &control.full,
            2 => |control| &control.write_error,
            _ => |control| &control.sync_error,
        };
        faults.fail_after(fault, round);
        let (ids, was_refused) = send_until_refused(&sandbox, round, 4);
        accepted.extend(ids);
        refused += u32::from(was_refused);
        faults.calm();
        until("the broker works again", || {
            sandbox.run(["send", "bob", "between"]).status.success()
        });
    }
    assert!(refused > 6, "only {refused} of 12 faults were met");
    let missing: Vec<_> = accepted.difference(&stored(&sandbox)).cloned().collect();
    assert_eq!(missing, Vec::<String>::new());
    end(broker);
    let broker = sandbox.start_broker();
    assert!(accepted.is_subset(&stored(&sandbox)), "lost by the restart");
    end(broker);
}

#[test]
fn a_write_that_is_torn_in_its_middle_loses_nothing_that_was_accepted() {
    let Some((sandbox, faults)) = sandbox() else { return };
    let mut accepted = BTreeSet::new();
    for round in 0..10 {
        let mut broker = sandbox.start_broker();
        faults.fail_after(|control| &control.torn, round);
        // The command starts another broker where this one died, and repeats its request there.
        let (ids, _) = send_until_refused(&sandbox, round, 12);
        accepted.extend(ids);
        until("the broker was killed", || broker.try_wait().unwrap().is_some());
        faults.calm();
        let missing: Vec<_> = accepted.difference(&stored(&sandbox)).cloned().collect();
        assert_eq!(missing, Vec::<String>::new(), "round {round}");
        sandbox.kill9_broker();
        until("it is gone", || sandbox.broker().is_none());
    }
}
