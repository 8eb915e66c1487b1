//! Random choices that a seed repeats.

use std::time::Duration;

/// A source of random numbers.
pub struct Chance(u64);

impl Chance {
    /// The source with this number, of a run with this seed.
    pub fn new(seed: u64, number: u64) -> Self {
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
        (self.next() >> 16) % limit
    }

    /// A time from `low` to `high`.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let width = (high - low).as_micros() as u64 + 1;
        low + Duration::from_micros(self.below(width))
    }
}
