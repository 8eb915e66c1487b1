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
use self::commands::{channel, command};

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
