//! What a call knows of the session around it, beside what it asks for.
//!
//! It travels in a header and not in the body, because a broker of an earlier version refuses a
//! body with a field that it does not know, and looks at no header that it does not know.

use serde::{Deserialize, Serialize};

use crate::protocol::ProcessId;

/// The value of the header [`super::header::AROUND`], as JSON. What is absent is unknown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Around {
    /// Of a command line: that it runs inside a session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<Inside>,
    /// The name that the person gave the session in its client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The root of the git worktree that the session works in, canonical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
}

/// The session that a command line runs inside, as far as it can tell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// The session's id, as its client said when it started the shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The processes above the command line, nearest first.
    #[serde(default)]
    pub above: Vec<ProcessId>,
}

impl Around {
    /// Returns the header's value; `None` if there is nothing to say.
    #[must_use]
    pub fn to_header(&self) -> Option<Vec<u8>> {
        if *self == Self::default() {
            return None;
        }
        serde_json::to_vec(self).ok()
    }

    /// Returns what a header says; what is no such value says nothing.
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
        let around = Around::from_header(newer);
        assert_eq!(around.title.as_deref(), Some("x"));
        assert_eq!(around.inside.and_then(|inside| inside.session).as_deref(), Some("s"));
        for nothing in [&b""[..], b"[]", b"\xff", b"{\"title\": 1}"] {
            assert_eq!(Around::from_header(nothing), Around::default());
        }
        let around = Around { title: Some("支払い".to_owned()), ..Around::default() };
        assert_eq!(Around::from_header(&around.to_header().unwrap()), around);
        assert_eq!(Around::default().to_header(), None);
    }
}
