//! The rate limits: a token bucket for each sender and recipient, for each recipient, and for the new
//! peers of each process.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use crate::protocol::PeerId;

/// Above this many of a kind the full buckets are removed: they are equal to new ones.
const MAX_BUCKETS: usize = 4_096;

/// How many times the rate of one sender all senders together may have to one recipient.
pub const SENDERS: u32 = 20;

/// How many times the burst of one sender may come to one recipient at once.
pub const SENDERS_AT_ONCE: u32 = 50;

/// How many new peers a process may register at once, and in a minute after that. A server registers
/// one, and another where its client process shows another session.
pub const NEW_PEERS: u32 = 64;
pub const NEW_PEERS_PER_MINUTE: u32 = 6;

/// The token buckets of all pairs of sender and recipient, and of all recipients.
pub struct RateLimits {
    per_minute: f64,
    burst: f64,
    pairs: Buckets<(PeerId, PeerId)>,
    recipients: Buckets<PeerId>,
    /// By the process that registers; `None` where the kernel does not report it.
    registrations: Buckets<Option<u32>>,
}

/// Which limit a message exceeds, and the number of seconds, 1 to 60, after which it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// That of its sender for this recipient.
    Pair(u64),
    /// That of all senders for this recipient.
    Recipient(u64),
}

struct Buckets<K>(HashMap<K, Bucket>);

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl<K: Eq + Hash> Buckets<K> {
    /// Takes a token out of a bucket, which holds `burst` and gains `per_minute`.
    fn spend(&mut self, key: K, per_minute: f64, burst: f64, now: Instant) -> Result<(), u64> {
        let per_second = per_minute / 60.0;
        let refilled = |bucket: &Bucket| {
            let elapsed = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.tokens + elapsed * per_second).min(burst)
        };
        if self.0.len() > MAX_BUCKETS {
            self.0.retain(|_, bucket| refilled(bucket) < burst);
        }
        let bucket = self.0.entry(key).or_insert(Bucket { tokens: burst, at: now });
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

    fn refund<Q: Eq + Hash + ?Sized>(&mut self, key: &Q, burst: f64)
    where
        K: Borrow<Q>,
    {
        if let Some(bucket) = self.0.get_mut(key) {
            bucket.tokens = (bucket.tokens + 1.0).min(burst);
        }
    }

    fn shrink(&mut self, burst: f64) {
        self.0.values_mut().for_each(|bucket| bucket.tokens = bucket.tokens.min(burst));
    }
}

impl RateLimits {
    /// Makes buckets that hold `burst` messages and gain `per_minute`; 0 a minute is no limit.
    pub fn new(per_minute: u32, burst: u32) -> Self {
        Self {
            per_minute: per_minute.into(),
            burst: burst.max(1).into(),
            pairs: Buckets(HashMap::new()),
            recipients: Buckets(HashMap::new()),
            registrations: Buckets(HashMap::new()),
        }
    }

    /// Applies another rate from now on. A bucket keeps its tokens, up to its new size.
    pub fn set(&mut self, per_minute: u32, burst: u32) {
        self.per_minute = per_minute.into();
        self.burst = burst.max(1).into();
        self.pairs.shrink(self.burst);
        self.recipients.shrink(self.burst * f64::from(SENDERS_AT_ONCE));
    }

    /// Takes the token for one message, at `now`.
    ///
    /// # Errors
    ///
    /// Which limit is exceeded, and for how long.
    pub fn spend(&mut self, from: &PeerId, to: &PeerId, now: Instant) -> Result<(), Exceeded> {
        if self.per_minute == 0.0 {
            return Ok(());
        }
        let (rate, burst) = (self.per_minute, self.burst);
        let pair = (from.clone(), to.clone());
        self.pairs.spend(pair, rate, burst, now).map_err(Exceeded::Pair)?;
        let (all, at_once) = (rate * f64::from(SENDERS), burst * f64::from(SENDERS_AT_ONCE));
        self.recipients.spend(to.clone(), all, at_once, now).map_err(|seconds| {
            self.pairs.refund(&(from.clone(), to.clone()), burst);
            Exceeded::Recipient(seconds)
        })
    }

    /// Returns the token of a message that was not stored after all.
    pub fn refund(&mut self, from: &PeerId, to: &PeerId) {
        self.pairs.refund(&(from.clone(), to.clone()), self.burst);
        self.recipients.refund(to, self.burst * f64::from(SENDERS_AT_ONCE));
    }

    /// Takes the token for a new peer that a process registers.
    ///
    /// # Errors
    ///
    /// The number of seconds, 1 to 60, after which there is one.
    pub fn spend_registration(&mut self, pid: Option<u32>, now: Instant) -> Result<(), u64> {
        // Without a rate for a sender there is none that many senders would get round.
        if self.per_minute == 0.0 {
            return Ok(());
        }
        let (rate, burst) = (NEW_PEERS_PER_MINUTE.into(), NEW_PEERS.into());
        self.registrations.spend(pid, rate, burst, now)
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
        assert_eq!(rates.spend(&a, &b, start), Err(Exceeded::Pair(1)));
        assert_eq!(rates.spend(&b, &a, start), Ok(()));
        assert_eq!(rates.spend(&a, &c, start), Ok(()));
        assert_eq!(rates.spend(&a, &b, start + Duration::from_secs(1)), Ok(()));
        assert_eq!(rates.spend(&a, &b, start + Duration::from_secs(1)), Err(Exceeded::Pair(1)));
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
        assert_eq!(rates.spend(&a, &b, start), Err(Exceeded::Pair(10)));
        rates.set(60, 5);
        assert_eq!(
            rates.spend(&a, &b, start),
            Err(Exceeded::Pair(1)),
            "a larger bucket is not a full one"
        );
    }

    #[test]
    fn many_senders_together_have_a_limit_and_the_refused_keep_their_own_allowance() {
        let to = random::peer_id();
        let start = Instant::now();
        let mut rates = RateLimits::new(60, 1);
        for _ in 0..SENDERS_AT_ONCE {
            assert_eq!(rates.spend(&random::peer_id(), &to, start), Ok(()));
        }
        let late = random::peer_id();
        assert_eq!(rates.spend(&late, &to, start), Err(Exceeded::Recipient(1)));
        assert_eq!(rates.spend(&late, &random::peer_id(), start), Ok(()), "another recipient");
        assert_eq!(rates.spend(&late, &to, start + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn a_process_registers_so_many_new_peers_and_then_one_after_the_other() {
        let start = Instant::now();
        let mut rates = RateLimits::new(60, 20);
        for _ in 0..NEW_PEERS {
            assert_eq!(rates.spend_registration(Some(7), start), Ok(()));
        }
        assert_eq!(rates.spend_registration(Some(7), start), Err(10));
        assert_eq!(rates.spend_registration(Some(8), start), Ok(()), "another process");
        assert_eq!(rates.spend_registration(Some(7), start + Duration::from_secs(10)), Ok(()));
        rates.set(0, 20);
        assert_eq!(rates.spend_registration(Some(7), start), Ok(()), "no rate, no limit");
    }

    #[test]
    fn zero_is_no_limit() {
        let (a, b) = (random::peer_id(), random::peer_id());
        let mut rates = RateLimits::new(0, 1);
        assert!((0..10_000).all(|_| rates.spend(&a, &b, Instant::now()).is_ok()));
    }
}
