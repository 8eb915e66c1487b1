//! Values of columns whose type is not known.

use rusqlite::Row;
use rusqlite::types::ValueRef;

use crate::protocol::Timestamp;

/// Returns the value as text, whatever its type is; `None` for NULL.
pub fn text(row: &Row<'_>, column: usize) -> Option<String> {
    match row.get_ref(column).ok()? {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
    }
}

/// Returns at most `bytes` bytes of the text, cut between characters. The copy of the legacy
/// database has the whole.
pub fn limited(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// Returns the value as a time: a number since the epoch in any unit, or a text in the form of
/// ISO 8601 or of SQLite.
pub fn moment(row: &Row<'_>, column: usize) -> Option<Timestamp> {
    match row.get_ref(column).ok()? {
        ValueRef::Null => None,
        #[allow(clippy::cast_precision_loss)] // far below a millisecond in this century
        ValueRef::Integer(number) => of_number(number as f64),
        ValueRef::Real(number) => of_number(number),
        ValueRef::Text(_) | ValueRef::Blob(_) => of_text(&text(row, column)?),
    }
}

/// The end of the year 9999, in Unix milliseconds. A later value is not a date.
const LAST: f64 = 253_402_300_799_999.0;

/// Reads a number of seconds, milliseconds, microseconds or nanoseconds, whichever gives a date in
/// this century.
fn of_number(number: f64) -> Option<Timestamp> {
    let millis = match number.abs() {
        ..1e11 => number * 1e3,
        1e11..1e14 => number,
        1e14..1e17 => number / 1e3,
        _ => number / 1e6,
    };
    #[allow(clippy::cast_possible_truncation)] // in range, and a fraction of a millisecond is none
    (millis > 0.0 && millis <= LAST).then(|| Timestamp::from_millis(millis as i64))
}

fn of_text(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        return of_number(number);
    }
    let (local, ahead) = split_offset(text)?;
    let since = humantime::parse_rfc3339_weak(local).ok()?;
    let since = since.duration_since(std::time::UNIX_EPOCH).ok()?;
    let millis = i64::try_from(since.as_millis()).ok()?;
    Some(Timestamp::from_millis(millis - ahead))
}

/// Splits off the time zone. Returns the local time, and how far it is ahead of UTC in milliseconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(local) = text.strip_suffix(['Z', 'z']) {
        return Some((local, 0));
    }
    // The date has hyphens, too.
    let Some(at) = text.rfind(['+', '-']).filter(|at| *at > 10) else { return Some((text, 0)) };
    let (local, offset) = text.split_at(at);
    let digits: String = offset.chars().filter(char::is_ascii_digit).collect();
    let number: i64 = digits.parse().ok()?;
    let minutes = if digits.len() <= 2 { number * 60 } else { number / 100 * 60 + number % 100 };
    let ahead = minutes * 60_000;
    Some((local.trim_end(), if offset.starts_with('-') { -ahead } else { ahead }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_is_known_in_all_the_ways_that_programs_write_it() {
        let wanted = Some("2025-03-01T10:00:01.000Z".to_owned());
        for text in [
            "2025-03-01T10:00:01Z",
            "2025-03-01T10:00:01.000Z",
            "2025-03-01 10:00:01",
            "2025-03-01T10:00:01",
            " 2025-03-01T12:00:01+02:00 ",
            "2025-03-01T02:00:01.000-0800",
            "2025-03-01 11:00:01+01",
            "1740823201",
            "1740823201000",
            "1740823201.0",
        ] {
            assert_eq!(of_text(text).map(|at| at.to_string()), wanted, "{text}");
        }
        for number in [1_740_823_201.0, 1_740_823_201e3, 1_740_823_201e6, 1_740_823_201e9] {
            assert_eq!(of_number(number).map(|at| at.to_string()), wanted, "{number}");
        }
        for text in ["", "yesterday", "not a time", "-1", "0", "1e300", "NaN", "2025-13-45", "🦀"]
        {
            assert_eq!(of_text(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(limited("aé🦀", 100), "aé🦀");
        assert_eq!(limited("aé🦀", 6), "aé");
    }
}
