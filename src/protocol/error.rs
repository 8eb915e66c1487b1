//! Refusals: a code for programs, a sentence for people, and a hint what to do.

use serde::{Deserialize, Serialize};

/// Why a call was refused. The HTTP status follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request itself is wrong: malformed, a field too many, an impossible value.
    BadRequest,
    /// No token, or a wrong one.
    Unauthorized,
    /// The session token is not known here, for example in a new database: register again.
    UnknownSession,
    /// The caller may not do this.
    Forbidden,
    /// No such peer, message or route.
    NotFound,
    /// A prefix that fits several peers.
    Ambiguous,
    /// The name belongs to another peer.
    NameTaken,
    /// Larger than the limit.
    TooLarge,
    /// Too many messages in a short time.
    RateLimited,
    /// The recipient has too many unread messages.
    MailboxFull,
    /// The idempotency key was used for another request.
    KeyReused,
    /// It was refused before, and later messages of the same batch are accepted already.
    OutOfOrder,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// Client and broker name different databases.
    SettingsDiffer,
    /// The client speaks a newer protocol than this broker.
    BrokerTooOld,
    /// The database could not be written: read-only, full, damaged.
    Storage,
    /// The broker is stopping: try again.
    ShuttingDown,
    /// A code of a later version.
    #[serde(other)]
    #[cfg_attr(test, schemars(skip))]
    Unknown,
}

/// The word on the wire.
impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

impl ErrorCode {
    /// Returns the HTTP status that carries this code.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized | Self::UnknownSession => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Ambiguous | Self::NameTaken | Self::SettingsDiffer | Self::OutOfOrder => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::KeyReused => 422,
            Self::BrokerTooOld => 426,
            Self::RateLimited | Self::MailboxFull => 429,
            Self::Storage | Self::ShuttingDown => 503,
            Self::Unknown => 500,
        }
    }
}

/// A refusal. The refused request has changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[error("{message}")]
pub struct ApiError {
    pub code: ErrorCode,
    /// What happened, one sentence.
    pub message: String,
    /// What to do about it, one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// For [`ErrorCode::Ambiguous`]: the peers that match. For an ended peer: the live peers in its
    /// directory. For a word that means no peer: those with similar names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// What was not found: each program has its own way to look for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
}

/// What a word means nothing of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// There is no such peer.
    Peer,
    /// There is no such message, or it is not the caller's to answer.
    Message,
    /// Something that a later version knows.
    #[serde(other)]
    #[cfg_attr(test, schemars(skip))]
    Unknown,
}

/// A peer that a word could mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Candidate {
    pub id: super::PeerId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default)]
    pub cwd: String,
}

impl ApiError {
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, candidates: Vec::new(), missing: None }
    }

    /// Returns the refusal of a broker that stops; the next broker will accept the call.
    #[must_use]
    pub fn stopping() -> Self {
        Self::new(ErrorCode::ShuttingDown, "the broker is stopping").hint("Try again.")
    }

    /// Says what was not found.
    #[must_use]
    pub const fn missing(mut self, what: Missing) -> Self {
        self.missing = Some(what);
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
