//! A moment in wall-clock time: Unix milliseconds inside, RFC 3339 on the wire.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Makes a timestamp from milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Returns the moment that is `duration` later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// Returns the moment that is so many milliseconds later, or earlier if they are negative.
    #[must_use]
    pub const fn shifted(self, by_millis: i64) -> Self {
        Self(self.0.saturating_add(by_millis))
    }

    /// Returns how long ago `earlier` was at this moment; zero if it is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let millis = self.0.saturating_sub(earlier.0).max(0);
        Duration::from_millis(u64::try_from(millis).unwrap_or(0))
    }

    /// Returns how long ago this was at `now`, in the largest unit that fits: "12s", "5m", "3h", "2d".
    #[must_use]
    pub fn age(self, now: Self) -> String {
        let seconds = now.since(self).as_secs();
        match seconds {
            0..60 => format!("{seconds}s"),
            60..3_600 => format!("{}m", seconds / 60),
            3_600..86_400 => format!("{}h", seconds / 3_600),
            _ => format!("{}d", seconds / 86_400),
        }
    }
}

/// RFC 3339 has the years 1970 to 9999; what lies beyond is written as the nearest of these.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.clamp(0, 253_402_300_799_000)).unwrap_or(0);
        let moment = UNIX_EPOCH + Duration::from_millis(millis);
        humantime::format_rfc3339_millis(moment).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "date-time",
            "description": "A moment, in UTC and with milliseconds, such as `2026-11-18T11:06:40.123Z`.",
        })
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let moment = humantime::parse_rfc3339_weak(&text).map_err(serde::de::Error::custom)?;
        let since = moment.duration_since(UNIX_EPOCH).map_err(serde::de::Error::custom)?;
        Ok(Self(i64::try_from(since.as_millis()).map_err(serde::de::Error::custom)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_survives_the_wire() {
        let moment = Timestamp::from_millis(1_795_000_000_123);
        let json = serde_json::to_string(&moment).unwrap();
        assert_eq!(json, "\"2026-11-18T11:06:40.123Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), moment);
    }

    #[test]
    fn every_time_can_be_written_and_read() {
        for millis in [i64::MIN, -1, 0, 1, 253_402_300_799_000, 253_402_300_800_000, i64::MAX] {
            let json = serde_json::to_string(&Timestamp::from_millis(millis)).unwrap();
            let read: Timestamp = serde_json::from_str(&json).unwrap();
            assert_eq!(read.millis(), millis.clamp(0, 253_402_300_799_000), "{json}");
        }
    }
}
