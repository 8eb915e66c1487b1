//! Times for people: ages, and with `--absolute` local time. A program gets RFC 3339.

use jiff::tz::TimeZone;

use crate::protocol::Timestamp;

use super::look::Look;

/// Returns when something happened: "4m ago" or "2026-01-31 12:00:07" on a terminal, RFC 3339 elsewhere.
#[must_use]
pub fn when(then: Timestamp, now: Timestamp, look: Look) -> String {
    match look {
        Look { width: None, .. } => then.to_string(),
        Look { absolute: true, .. } => local(then),
        _ => format!("{} ago", then.age(now)),
    }
}

/// Returns a moment in the time zone of the system, or of `TZ`.
#[must_use]
pub fn local(then: Timestamp) -> String {
    in_zone(then, &TimeZone::system())
}

fn in_zone(then: Timestamp, zone: &TimeZone) -> String {
    let Ok(moment) = jiff::Timestamp::from_millisecond(then.millis()) else {
        // Beyond the year 9999.
        return then.to_string();
    };
    // Not `strftime`: its formats would add 40 KB to the program.
    let local = zone.to_datetime(moment);
    let (date, time) = (local.date(), local.time());
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_ages_or_local_times_and_programs_get_rfc_3339() {
        let then = Timestamp::from_millis(1_795_000_000_123);
        let now = then.plus(std::time::Duration::from_secs(250));
        let terminal = Look { width: Some(80), ..Look::PLAIN };
        assert_eq!(when(then, now, terminal), "4m ago");
        assert_eq!(when(then, now, Look::PLAIN), "2026-11-18T11:06:40.123Z");
        let absolute = Look { absolute: true, ..terminal };
        assert_eq!(when(then, now, absolute), local(then));
        assert_eq!(when(then, now, Look { absolute: true, ..Look::PLAIN }), then.to_string());
    }

    #[test]
    fn a_local_time_is_that_of_its_zone() {
        let then = Timestamp::from_millis(1_795_000_000_123);
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(in_zone(then, &zone), "2026-11-18 13:06:40");
        for far in [i64::MIN, i64::MAX] {
            assert!(!in_zone(Timestamp::from_millis(far), &TimeZone::UTC).is_empty());
        }
    }
}
