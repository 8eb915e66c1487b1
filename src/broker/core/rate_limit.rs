//! The rate limit: a token bucket for each sender and recipient, so that two polite models cannot
//! thank each other all night.

use std::collections::HashMap;
use std::time::Instant;

use crate::protocol::PeerId;

/// Above this many pairs the full buckets are removed: they are equal to new ones.
const MAX_PAIRS: usize = 4_096;

/// The token buckets of all pairs of sender and recipient.
pub struct RateLimits {
    per_minute: f64,
    burst: f64,
    pairs: HashMap<(PeerId, PeerId), Bucket>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl RateLimits {
    /// Makes buckets that hold `burst` messages and gain `per_minute`; 0 a minute is no limit.
    pub fn new(per_minute: u32, burst: u32) -> Self {
        Self { per_minute: per_minute.into(), burst: burst.max(1).into(), pairs: HashMap::new() }
    }

    /// Applies another rate from now on. A bucket keeps its tokens, up to its new size.
    pub fn set(&mut self, per_minute: u32, burst: u32) {
        self.per_minute = per_minute.into();
        self.burst = burst.max(1).into();
        for bucket in self.pairs.values_mut() {
            bucket.tokens = bucket.tokens.min(self.burst);
        }
    }

    /// Takes the token for one message, at `now`.
    ///
    /// # Errors
    ///
    /// The number of seconds, 1 to 60, after which there is a token.
    pub fn spend(&mut self, from: &PeerId, to: &PeerId, now: Instant) -> Result<(), u64> {
        if self.per_minute == 0.0 {
            return Ok(());
        }
        let (per_second, burst) = (self.per_minute / 60.0, self.burst);
        let refilled = |bucket: &Bucket| {
            let elapsed = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.tokens + elapsed * per_second).min(burst)
        };
        if self.pairs.len() > MAX_PAIRS {
            self.pairs.retain(|_, bucket| refilled(bucket) < burst);
        }
        let bucket = self
            .pairs
            .entry((from.clone(), to.clone()))
            .or_insert(Bucket { tokens: burst, at: now });
        bucket.tokens = refilled(bucket);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        let seconds = ((1.0 - bucket.tokens) / per_second).ceil();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Err(seconds.clamp(1.0, 60.0) as u64)
    }

    /// Returns the token of a message that was not stored after all.
    pub fn refund(&mut self, from: &PeerId, to: &PeerId) {
        if let Some(bucket) = self.pairs.get_mut(&(from.clone(), to.clone())) {
            bucket.tokens = (bucket.tokens + 1.0).min(self.burst);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sys::random;

    #[test]
    fn a_burst_then_the_rate_and_each_pair_for_itself() {
        let (a, b, c) = (random::peer_id(), random::peer_id(), random::peer_id());
        let start = Instant::now();
        let mut rates = RateLimits::new(60, 3);
        for _ in 0..3 {
            assert_eq!(rates.spend(&a, &b, start), Ok(()));
        }
        assert_eq!(rates.spend(&a, &b, start), Err(1));
        assert_eq!(rates.spend(&b, &a, start), Ok(()));
        assert_eq!(rates.spend(&a, &c, start), Ok(()));
        assert_eq!(rates.spend(&a, &b, start + Duration::from_secs(1)), Ok(()));
        assert_eq!(rates.spend(&a, &b, start + Duration::from_secs(1)), Err(1));
    }

    #[test]
    fn another_rate_holds_from_now_on_and_gives_nothing_back() {
        let (a, b) = (random::peer_id(), random::peer_id());
        let start = Instant::now();
        let mut rates = RateLimits::new(60, 5);
        for _ in 0..3 {
            assert_eq!(rates.spend(&a, &b, start), Ok(()));
        }
        rates.set(6, 1);
        assert_eq!(rates.spend(&a, &b, start), Ok(()));
        assert_eq!(rates.spend(&a, &b, start), Err(10));
        rates.set(60, 5);
        assert_eq!(rates.spend(&a, &b, start), Err(1), "a larger bucket is not a full one");
    }

    #[test]
    fn zero_is_no_limit() {
        let (a, b) = (random::peer_id(), random::peer_id());
        let mut rates = RateLimits::new(0, 1);
        assert!((0..10_000).all(|_| rates.spend(&a, &b, Instant::now()).is_ok()));
    }
}
