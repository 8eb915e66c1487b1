//! The context of a call: what the caller knows of its session, beside the request itself.
//!
//! It is sent in a header and not in the body, because a broker of an earlier version refuses a body
//! with an unknown field, but ignores an unknown header.

use serde::{Deserialize, Serialize};

use crate::protocol::ProcessId;

/// The value of the header [`super::header::CONTEXT`], as JSON. An absent field is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CallerContext {
    /// The session in whose shell a command line runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<ShellSession>,
    /// The name that the person gave the session in its client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The root of the git worktree that the session works in, canonical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
}

/// The session in whose shell a command line runs, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ShellSession {
    /// The session's id, from the environment that its client gave the shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The processes above the command line, nearest first.
    #[serde(default)]
    pub above: Vec<ProcessId>,
}

impl CallerContext {
    /// Returns the header's value; `None` if nothing is known.
    #[must_use]
    pub fn to_header(&self) -> Option<Vec<u8>> {
        if *self == Self::default() {
            return None;
        }
        serde_json::to_vec(self).ok()
    }

    /// Reads a header; a value that is not valid counts as absent.
    #[must_use]
    pub fn from_header(value: &[u8]) -> Self {
        serde_json::from_slice(value).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_of_another_version_says_what_it_can() {
        let newer = br#"{"title": "x", "weather": [1], "inside": {"session": "s", "more": {}}}"#;
        let around = CallerContext::from_header(newer);
        assert_eq!(around.title.as_deref(), Some("x"));
        assert_eq!(around.inside.and_then(|inside| inside.session).as_deref(), Some("s"));
        for nothing in [&b""[..], b"[]", b"\xff", b"{\"title\": 1}"] {
            assert_eq!(CallerContext::from_header(nothing), CallerContext::default());
        }
        let around =
            CallerContext { title: Some("支払い".to_owned()), ..CallerContext::default() };
        assert_eq!(CallerContext::from_header(&around.to_header().unwrap()), around);
        assert_eq!(CallerContext::default().to_header(), None);
    }
}
