//! The wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::protocol::Timestamp;

/// Returns the time of the wall clock, which may be set forwards and backwards.
#[must_use]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_millis(since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
}
