//! The effective settings, as they are shown to people.

use crate::config::settings::{Fallback, Kind, SETTINGS, Setting};
use crate::config::value::{Source, Value};
use crate::config::values::Values;

/// A setting with its value as text and its source. A secret's value is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveSetting {
    /// The row of the table.
    pub setting: &'static Setting,
    pub value: String,
    pub source: Source,
}

impl EffectiveSetting {
    /// Returns the key, or the variable of a setting without one.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.setting.name()
    }
}

/// Lists all settings in the order of the table.
pub(super) fn list(values: &Values) -> Vec<EffectiveSetting> {
    let one = |setting: &'static Setting| EffectiveSetting {
        setting,
        value: shown(values, setting),
        source: values.source(setting.id),
    };
    SETTINGS.iter().map(one).collect()
}

/// Returns a value as text for people, without secrets and passwords.
fn shown(values: &Values, setting: &Setting) -> String {
    match (values.value(setting.id), setting.default) {
        (Some(Value::Number(number)), _) => number.to_string(),
        (Some(Value::Switch(is_on)), _) => is_on.to_string(),
        (Some(Value::Text(url)), _) if setting.kind == Kind::Url => without_password(url),
        (Some(Value::Text(text)), _) => text.clone(),
        (Some(Value::Path(path)), _) => path.display().to_string(),
        (Some(Value::Secret(_)), _) => "set".to_owned(),
        (None, Fallback::Words(words) | Fallback::Value(words)) => words.to_owned(),
    }
}

/// Returns a URL without the user name and password before its host.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(end) => rest.split_at(end),
        None => (rest, ""),
    };
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://…@{host}{path}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        for (url, shown) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1"),
            ("https://me:secret@host/v1?a=@", "https://…@host/v1?a=@"),
            ("https://me:sec@ret@host", "https://…@host"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
