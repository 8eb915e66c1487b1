//! The values of all settings, each with its source.

use std::path::Path;

use crate::config::environment::Environment;
use crate::config::error::ConfigError;
use crate::config::file::File;
use crate::config::settings::{Fallback, SETTINGS, Setting, SettingId};
use crate::config::value::{Expected, Secret, Source, Value, parse};

/// The values of all settings, in the order of [`SETTINGS`].
#[derive(Debug, Clone)]
pub(super) struct Values(Vec<(Option<Value>, Source)>);

impl Values {
    /// Takes each value from the environment, else from the file, else from the default.
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

    /// Returns the defaults.
    pub fn defaults() -> Self {
        Self(SETTINGS.iter().map(|setting| (default(setting), Source::Default)).collect())
    }

    pub fn source(&self, id: SettingId) -> Source {
        self.0[id as usize].1
    }

    pub fn value(&self, id: SettingId) -> Option<&Value> {
        self.0[id as usize].0.as_ref()
    }

    /// Replaces a value by one that is derived from it, and keeps its source.
    pub fn settle(&mut self, id: SettingId, value: Value) {
        self.0[id as usize].0 = Some(value);
    }

    /// Returns these values, with those of `running` for the settings that need a restart.
    pub fn fixed_as_in(mut self, running: &Self) -> Self {
        for (at, setting) in SETTINGS.iter().enumerate() {
            if setting.is_fixed() {
                self.0[at].clone_from(&running.0[at]);
            }
        }
        self
    }

    /// Returns a number; 0 if the setting is not a number, which a test of the table excludes.
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
