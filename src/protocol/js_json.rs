//! JSON as programs and models write it: `null` for absent values, strings that are not valid
//! Unicode, and numbers in quotes, with a decimal point, or with a unit.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

/// A string in which unpaired surrogates become U+FFFD.
///
/// JavaScript writes them as escapes where a string was cut in the middle of a character.
#[derive(Debug)]
pub struct LossyString(pub String);

impl<'de> Deserialize<'de> for LossyString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = LossyString;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<LossyString, E> {
                Ok(LossyString(String::from_utf8_lossy(bytes).into_owned()))
            }
        }

        deserializer.deserialize_bytes(Bytes)
    }
}

/// Reads a value; `null` counts as absent.
///
/// # Errors
///
/// If the value is of another type.
pub fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads a whole number from 0 on, in any notation: `30`, `30.0`, `"30"`, `" 30 "`.
///
/// `null`, `false` and an empty string count as 0.
///
/// # Errors
///
/// If it is negative, a fraction, above 2^53 as a float, or not a number.
pub fn lenient_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = deserializer.deserialize_any(Number { unit: false, fraction: false })?;
    Ok(number.unwrap_or_default())
}

/// Reads a measured number like [`lenient_number`], but rounds a fraction up.
///
/// # Errors
///
/// If it is negative, or not a number.
pub fn lenient_measure<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = deserializer.deserialize_any(Number { unit: false, fraction: true })?;
    Ok(number.unwrap_or_default())
}

/// Reads a whole number of seconds, which may have a unit: `"30s"`, `"2m"`.
///
/// # Errors
///
/// As [`lenient_number`].
pub fn lenient_seconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    deserializer.deserialize_any(Number { unit: true, fraction: false })
}

/// Reads an optional value that another program writes; an invalid one counts as absent.
///
/// # Errors
///
/// If it is not JSON at all.
pub fn invalid_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + serde::de::DeserializeOwned,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// The largest number up to which a float holds every whole number: 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

struct Number {
    /// Whether it may carry a unit of time.
    unit: bool,
    /// Whether it may be a fraction, which is rounded up.
    fraction: bool,
}

impl Number {
    fn parse_text(&self, words: &str) -> Option<u64> {
        if let Ok(whole) = words.parse() {
            return Some(whole);
        }
        match words.parse::<f64>() {
            Ok(number) => self.parse_float(number),
            Err(_) if self.unit => {
                let duration = humantime::parse_duration(words).ok()?;
                Some(duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)))
            }
            Err(_) => None,
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it saturates
    fn parse_float(&self, number: f64) -> Option<u64> {
        let whole = number.ceil();
        // NaN is not at least 0 either. A time has no upper bound.
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
        let found = self.parse_float(number);
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
        let found = self.parse_text(trimmed);
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
            assert_eq!(lenient_seconds(written.clone()).unwrap(), read, "{written}");
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
            let error = lenient_seconds(wrong.clone()).unwrap_err().to_string();
            assert!(error.contains("a number of seconds from 0 on"), "{wrong}: {error}");
        }
        assert_eq!(lenient_number(json!("7.0")).unwrap(), 7);
        assert_eq!(lenient_number(json!(null)).unwrap(), 0);
        assert!(lenient_number(json!("7s")).is_err());
        assert_eq!(lenient_measure(json!(7.2)).unwrap(), 8);
    }
}
