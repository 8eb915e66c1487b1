//! The fuzzer: libFuzzer, with the target that the variable `FUZZ_TARGET` names.
//!
//! The targets, and what each of them demands, are in `src/fuzzing` of the program.

#![no_main]

use std::sync::LazyLock;

use claude_peers::fuzzing::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let Some((_, target)) = TARGETS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = TARGETS.iter().map(|(known, _)| *known).collect();
        eprintln!("FUZZ_TARGET is {name:?}, but must be one of {}", known.join(", "));
        std::process::exit(2);
    };
    *target
});

libfuzzer_sys::fuzz_target!(init: { LazyLock::force(&TARGET); }, |data: &[u8]| TARGET(data));
