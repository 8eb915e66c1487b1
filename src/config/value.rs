//! The value of one setting: its types, its source, and how it is parsed.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::settings::Kind;

/// A value of a setting's [`Kind`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Number(u64),
    Switch(bool),
    Text(String),
    Path(PathBuf),
    Secret(Secret),
}

/// The source of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Environment,
    File,
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Environment => "environment",
            Self::File => "configuration file",
            Self::Default => "default",
        })
    }
}

/// A secret, which no log and no debug output contains.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a value must be, as the end of a sentence: "must be …".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected(pub(super) Kind);

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Number { from, to } => write!(f, "a whole number from {from} to {to}"),
            Kind::Switch => f.write_str("on or off"),
            Kind::Choice(words) => f.write_str(&alternatives(words)),
            Kind::Path => f.write_str("an absolute path"),
            Kind::Text | Kind::Url => f.write_str("text"),
        }
    }
}

/// "a, b or c"
fn alternatives(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Parses a value of an environment variable.
pub fn parse(kind: Kind, raw: &OsStr) -> Result<Value, Expected> {
    let text = raw.to_string_lossy();
    let word = text.trim().to_ascii_lowercase();
    let value = match kind {
        Kind::Number { from, to } => {
            let number = word.parse().ok().filter(|number| (from..=to).contains(number));
            number.map(Value::Number)
        }
        Kind::Switch => match word.as_str() {
            "on" | "1" | "true" | "yes" => Some(Value::Switch(true)),
            "off" | "0" | "false" | "no" => Some(Value::Switch(false)),
            _ => None,
        },
        Kind::Choice(words) => words.contains(&word.as_str()).then_some(Value::Text(word)),
        Kind::Path => is_absolute(Path::new(raw)).then(|| Value::Path(raw.into())),
        Kind::Text | Kind::Url => Some(Value::Text(text.into_owned())),
    };
    value.ok_or(Expected(kind))
}

/// Returns whether a path does not depend on the working directory.
pub fn is_absolute(path: &Path) -> bool {
    path.is_absolute() || path.starts_with("~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_value_must_be_is_said_in_words() {
        for (kind, words) in [
            (Kind::Number { from: 1, to: 65_535 }, "a whole number from 1 to 65535"),
            (Kind::Switch, "on or off"),
            (Kind::Choice(&["auto", "on", "off"]), "auto, on or off"),
            (Kind::Path, "an absolute path"),
        ] {
            assert_eq!(parse(kind, "?".as_ref()), Err(Expected(kind)));
            assert_eq!(Expected(kind).to_string(), words);
        }
    }
}
