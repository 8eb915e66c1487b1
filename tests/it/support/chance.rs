//! Random instants, and how often to try them.
//!
//! The defaults keep a whole run short. `CLAUDE_PEERS_TEST_ROUNDS` multiplies the rounds,
//! `CLAUDE_PEERS_TEST_MESSAGES` sets the size of a burst, and `CLAUDE_PEERS_TEST_SEED` repeats the
//! instants of a run that failed, as far as the scheduler lets them repeat.

use std::time::Duration;

use super::ROUNDS;

/// A number from an environment variable that changes a run; `None` where it is not set.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().unwrap())
}

/// The number of rounds, where `default` is enough for an ordinary run.
pub fn rounds(default: usize) -> usize {
    default * number(ROUNDS).map_or(1, |times| times as usize)
}

/// The number of messages in a burst.
pub fn messages(default: usize) -> usize {
    number("CLAUDE_PEERS_TEST_MESSAGES").map_or(default, |count| count as usize)
}

/// A source of random numbers that prints its seed.
pub struct Chance(u64);

impl Chance {
    pub fn new() -> Self {
        let seed = number("CLAUDE_PEERS_TEST_SEED").unwrap_or_else(|| {
            let mut bytes = [0; 8];
            getrandom::fill(&mut bytes).unwrap();
            u64::from_ne_bytes(bytes)
        });
        println!("CLAUDE_PEERS_TEST_SEED={seed}");
        Self::of(seed, 0)
    }

    /// The source with this number, of a run with this seed. Prints nothing.
    pub fn of(seed: u64, number: u64) -> Self {
        // A state of zero would remain zero.
        let mut chance = Self(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        // Neighbouring numbers must not begin alike.
        for _ in 0..8 {
            chance.next();
        }
        chance
    }

    /// xorshift64*
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A time from `low` to `high`.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let width = (high - low).as_micros() as u64 + 1;
        low + Duration::from_micros(self.below(width))
    }
}
