//! The environment of this process: a snapshot, taken once at start and passed down.
//!
//! Nothing else in the program reads a variable, so a test can hold all of them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::config::settings::{Reader, SETTINGS, Setting, SettingId, setting};

/// Tells a broker that a client starts why the service manager does not provide one.
pub const FALLBACK_REASON: &str = "CLAUDE_PEERS_FALLBACK_REASON";

/// Arms a failpoint of this process. Only builds for `tests/failpoints` read it.
#[cfg(feature = "failpoints")]
const FAILPOINT: &str = "CLAUDE_PEERS_FAILPOINT";

/// The variables for the places of our files (XDG base directory specification).
pub const DIRECTORIES: [&str; 3] = ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"];

/// Other programs' variables that a broker needs.
const OF_BROKER: [&str; 9] =
    ["HOME", "USER", "LOGNAME", "PATH", "LANG", "TMPDIR", "TZ", "RUST_LOG", "RUST_BACKTRACE"];

/// A snapshot of environment variables. It is cheap to clone.
#[derive(Clone, Default)]
pub struct Environment(Arc<BTreeMap<OsString, OsString>>);

impl Environment {
    /// Takes the snapshot of this process.
    #[expect(clippy::disallowed_methods, reason = "it is the one place that reads the environment")]
    #[must_use]
    pub fn of_this_process() -> Self {
        let environment: Self = std::env::vars_os().collect();
        #[cfg(feature = "failpoints")]
        if let Some(text) = environment.text(FAILPOINT) {
            crate::failpoint::arm(&text);
        }
        environment
    }

    /// Returns a variable; an empty one counts as unset.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        let value = self.0.get(OsStr::new(name))?;
        Some(value.as_os_str()).filter(|value| !value.is_empty())
    }

    /// Returns a variable as text; invalid UTF-8 in it is replaced.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// Returns a variable as a path.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// Returns a variable as a path, unless the path is relative.
    ///
    /// By the XDG base directory specification a relative path is invalid.
    #[must_use]
    pub fn absolute_path(&self, name: &str) -> Option<PathBuf> {
        self.path(name).filter(|path| path.is_absolute())
    }

    /// Returns `PATH`; empty where it is not set.
    #[must_use]
    pub fn search_path(&self) -> &OsStr {
        self.get("PATH").unwrap_or_default()
    }

    /// Returns all variables, the empty ones among them.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Returns the variables for a broker that a client starts.
    ///
    /// All others are left out: Claude Code gives its servers keys and tokens, and a broker outlives
    /// the session that started it.
    pub fn for_broker(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.iter().filter(|(name, _)| name.to_str().is_some_and(is_for_broker))
    }
}

fn is_for_broker(name: &str) -> bool {
    let of_table =
        |setting: &Setting| setting.reader != Reader::Session && setting.variable == name;
    OF_BROKER.contains(&name)
        || name.starts_with("XDG_")
        || name.starts_with("LC_")
        || SETTINGS.iter().any(of_table)
}

/// Returns the variables by which a client finds its broker.
pub fn meeting_variables() -> impl Iterator<Item = &'static str> {
    let both = SETTINGS.iter().filter(|setting| setting.reader == Reader::Both);
    DIRECTORIES.into_iter().chain(both.map(|setting| setting.variable))
}

/// Returns the variables that a session's server needs, for a client that passes few to its servers.
pub fn server_variables() -> impl Iterator<Item = &'static str> {
    meeting_variables().chain([setting(SettingId::Name).variable])
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(variables: T) -> Self {
        let pairs = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(Arc::new(pairs.collect()))
    }
}

/// Shows the names only, because the values include keys and tokens.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_gets_what_it_needs_and_nothing_of_the_session_that_starts_it() {
        let passed = |name: &str| {
            let environment: Environment = [(name, "value")].into_iter().collect();
            environment.for_broker().count() == 1
        };
        for name in ["HOME", "PATH", "XDG_RUNTIME_DIR", "LC_ALL", "RUST_LOG", "CLAUDE_PEERS_DB"] {
            assert!(passed(name), "{name}");
        }
        for name in ["CLAUDE_PEERS_LOG", "CLAUDE_PEERS_MAX_UNREAD", "CLAUDE_PEERS_PORT"] {
            assert!(passed(name), "{name}");
        }
        for name in ["CLAUDE_PEERS_NAME", "CLAUDE_PEERS_CHANNEL", "OPENAI_API_KEY", "CLAUDE_PID"] {
            assert!(!passed(name), "{name}");
        }
    }

    #[test]
    fn a_servers_variables_are_places_and_a_name() {
        let all: Vec<&str> = server_variables().collect();
        assert_eq!(
            all,
            [
                "XDG_RUNTIME_DIR",
                "XDG_STATE_HOME",
                "XDG_CONFIG_HOME",
                "CLAUDE_PEERS_PORT",
                "CLAUDE_PEERS_DB",
                "CLAUDE_PEERS_SOCKET",
                "CLAUDE_PEERS_NAME",
            ]
        );
    }

    #[test]
    fn an_empty_variable_is_unset_and_no_value_is_printed() {
        let environment: Environment =
            [("A", ""), ("B", "secret"), ("C", "relative/path")].into_iter().collect();
        assert_eq!((environment.get("A"), environment.get("D")), (None, None));
        assert_eq!(environment.text("B").as_deref(), Some("secret"));
        assert_eq!(environment.absolute_path("C"), None);
        assert_eq!(format!("{environment:?}"), r#"{"A", "B", "C"}"#);
    }
}
