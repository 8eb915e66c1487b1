//! Promises 1 and 2: a wall clock that is set, even to before 1970 or after 9999, loses and doubles nothing.

use std::sync::atomic::Ordering::SeqCst;

use serde_json::json;

use crate::support::faults;

const HOUR_MILLIS: i64 = 60 * 60 * 1_000;
const YEAR_MILLIS: i64 = 365 * 24 * HOUR_MILLIS;

#[test]
fn a_clock_that_is_set_while_sessions_talk_changes_nothing_for_them() {
    let Some((sandbox, faults)) = faults::sandbox() else { return };
    let mut broker = sandbox.start_broker();
    let (mut ann, mut bob) = (sandbox.session("ann"), sandbox.session("bob"));
    bob.until_live();
    for (round, offset) in
        [0, -8 * HOUR_MILLIS, 25 * HOUR_MILLIS, -50 * YEAR_MILLIS, 900 * YEAR_MILLIS]
            .into_iter()
            .enumerate()
    {
        faults.clock_offset.store(offset, SeqCst);
        for number in 0..3 {
            let text = format!("round {round}, message {number}");
            let id = ann.send("bob", &text);
            let push = bob.push();
            assert!(push["content"].as_str().unwrap().contains(&text), "{push}");
            let message = sandbox.message(&id);
            assert_eq!(message["state"], "offered", "offset {offset}");
            let is_of_this_century = message["sent_at"].as_str().unwrap().starts_with("20");
            assert_eq!(is_of_this_century, offset.abs() < YEAR_MILLIS, "{message}");
        }
        let taken = bob.call("check_messages", json!({}));
        assert!(taken.to_string().contains("message 2"), "{taken}");
    }
    drop((ann, bob));
    faults.clock_offset.store(-YEAR_MILLIS, SeqCst);
    broker.kill().unwrap();
    broker.wait().unwrap();
    broker = sandbox.start_broker();
    let log = sandbox.json(["log"]).to_string();
    for round in 0..5 {
        assert!(log.contains(&format!("round {round}, message 0")), "{log}");
    }
    assert!(!log.contains("\"expired\"") && !log.contains("\"unconfirmed\""), "{log}");
    broker.kill().unwrap();
    broker.wait().unwrap();
}

#[test]
fn a_clock_that_http_has_no_date_for_is_named_and_what_waits_is_kept() {
    let Some((sandbox, faults)) = faults::sandbox() else { return };
    let mut broker = sandbox.start_broker();
    let mut ann = sandbox.session("ann");
    let id = ann.send("cli", "hello");
    for offset in [-60 * YEAR_MILLIS, 8_000 * YEAR_MILLIS] {
        faults.clock_offset.store(offset, SeqCst);
        let (code, said) = sandbox.fails(["inbox"]);
        assert_eq!(code, 1, "{said}");
        assert!(
            said.contains("before 1970 or after 9999") && said.contains("Set the clock"),
            "{said}"
        );
    }
    faults.clock_offset.store(0, SeqCst);
    assert!(sandbox.ok(["inbox"]).contains("hello"));
    sandbox.assert_state(&id, "read", "cli");
    broker.kill().unwrap();
    broker.wait().unwrap();
}
