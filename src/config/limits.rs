//! Limits of the mailbox, as they can be set.

use std::time::Duration;

use crate::config::{ConfigError, file, number};

/// Limits of the mailbox; 0 is no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Messages a minute for each sender and recipient.
    pub messages_per_minute: u32,
    /// How many of these may come at once.
    pub burst: u32,
    /// Unread messages in one mailbox.
    pub max_unread: u32,
    /// Recipients of one message to a scope.
    pub max_recipients: u32,
    /// Bytes of one message; at most [`MAX_MESSAGE_BYTES`].
    pub max_message_bytes: u32,
    /// Characters of a summary.
    pub max_summary_chars: u32,
    /// How long a message is offered.
    pub time_to_live: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            messages_per_minute: 60,
            burst: 20,
            max_unread: 1_000,
            max_recipients: 50,
            max_message_bytes: 64 * 1024,
            max_summary_chars: 500,
            time_to_live: Duration::from_secs(7 * 24 * 60 * 60),
        }
    }
}

/// Reads the limits from environment and file.
pub(super) fn read(
    text: &dyn Fn(&str) -> Option<String>,
    file: &file::File,
) -> Result<Limits, ConfigError> {
    let default = Limits::default();
    let one = |name: &str, in_file: Option<u32>, default: u32| {
        Ok::<_, ConfigError>(number(name, text(name))?.or(in_file).unwrap_or(default))
    };
    let seconds =
        number("CLAUDE_PEERS_MESSAGE_TTL_SECONDS", text("CLAUDE_PEERS_MESSAGE_TTL_SECONDS"))?
            .or(file.limits.message_ttl_seconds);
    Ok(Limits {
        messages_per_minute: one(
            "CLAUDE_PEERS_MESSAGES_PER_MINUTE",
            file.limits.messages_per_minute,
            default.messages_per_minute,
        )?,
        burst: one("CLAUDE_PEERS_MESSAGE_BURST", file.limits.message_burst, default.burst)?,
        max_unread: one("CLAUDE_PEERS_MAX_UNREAD", file.limits.max_unread, default.max_unread)?,
        max_recipients: one(
            "CLAUDE_PEERS_MAX_RECIPIENTS",
            file.limits.max_recipients,
            default.max_recipients,
        )?,
        // Without a limit of its own the hard one holds.
        max_message_bytes: match one(
            "CLAUDE_PEERS_MAX_MESSAGE_BYTES",
            file.limits.max_message_bytes,
            default.max_message_bytes,
        )? {
            0 => MAX_MESSAGE_BYTES,
            bytes => bytes.min(MAX_MESSAGE_BYTES),
        },
        max_summary_chars: one(
            "CLAUDE_PEERS_MAX_SUMMARY_CHARS",
            file.limits.max_summary_chars,
            default.max_summary_chars,
        )?,
        time_to_live: match seconds {
            None => default.time_to_live,
            Some(0) => FOR_EVER,
            Some(seconds) => Duration::from_secs(seconds).min(FOR_EVER),
        },
    })
}

/// A time-to-live without end: a century.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What one request can carry whatever the settings say, in bytes: far above the default limit,
/// and low enough that no request can exhaust the broker's memory.
pub const MAX_MESSAGE_BYTES: u32 = 1024 * 1024;
