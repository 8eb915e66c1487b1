//! The wall clock, and the clock since boot.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::protocol::Timestamp;

/// The furthest times that are told apart, in milliseconds before and after 1970: far beyond what any
/// calendar shows, and near enough that sums with durations do not overflow.
const FURTHEST_MILLIS: u128 = 1 << 60;

/// Returns the time of the wall clock, which may be set forwards and backwards, even before 1970.
#[must_use]
pub fn now() -> Timestamp {
    let millis =
        |d: Duration| i64::try_from(d.as_millis().min(FURTHEST_MILLIS)).unwrap_or(i64::MAX);
    Timestamp::from_millis(match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => -millis(before.duration()),
    })
}

/// Returns the milliseconds since boot, including sleep. No change of the wall clock affects it.
#[must_use]
pub fn boot_millis() -> i64 {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    // On macOS this clock continues during sleep.
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(clock);
    time.tv_sec * 1_000 + time.tv_nsec / 1_000_000
}
