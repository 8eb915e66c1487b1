//! A model of the mailbox, and random sequences that must go the same way in it and in the broker.
//!
//! `mailbox.rs`, `pushes.rs` and `receivers.rs` are the model: what `docs/delivery.md` says, as a pure state
//! machine. `commands.rs` is what a sequence is made of, and `bench/` runs it on both. After each
//! step every answer, every push, and the stored state of every message agree.
//!
//! `PROPTEST_CASES=20000 cargo test --lib model::` looks longer.

mod bench;
mod commands;
mod mailbox;
mod pushes;
mod receivers;

use proptest::prelude::*;

use self::bench::Bench;
use self::commands::{Command, channel, command};
use self::receivers::Channel;
use super::Outcome;

/// How many sequences are run; `PROPTEST_CASES` asks for another number.
fn cases() -> u32 {
    match ProptestConfig::default().cases {
        // The default of the library takes too long for each run of the unit tests.
        256 => 64,
        asked => asked,
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        // A sequence is short enough to be copied from the output.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// The broker does what the model does.
    #[test]
    fn the_broker_agrees_with_the_model(
        channels in [channel(), channel()],
        commands in prop::collection::vec(command(), 1..50),
    ) {
        let mut bench = Bench::new(channels);
        for command in commands {
            bench.run(&command);
        }
    }
}

/// A sequence that chance finds too seldom: the reply is read before a call waits for it.
#[test]
fn a_reply_that_was_read_before_stays_read() {
    let outcome = Outcome::Committed;
    let send = |from, to, reply_to| {
        let (by_name, waits) = (false, false);
        Command::Send { from, to, by_name, reply_to, waits, outcome }
    };
    let mut bench = Bench::new([Channel::Absent, Channel::Absent]);
    for command in [
        // The command line asks Ann, whose server replies.
        send(0, 0, None),
        send(1, 2, Some(0)),
        Command::Take { by: 0, outcome },
        Command::Confirm { by: 0 },
        Command::WaitForReply { by: 0, mail: 0 },
        Command::Look { waiter: 0 },
    ] {
        bench.run(&command);
    }
    assert_eq!(bench.answered, 1, "the call got its reply");
}
