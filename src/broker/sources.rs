//! The clock and the identifiers of the broker. Both are passed in, so that a test controls them.
//!
//! The defaults are those of the system. In production they are empty types and cost nothing more
//! than to ask the system.

use std::time::{Duration, Instant};

use crate::protocol::{InstanceId, MessageId, PeerId, Timestamp};
use crate::sys::{clock, random};

/// A clock. Each clone is the same.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The system's clocks.
    #[default]
    System,
    #[cfg(test)]
    Held(held::Clock),
}

impl Clock {
    /// Returns the wall clock's time.
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => clock::now(),
            #[cfg(test)]
            Self::Held(clock) => clock.now(),
        }
    }

    /// Returns the time of the monotonic clock.
    pub fn instant(&self) -> Instant {
        match self {
            Self::System => Instant::now(),
            #[cfg(test)]
            Self::Held(clock) => clock.instant(),
        }
    }

    /// Returns how long ago a moment was, by the monotonic clock.
    pub fn elapsed(&self, since: Instant) -> Duration {
        self.instant().saturating_duration_since(since)
    }

    /// Returns the milliseconds since boot, including sleep.
    pub fn boot_millis(&self) -> i64 {
        match self {
            Self::System => clock::boot_millis(),
            #[cfg(test)]
            Self::Held(clock) => clock.boot_millis(),
        }
    }
}

/// A source of identifiers. Each clone is the same.
#[derive(Debug, Clone, Default)]
pub enum Ids {
    /// Random ones.
    #[default]
    Random,
    #[cfg(test)]
    Held(held::Ids),
}

impl Ids {
    /// Returns an id for a new peer. The caller checks that no other peer has it.
    pub fn peer(&self) -> PeerId {
        match self {
            Self::Random => random::peer_id(),
            #[cfg(test)]
            Self::Held(ids) => PeerId::from_text(ids.next(|number| format!("peer{number:04}"))),
        }
    }

    /// Returns an id for the message with this sequence number.
    pub fn message(&self, seq: i64) -> MessageId {
        match self {
            Self::Random => random::message_id(seq),
            #[cfg(test)]
            Self::Held(ids) => MessageId::from_seq(seq, u64::from(ids.number()).to_le_bytes()),
        }
    }

    /// Returns an id for a call that waits.
    pub fn instance(&self) -> InstanceId {
        match self {
            Self::Random => random::instance_id(),
            #[cfg(test)]
            Self::Held(ids) => InstanceId::from_text(ids.next(|number| format!("call-{number}"))),
        }
    }
}

/// The clock and the identifiers.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub clock: Clock,
    pub ids: Ids,
}

/// A clock and identifiers that a test controls.
#[cfg(test)]
pub mod held {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
    use std::time::{Duration, Instant};

    use crate::protocol::Timestamp;

    /// A clock that stands still until it is advanced.
    #[derive(Debug, Clone)]
    pub struct Clock(Arc<Mutex<Times>>);

    #[derive(Debug)]
    struct Times {
        wall: Timestamp,
        begin: Instant,
        passed: Duration,
    }

    impl Clock {
        /// Starts at a fixed time, an hour after boot.
        pub fn new() -> Self {
            Self(Arc::new(Mutex::new(Times {
                wall: Timestamp::from_millis(1_800_000_000_000),
                begin: Instant::now(),
                passed: Duration::from_secs(60 * 60),
            })))
        }

        /// Advances all clocks.
        pub fn advance(&self, time: Duration) {
            let mut times = self.lock();
            times.wall = times.wall.plus(time);
            times.passed += time;
        }

        /// Changes the wall clock alone.
        pub fn set_wall(&self, by_millis: i64) {
            let mut times = self.lock();
            times.wall = Timestamp::from_millis(times.wall.millis() + by_millis);
        }

        pub fn now(&self) -> Timestamp {
            self.lock().wall
        }

        pub fn instant(&self) -> Instant {
            let times = self.lock();
            times.begin + times.passed
        }

        pub fn boot_millis(&self) -> i64 {
            i64::try_from(self.lock().passed.as_millis()).unwrap()
        }

        fn lock(&self) -> MutexGuard<'_, Times> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }

    /// Identifiers with a counter in them, or those that a test supplies.
    #[derive(Debug, Clone, Default)]
    pub struct Ids(Arc<Mutex<(u32, VecDeque<String>)>>);

    impl Ids {
        /// Supplies the next identifiers.
        pub fn give(&self, ids: &[&str]) {
            self.lock().1.extend(ids.iter().map(|id| (*id).to_owned()));
        }

        pub fn next(&self, name: impl FnOnce(u32) -> String) -> String {
            let given = self.lock().1.pop_front();
            given.unwrap_or_else(|| name(self.number()))
        }

        /// Returns a number that no call returned before.
        pub fn number(&self) -> u32 {
            let mut ids = self.lock();
            ids.0 += 1;
            ids.0
        }

        fn lock(&self) -> MutexGuard<'_, (u32, VecDeque<String>)> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}
