//! The configuration file, `$XDG_CONFIG_HOME/claude-peers/config.toml`.
//!
//! It holds settings for a service too, which does not have a shell's variables.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::config::error::FileError;
use crate::config::mistake::Mistake;
use crate::config::settings::{Kind, SETTINGS, Setting, SettingId};
use crate::config::value::{Expected, Value, is_absolute};
use crate::sys::files::{NotOurs, read_text};

/// The largest file that is read, in bytes.
const LIMIT: u64 = 256 * 1024;

/// The values that the file sets, in the order of [`SETTINGS`].
#[derive(Debug, Default)]
pub(super) struct File(Vec<Option<Value>>);

impl File {
    /// Reads the file; a missing file counts as empty.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        match text(path) {
            Ok(text) => parse(&text).map_err(|mistake| FileError::Invalid {
                path: path.into(),
                mistake: Box::new(mistake),
            }),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(Self::default())
            }
            Err(error) => Err(FileError::Read { path: path.into(), error }),
        }
    }

    /// Reads what can be used of a file with mistakes: the endpoint and the database of the broker.
    ///
    /// For commands that must work even if the file is invalid.
    pub fn salvage(path: &Path) -> Self {
        let text = text(path).unwrap_or_default();
        let (table, _) = DeTable::parse_recoverable(&text);
        let mut file = Self::default();
        for setting in SETTINGS.iter().filter(|setting| setting.is_fixed()) {
            let value = setting.key.and_then(|key| table.get_ref().get(key));
            if let Some(value) = value.and_then(|value| read(setting.kind, value.get_ref())) {
                file.put(setting.id, value);
            }
        }
        file
    }

    /// Removes and returns a setting's value.
    pub fn take(&mut self, id: SettingId) -> Option<Value> {
        self.0.get_mut(id as usize)?.take()
    }

    fn put(&mut self, id: SettingId, value: Value) {
        self.0.resize(SETTINGS.len(), None);
        self.0[id as usize] = Some(value);
    }
}

fn parse(text: &str) -> Result<File, Mistake> {
    let table = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or_default();
        let problem = unquoted(text, span.start)
            .unwrap_or_else(|| error.message().lines().collect::<Vec<_>>().join(", "));
        Mistake::at(text, span, problem)
    })?;
    let mut file = File::default();
    // In the order of the file, so that its first mistake is reported.
    collect(text, "", table.get_ref(), &mut file)?;
    Ok(file)
}

/// Collects the values of a table; `prefix` is its name and a dot.
fn collect(text: &str, prefix: &str, table: &DeTable<'_>, file: &mut File) -> Result<(), Mistake> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (name, value) in entries {
        let key = format!("{prefix}{}", name.get_ref());
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == Some(&*key)) {
            let found = read(setting.kind, value.get_ref());
            let found = found.ok_or_else(|| wrong(text, &key, setting.kind, value.span()))?;
            file.put(setting.id, found);
            continue;
        }
        let below = format!("{key}.");
        let is_table = |setting: &Setting| setting.key.is_some_and(|key| key.starts_with(&below));
        match value.get_ref() {
            DeValue::Table(inner) if SETTINGS.iter().any(is_table) => {
                collect(text, &below, inner, file)?;
            }
            _ if SETTINGS.iter().any(is_table) => {
                let problem = format!("{key} must be a table: `[{key}]`");
                return Err(Mistake::at(text, value.span(), problem));
            }
            _ => return Err(Mistake::unknown(text, name.span(), &key)),
        }
    }
    Ok(())
}

/// Returns what is wrong in a line `KEY = VALUE` that is not TOML: the parser says only that a string
/// must be quoted, also for a number or a switch.
fn unquoted(text: &str, at: usize) -> Option<String> {
    let begin = text.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
    let (key, written) = text.get(begin..)?.lines().next()?.split_once('=')?;
    let (key, written) = (key.trim(), written.split('#').next()?.trim());
    let is_named = |name: &str| name.rsplit('.').next() == Some(key);
    let setting = SETTINGS.iter().find(|setting| setting.key.is_some_and(is_named))?;
    let expected = described(setting.kind);
    Some(match written {
        "" => format!("{key} has no value; it must be {expected}"),
        _ if written.starts_with(['"', '\'', '[', '{']) => return None,
        _ => format!("{key} is {written}, but must be {expected}"),
    })
}

/// Describes the values that a setting can have in the file.
fn described(kind: Kind) -> String {
    match kind {
        Kind::Switch => "true or false".to_owned(),
        Kind::Choice(_) | Kind::Path | Kind::Text | Kind::Url => {
            format!("{}, in quotes", Expected(kind))
        }
        Kind::Number { .. } => Expected(kind).to_string(),
    }
}

/// Returns the mistake for a value that its setting cannot have.
fn wrong(text: &str, key: &str, kind: Kind, span: Range<usize>) -> Mistake {
    let written: String = text.get(span.clone()).unwrap_or_default().chars().take(100).collect();
    let expected = described(kind);
    Mistake::at(text, span, format!("{key} is {written}, but must be {expected}"))
}

/// Reads a value as it is in the file.
fn read(kind: Kind, value: &DeValue<'_>) -> Option<Value> {
    match (kind, value) {
        (Kind::Number { from, to }, DeValue::Integer(number)) => {
            let number = u64::from_str_radix(number.as_str(), number.radix()).ok();
            number.filter(|number| (from..=to).contains(number)).map(Value::Number)
        }
        (Kind::Switch, DeValue::Boolean(is_on)) => Some(Value::Switch(*is_on)),
        (Kind::Choice(words), DeValue::String(text)) => {
            let word = text.trim().to_ascii_lowercase();
            words.contains(&word.as_str()).then_some(Value::Text(word))
        }
        (Kind::Path, DeValue::String(text)) => {
            let path = PathBuf::from(text.as_ref());
            is_absolute(&path).then_some(Value::Path(path))
        }
        (Kind::Text | Kind::Url, DeValue::String(text)) => {
            Some(Value::Text(text.clone().into_owned()))
        }
        _ => None,
    }
}

/// Reads the file's text.
///
/// Hooks and sessions wait for this, so a pipe, which may block, and an endless file are refused.
fn text(path: &Path) -> io::Result<String> {
    read_text(path, LIMIT).map_err(|error| match NotOurs::of(&error) {
        Some(NotOurs::TooLarge(_)) => {
            io::Error::new(io::ErrorKind::InvalidData, "it is too large for settings")
        }
        _ => error,
    })
}
