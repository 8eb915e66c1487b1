//! JSON as programs and models write it: `null` for what is not there, strings that are no text,
//! and numbers in quotes, with a point, or with a unit.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// A string that may have been cut in the middle of a character: JavaScript writes such a half as
/// an escape that is no text, and here it is U+FFFD.
#[derive(Debug)]
pub struct Words(pub String);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Words, E> {
                Ok(Words(String::from_utf8_lossy(bytes).into_owned()))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

/// `null` counts as left out.
///
/// # Errors
///
/// If the value is of another type.
pub fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A whole number from 0 on, however it is written: `30`, `30.0`, `"30"`, `" 30 "`; 0 where it
/// says that there is none: `null`, `false`, an empty string.
///
/// # Errors
///
/// If it is below 0, a fraction, too large to be meant, or no number.
pub fn number_or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = deserializer.deserialize_any(Number { unit: false, fraction: false })?;
    Ok(number.unwrap_or_default())
}

/// The same, rounded up: for what is measured.
///
/// # Errors
///
/// If it is below 0, or no number.
pub fn measure_or_zero<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = deserializer.deserialize_any(Number { unit: false, fraction: true })?;
    Ok(number.unwrap_or_default())
}

/// A whole number of seconds, which may have a unit: `"30s"` and `"2m"` are understood as well.
///
/// # Errors
///
/// As [`number_or_zero`].
pub fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(Number { unit: true, fraction: false })
}

/// What is no sensible value counts as left out: for what others write and we can do without.
///
/// # Errors
///
/// If it is no JSON at all.
pub fn or_nothing<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + serde::de::DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// The largest whole number that a float can hold with all that are below it, 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

struct Number {
    /// Whether it may carry a unit of time.
    unit: bool,
    /// Whether it may be a fraction, which is rounded up.
    fraction: bool,
}

impl Number {
    fn of_words(&self, words: &str) -> Option<u64> {
        if let Ok(whole) = words.parse() {
            return Some(whole);
        }
        match words.parse::<f64>() {
            Ok(number) => self.of_float(number),
            Err(_) if self.unit => {
                let duration = humantime::parse_duration(words).ok()?;
                Some(duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)))
            }
            Err(_) => None,
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it saturates
    fn of_float(&self, number: f64) -> Option<u64> {
        let whole = number.ceil();
        // What is not a number is not at least 0 either. A time may be as long as it likes.
        let fits = self.unit || self.fraction || number <= EXACT;
        (number >= 0.0 && fits && (self.fraction || whole <= number)).then_some(whole as u64)
    }
}

impl<'de> Visitor<'de> for Number {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.unit { "a number of seconds" } else { "a number" };
        let whole = if self.fraction { "" } else { ", without a fraction" };
        write!(f, "{what} from 0 on{whole}")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        let found = u64::try_from(number).ok();
        found.map(Some).ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        let found = self.of_float(number);
        found.map(Some).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }

    fn visit_bool<E: Error>(self, yes: bool) -> Result<Self::Value, E> {
        if yes { Err(E::invalid_type(Unexpected::Bool(yes), &self)) } else { Ok(None) }
    }

    fn visit_str<E: Error>(self, words: &str) -> Result<Self::Value, E> {
        let trimmed = words.trim();
        if ["", "null", "none", "undefined", "false"]
            .iter()
            .any(|nothing| trimmed.eq_ignore_ascii_case(nothing))
        {
            return Ok(None);
        }
        let found = self.of_words(trimmed);
        found.map(Some).ok_or_else(|| E::invalid_value(Unexpected::Str(words), &self))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn numbers_are_understood_however_they_are_written() {
        for (written, read) in [
            (json!(30), Some(30)),
            (json!(30.0), Some(30)),
            (json!("30"), Some(30)),
            (json!(" 30\n"), Some(30)),
            (json!("30.0"), Some(30)),
            (json!("+30"), Some(30)),
            (json!("3e1"), Some(30)),
            (json!("30s"), Some(30)),
            (json!("30 seconds"), Some(30)),
            (json!("2m"), Some(120)),
            (json!("1500ms"), Some(2)),
            (json!(0), Some(0)),
            (json!(-0.0), Some(0)),
            (json!(1e300), Some(u64::MAX)),
            (json!("1e300"), Some(u64::MAX)),
            (json!(u64::MAX), Some(u64::MAX)),
            (json!("99999999999999999999999"), Some(u64::MAX)),
            (json!("infinity"), Some(u64::MAX)),
            (json!(""), None),
            (json!("  "), None),
            (json!("null"), None),
            (json!("None"), None),
            (json!(false), None),
            (Value::Null, None),
        ] {
            assert_eq!(seconds(written.clone()).unwrap(), read, "{written}");
        }
        for wrong in [
            json!(-1),
            json!(-0.5),
            json!(1.5),
            json!("1.5"),
            json!("-3"),
            json!("soon"),
            json!("NaN"),
            json!("30 bananas"),
            json!(true),
            json!([30]),
            json!({}),
        ] {
            let error = seconds(wrong.clone()).unwrap_err().to_string();
            assert!(error.contains("a number of seconds from 0 on"), "{wrong}: {error}");
        }
        assert_eq!(number_or_zero(json!("7.0")).unwrap(), 7);
        assert_eq!(number_or_zero(json!(null)).unwrap(), 0);
        assert!(number_or_zero(json!("7s")).is_err());
        assert_eq!(measure_or_zero(json!(7.2)).unwrap(), 8);
    }
}
