//! What the states of messages and peers mean: one word and one line for each.
//!
//! The command line, its help, the man pages and the tools take them from here, and JSON has the same
//! words: a state is called the same wherever it is shown.

use crate::protocol::messages::{MessageState, Via};
use crate::protocol::peers::Reachability;

/// What the states of a message mean.
pub const MESSAGE_STATES: [MessageState; 5] = [
    MessageState::Queued,
    MessageState::Offered,
    MessageState::Read,
    MessageState::Unconfirmed,
    MessageState::Expired,
];

/// The ways of a message.
pub const WAYS: [Via; 5] = [Via::Channel, Via::Hook, Via::Tool, Via::Reply, Via::Cli];

/// How a live peer can be reached.
pub const WAYS_TO_REACH: [Reachability; 5] = [
    Reachability::ChannelProven,
    Reachability::ChannelPresumed,
    Reachability::Hooks,
    Reachability::Tools,
    Reachability::Inbox,
];

impl MessageState {
    /// What it means.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Queued => "stored; not offered to the recipient yet",
            Self::Offered => "handed to the recipient; not known yet whether its model saw it",
            Self::Read => "there is evidence that the recipient's model saw it",
            Self::Unconfirmed => "offered, and never confirmed until its time to live ended",
            Self::Expired => "its time to live ended before it could be offered",
            Self::Unknown => "a state of a later version",
        }
    }
}

impl Via {
    /// What it means.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Channel => "pushed into the session",
            Self::Hook => "shown by one of Claude Code's hooks",
            Self::Tool => "in the result of a claude-peers tool",
            Self::Reply => "answered by a message that names it",
            Self::Cli => "printed by `claude-peers inbox`",
            Self::Unknown => "a way of a later version",
        }
    }
}

impl Reachability {
    /// Returns this, or for a way of a later version the one that promises least.
    #[must_use]
    pub const fn known(self) -> Self {
        match self {
            Self::Unknown => Self::Away,
            known => known,
        }
    }

    /// Returns the word in JSON and in the tools' results.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChannelProven => "channel_proven",
            Self::ChannelPresumed => "channel_presumed",
            Self::Hooks => "hooks",
            Self::Tools => "tools",
            Self::Away => "away",
            Self::Ended => "ended",
            Self::Inbox => "inbox",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the word in a column of a table: short, with `?` for what is not proven.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Self::ChannelProven => "channel",
            Self::ChannelPresumed => "channel?",
            Self::Away | Self::Ended | Self::Unknown => "-",
            other => other.as_str(),
        }
    }

    /// What it means for a message.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ChannelProven => "gets pushes",
            Self::ChannelPresumed => "is pushed to; not known whether it is shown",
            Self::Hooks => "its hooks show messages at its next step",
            Self::Tools => "sees messages when it calls a claude-peers tool",
            Self::Inbox => "a person at the command line",
            Self::Away => "not live; messages wait for it",
            Self::Ended => "cannot come back",
            Self::Unknown => "a way of a later version",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_words_that_people_read() {
        let all = WAYS_TO_REACH.into_iter().chain([Reachability::Away, Reachability::Ended]);
        for reach in all {
            assert_eq!(serde_json::to_value(reach).unwrap(), reach.as_str());
            let short = reach.short().trim_end_matches('?');
            assert!(reach.as_str().starts_with(short) || short == "-", "{reach:?}");
        }
        for state in MESSAGE_STATES {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        for via in WAYS {
            assert_eq!(serde_json::to_value(via).unwrap(), via.as_str());
        }
    }
}
