//! The values of all settings, each with its source.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::file::File;
use crate::config::settings::{Fallback, Kind, SETTINGS, Setting, SettingId};
use crate::config::{ConfigError, Environment, Secret, Source};

/// A value of a setting's [`Kind`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Number(u64),
    Switch(bool),
    Text(String),
    Path(PathBuf),
    Secret(Secret),
}

/// The values of all settings, in the order of [`SETTINGS`].
#[derive(Debug, Clone)]
pub(super) struct Values(Vec<(Option<Value>, Source)>);

impl Values {
    /// Takes each value from the environment, else from the file, else the default.
    pub fn load(environment: &Environment, mut file: File) -> Result<Self, ConfigError> {
        let one = |setting: &'static Setting| match from_environment(setting, environment)? {
            Some(value) => Ok((Some(value), Source::Environment)),
            None => Ok(match file.take(setting.id) {
                Some(value) => (Some(value), Source::File),
                None => (default(setting), Source::Default),
            }),
        };
        Ok(Self(SETTINGS.iter().map(one).collect::<Result<_, ConfigError>>()?))
    }

    /// Returns the defaults alone.
    pub fn defaults() -> Self {
        Self(SETTINGS.iter().map(|setting| (default(setting), Source::Default)).collect())
    }

    pub fn source(&self, id: SettingId) -> Source {
        self.0[id as usize].1
    }

    pub fn value(&self, id: SettingId) -> Option<&Value> {
        self.0[id as usize].0.as_ref()
    }

    /// Replaces a value by the one that follows from it and keeps its source.
    pub fn settle(&mut self, id: SettingId, value: Value) {
        self.0[id as usize].0 = Some(value);
    }

    /// Returns these values, but for those that a running broker cannot change.
    pub fn fixed_as_in(mut self, running: &Self) -> Self {
        for (at, setting) in SETTINGS.iter().enumerate() {
            if setting.is_fixed() {
                self.0[at].clone_from(&running.0[at]);
            }
        }
        self
    }

    /// Returns a number; 0 where the setting is none, which a test of the table rules out.
    pub fn number(&self, id: SettingId) -> u64 {
        match self.value(id) {
            Some(Value::Number(number)) => *number,
            _ => 0,
        }
    }

    /// Returns a number whose bounds fit the type.
    pub fn bounded<T: TryFrom<u64> + Default>(&self, id: SettingId) -> T {
        self.number(id).try_into().unwrap_or_default()
    }

    pub fn is_on(&self, id: SettingId) -> bool {
        self.value(id) == Some(&Value::Switch(true))
    }

    pub fn text(&self, id: SettingId) -> Option<&str> {
        match self.value(id) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub fn path(&self, id: SettingId) -> Option<&Path> {
        match self.value(id) {
            Some(Value::Path(path)) => Some(path),
            _ => None,
        }
    }

    pub fn secret(&self, id: SettingId) -> Option<&Secret> {
        match self.value(id) {
            Some(Value::Secret(secret)) => Some(secret),
            _ => None,
        }
    }
}

fn from_environment(
    setting: &Setting,
    environment: &Environment,
) -> Result<Option<Value>, ConfigError> {
    let names = [Some(setting.variable), setting.other_variable];
    let found = names.into_iter().flatten().find_map(|name| Some((name, environment.get(name)?)));
    let Some((name, text)) = found else { return Ok(None) };
    if setting.is_secret {
        return Ok(Some(Value::Secret(Secret(text.to_string_lossy().into_owned()))));
    }
    let wrong = |expected: Expected| ConfigError::Value {
        name,
        value: text.to_string_lossy().into_owned(),
        expected,
    };
    parse(setting.kind, text).map(Some).map_err(wrong)
}

fn default(setting: &Setting) -> Option<Value> {
    match setting.default {
        Fallback::Value(text) => parse(setting.kind, text.as_ref()).ok(),
        Fallback::Words(_) => None,
    }
}

/// What a value would have to be; a phrase for "must be …".
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

/// Reads a value as it stands in the environment.
pub(super) fn parse(kind: Kind, raw: &OsStr) -> Result<Value, Expected> {
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

/// Whether a path means the same wherever one stands.
pub(super) fn is_absolute(path: &Path) -> bool {
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
