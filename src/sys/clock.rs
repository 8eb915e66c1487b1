//! The wall clock, and the clock since boot.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::protocol::Timestamp;

/// Returns the time of the wall clock, which may be set forwards and backwards.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_millis(since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
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
