//! Moments that a person names: how long ago, a date, or a time.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

use crate::protocol::Timestamp;
use crate::sys::clock;

/// Reads a moment: a duration before now ("2h", "3d", "1h 30m", "2 days ago"), a local date or time
/// ("2026-01-31", "2026-01-31 14:00"), "today", "yesterday", or RFC 3339.
///
/// # Errors
///
/// A text that says what is understood.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    at(text.trim(), clock::now(), &TimeZone::system()).ok_or_else(|| {
        "give a duration like 90s, 2h or 3d, a date like 2026-01-31, or a time like \"2026-01-31 14:00\""
            .to_owned()
    })
}

fn at(text: &str, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let today =
        || Some(jiff::Timestamp::from_millisecond(now.millis()).ok()?.to_zoned(zone.clone()));
    let date = match text {
        "now" => return Some(now),
        "today" => Some(today()?.date()),
        "yesterday" => Some(today()?.date().yesterday().ok()?),
        _ => None,
    };
    if let Some(date) = date {
        return local(date.to_datetime(jiff::civil::Time::midnight()), zone);
    }
    let ago = text.strip_suffix("ago").unwrap_or(text).trim();
    if let Ok(duration) = humantime::parse_duration(ago) {
        let millis = i64::try_from(duration.as_millis()).ok()?;
        return Some(now.shifted(-millis));
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp::from_millis(moment.as_millisecond()));
    }
    if let Ok(time) = text.parse::<DateTime>() {
        return local(time, zone);
    }
    let date: Date = text.parse().ok()?;
    local(date.to_datetime(jiff::civil::Time::midnight()), zone)
}

fn local(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let moment = time.to_zoned(zone.clone()).ok()?;
    Some(Timestamp::from_millis(moment.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        // 2026-11-18T11:06:40Z, an hour later on the clock there.
        let now = Timestamp::from_millis(1_795_000_000_000);
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        for (text, expected) in [
            ("2h", "2026-11-18T09:06:40.000Z"),
            ("3d", "2026-11-15T11:06:40.000Z"),
            ("1h 30m", "2026-11-18T09:36:40.000Z"),
            ("2 days ago", "2026-11-16T11:06:40.000Z"),
            ("now", "2026-11-18T11:06:40.000Z"),
            ("today", "2026-11-17T23:00:00.000Z"),
            ("yesterday", "2026-11-16T23:00:00.000Z"),
            ("2026-11-10", "2026-11-09T23:00:00.000Z"),
            ("2026-11-10 14:00", "2026-11-10T13:00:00.000Z"),
            ("2026-11-10T14:00:30", "2026-11-10T13:00:30.000Z"),
            ("2026-11-10T14:00:30Z", "2026-11-10T14:00:30.000Z"),
            ("2026-11-10T14:00:30.5+02:00", "2026-11-10T12:00:30.500Z"),
        ] {
            assert_eq!(
                at(text, now, &zone).map(|at| at.to_string()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
        for wrong in ["", "soon", "2h ahead", "31.01.2026", "-2h", "2026-13-01"] {
            assert_eq!(at(wrong, now, &zone), None, "{wrong}");
        }
    }
}
