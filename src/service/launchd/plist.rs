//! The agent's property list: the template of this source tree with its placeholders filled in.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::config::{Config, DEFAULT_PORT, meeting_variables};
use crate::sys::files::same_place;

const TEMPLATE: &str = include_str!("../../../launchd/claude-peers.plist");

/// The value of an empty placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub program: PathBuf,
    pub socket: PathBuf,
    pub port: u16,
    pub log: PathBuf,
    pub session: SessionType,
    pub environment: Vec<(&'static str, String)>,
}

/// The kind of session in which launchd loads the agent at login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionType {
    /// The graphical session.
    Aqua,
    /// The background session of a user who is logged in only by ssh.
    Background,
}

impl SessionType {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Aqua => "Aqua",
            Self::Background => "Background",
        }
    }
}

/// Why no property list can be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} has a character that a property list cannot contain")]
pub struct Unfit(String);

impl Agent {
    /// Returns the agent for these settings, in the graphical session. It does not see a shell's
    /// variables, but must use the same paths as the sessions that were started from a shell.
    ///
    /// # Errors
    ///
    /// If a variable is not UTF-8.
    pub fn new(config: &Config, program: PathBuf) -> Result<Self, Unfit> {
        let mut environment = meeting_variables()
            .filter_map(|name| Some((name, config.environment.get(name)?)))
            .map(|(name, value)| Ok((name, value.to_os_string().into_string().map_err(unfit)?)))
            .collect::<Result<Vec<_>, Unfit>>()?;
        environment.sort_unstable();
        Ok(Self {
            program,
            socket: config.paths.socket.clone(),
            port: config.port,
            log: config.paths.log.clone(),
            session: SessionType::Aqua,
            environment,
        })
    }

    /// Returns the text of the property list.
    ///
    /// # Errors
    ///
    /// If a path contains a character that XML 1.0 cannot express.
    pub fn property_list(&self) -> Result<String, Unfit> {
        let mut environment = String::new();
        for (name, value) in &self.environment {
            // Writing to a string cannot fail.
            let _ = write!(
                environment,
                "\n\t\t<key>{name}</key>\n\t\t<string>{}</string>",
                xml(value)?
            );
        }
        if !environment.is_empty() {
            environment.push_str("\n\t");
        }
        let values = [
            ("LABEL", label(self.port)),
            ("PROGRAM", path(&self.program)?),
            ("ENVIRONMENT", environment),
            ("SOCKET", path(&self.socket)?),
            ("PORT", self.port.to_string()),
            ("LOG", path(&self.log)?),
            ("SESSION", self.session.as_str().to_owned()),
        ];
        // In one pass, so that a value that looks like a placeholder is not replaced.
        let mut parts = TEMPLATE.split('@');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            match values.iter().find(|(name, _)| *name == part) {
                Some((_, value)) => text.push_str(value),
                None => text.push_str(part),
            }
        }
        Ok(text)
    }
}

/// Returns the agent's label. Each port has a broker of its own, and so an agent of its own.
#[must_use]
pub fn label(port: u16) -> String {
    match port {
        DEFAULT_PORT => "claude-peers".to_owned(),
        other => format!("claude-peers-{other}"),
    }
}

/// Returns whether a property list was written by `service install` of any version.
#[must_use]
pub fn is_ours(text: &str) -> bool {
    text.contains("The broker of claude-peers as an agent of launchd")
}

/// Returns whether the agent with this property list listens on that socket, also under another name
/// of its path.
#[must_use]
pub fn serves(text: &str, socket: &Path) -> bool {
    let value = text.split("<key>SockPathName</key>").nth(1).and_then(|rest| {
        let (value, _) = rest.trim_start().strip_prefix("<string>")?.split_once("</string>")?;
        Some(
            value
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&amp;", "&"),
        )
    });
    value.is_some_and(|listens| same_place(Path::new(&listens), socket))
}

fn path(path: &Path) -> Result<String, Unfit> {
    xml(path.to_str().ok_or_else(|| unfit(path))?)
}

/// Escapes text as character data of XML 1.0, which cannot express most control characters.
fn xml(text: &str) -> Result<String, Unfit> {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            // A parser would convert a literal one into a line feed.
            '\r' => escaped.push_str("&#13;"),
            '\t' | '\n' => escaped.push(character),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => return Err(unfit(text)),
            _ => escaped.push(character),
        }
    }
    Ok(escaped)
}

fn unfit(text: impl AsRef<std::ffi::OsStr>) -> Unfit {
    Unfit(text.as_ref().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    fn agent() -> Agent {
        Agent {
            program: "/opt/homebrew/bin/claude-peers".into(),
            socket: "/Users/ann/run/broker.sock".into(),
            port: DEFAULT_PORT,
            log: "/Users/ann/Library/Logs/claude-peers/broker.log".into(),
            session: SessionType::Aqua,
            environment: Vec::new(),
        }
    }

    #[test]
    fn everything_is_filled_in() {
        let text = agent().property_list().unwrap();
        assert!(!text.contains('@'), "{text}");
        for string in [
            "claude-peers",
            "/opt/homebrew/bin/claude-peers",
            "/Users/ann/run/broker.sock",
            "7899",
            "/Users/ann/Library/Logs/claude-peers/broker.log",
        ] {
            assert!(text.contains(&format!("<string>{string}</string>")), "{string}\n{text}");
        }
        assert!(text.contains("<dict></dict>"), "an empty environment: {text}");
        assert!(is_ours(&text));
        assert!(serves(&text, Path::new("/Users/ann/run/broker.sock")));
        assert!(!serves(&text, Path::new("/Users/ann/run/broker")));
        assert!(!serves(&text, Path::new("/opt/homebrew/bin/claude-peers")));
    }

    #[test]
    fn values_are_escaped_and_never_taken_for_placeholders() {
        let odd = Agent {
            program: "/Users/a & <b>/@LOG@".into(),
            port: 7900,
            environment: vec![("XDG_STATE_HOME", "/x & y".to_owned())],
            ..agent()
        };
        let text = odd.property_list().unwrap();
        assert!(text.contains("<string>/Users/a &amp; &lt;b&gt;/@LOG@</string>"), "{text}");
        assert!(text.contains("<string>claude-peers-7900</string>"), "{text}");
        assert!(
            text.contains("<key>XDG_STATE_HOME</key>\n\t\t<string>/x &amp; y</string>\n"),
            "{text}"
        );
    }

    #[test]
    fn what_xml_cannot_express_is_refused() {
        for odd in [OsStr::new("/a\u{1}b"), OsStr::from_bytes(b"/a\xff")] {
            let agent = Agent { program: odd.into(), ..agent() };
            let error = agent.property_list().unwrap_err().to_string();
            assert!(error.contains("/a"), "{error}");
        }
    }

    #[test]
    fn variables_that_name_places_go_along() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().to_str().unwrap();
        let environment = [
            ("HOME", dir),
            ("XDG_STATE_HOME", dir),
            ("CLAUDE_PEERS_DB", ""),
            ("OPENAI_API_KEY", "secret"),
        ];
        let config = Config::from_environment(&environment.into_iter().collect()).unwrap();
        let agent = Agent::new(&config, "/bin/claude-peers".into()).unwrap();
        assert_eq!(agent.environment, [("XDG_STATE_HOME", dir.to_owned())]);
        assert_eq!(agent.socket, config.paths.socket);
    }
}
