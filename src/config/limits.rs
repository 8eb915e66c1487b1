//! The limits of the mailbox that can be set.

use std::time::Duration;

use crate::config::settings::{MAX_MESSAGE_BYTES, SettingId};
use crate::config::values::Values;

/// The limits of the mailbox; 0 means no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Messages a minute from one sender to one recipient.
    pub messages_per_minute: u32,
    /// How many messages may come at once within that rate.
    pub burst: u32,
    /// Short messages that two sessions may exchange in turn without a person or other work.
    pub loop_messages: u32,
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
    /// How long messages stay in the history once they are not unread; `None` is for ever.
    pub keep_messages_for: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self::of(&Values::defaults())
    }
}

impl Limits {
    pub(super) fn of(values: &Values) -> Self {
        Self {
            messages_per_minute: values.bounded(SettingId::MessagesPerMinute),
            burst: values.bounded(SettingId::MessageBurst),
            loop_messages: values.bounded(SettingId::LoopMessages),
            max_unread: values.bounded(SettingId::MaxUnread),
            max_recipients: values.bounded(SettingId::MaxRecipients),
            // Without a set limit the fixed one applies.
            max_message_bytes: match values.bounded(SettingId::MaxMessageBytes) {
                0 => MAX_MESSAGE_BYTES,
                bytes => MAX_MESSAGE_BYTES.min(bytes),
            },
            max_summary_chars: values.bounded(SettingId::MaxSummaryChars),
            time_to_live: match values.number(SettingId::MessageTtlSeconds) {
                0 => FOR_EVER,
                seconds => Duration::from_secs(seconds).min(FOR_EVER),
            },
            keep_messages_for: match values.number(SettingId::KeepDays) {
                0 => None,
                days => Some(Duration::from_secs(days.saturating_mul(24 * 60 * 60))),
            },
        }
    }
}

/// The time to live that stands for no limit: a century.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
