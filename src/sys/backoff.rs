//! Exponential backoff: pauses between attempts that double up to a bound.

use std::time::Duration;

/// The pauses of one loop of attempts.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    next: Duration,
}

impl Backoff {
    /// Begins with the pause `first` and doubles it up to `last`.
    #[must_use]
    pub const fn new(first: Duration, last: Duration) -> Self {
        Self { first, last, next: first }
    }

    /// Returns how long to pause now. The next pause is twice as long.
    pub fn pause(&mut self) -> Duration {
        self.pause_up_to(self.last)
    }

    /// Returns how long to pause now, and bounds the next pause by `last` instead of the usual bound.
    pub fn pause_up_to(&mut self, last: Duration) -> Duration {
        let next = self.next.saturating_mul(2).min(last);
        std::mem::replace(&mut self.next, next)
    }

    /// Begins with the first pause again, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_bound_and_begin_again_after_a_success() {
        let millis = Duration::from_millis;
        let mut backoff = Backoff::new(millis(20), millis(100));
        let pauses: Vec<Duration> = (0..5).map(|_| backoff.pause()).collect();
        assert_eq!(pauses, [20, 40, 80, 100, 100].map(millis));
        assert_eq!([backoff.pause_up_to(millis(50)), backoff.pause()], [100, 50].map(millis));
        backoff.reset();
        assert_eq!(backoff.pause(), millis(20));
    }
}
