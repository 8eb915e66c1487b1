//! What `claude-peers log` is asked for.

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use crate::cli::{complete, legend, moment};
use crate::protocol::messages::{DEFAULT_LIMIT, ListMessages, MessageState};
use crate::protocol::{MessageId, Timestamp};

/// How many a search, a thread or an export has at most.
const MOST: u32 = 10_000;

#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  claude-peers log --search \"orders api\" --since 2d
  claude-peers log --follow
  claude-peers log --peer backend --export markdown > backend.md

{}", legend::of_messages()))]
pub struct Arguments {
    /// Show the message with this id, or the only one whose id begins so, in full
    #[arg(add = ArgValueCompleter::new(complete::messages))]
    pub message: Option<String>,
    /// Show only the newest LIMIT messages [default: 20; all that fit, with --export or --thread]
    #[arg(long, short = 'n', value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// Show only messages with all of these words; "in quotes": exactly so; the last may be the
    /// beginning of a word
    #[arg(long, short = 's', value_name = "TEXT", help_heading = "Which messages")]
    pub search: Option<String>,
    /// Show only messages from or to this peer
    #[arg(long, value_name = "PEER", help_heading = "Which messages", add = ArgValueCompleter::new(complete::peers))]
    pub peer: Option<String>,
    /// Show the message with this id, what it answers, and what answers it
    #[arg(long, value_name = "MESSAGE", add = ArgValueCompleter::new(complete::messages), help_heading = "Which messages", conflicts_with_all = ["message", "search", "peer", "sent"])]
    pub thread: Option<String>,
    /// Show only messages sent since then: a duration like 2h or 3d, a date, or a time
    #[arg(long, value_name = "WHEN", value_parser = moment::parse, help_heading = "Which messages")]
    pub since: Option<Timestamp>,
    /// Show only messages sent before then
    #[arg(long, value_name = "WHEN", value_parser = moment::parse, help_heading = "Which messages")]
    pub until: Option<Timestamp>,
    /// Show only messages in these states: queued, offered, read, expired, unconfirmed
    #[arg(
        long,
        value_name = "STATE",
        value_delimiter = ',',
        hide_possible_values = true,
        help_heading = "Which messages"
    )]
    pub state: Vec<State>,
    /// Show only messages sent by the command line (in a session's shell: by that session; with
    /// --peer: by that peer), with the state of each, when it got that state, and how it was
    /// delivered
    #[arg(long, help_heading = "Which messages")]
    pub sent: bool,
    /// Keep printing messages as they are sent
    #[arg(long, short, conflicts_with_all = ["message", "search", "thread", "until", "state", "export"])]
    pub follow: bool,
    /// Print the messages in full, as a document or as one JSON object a line
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    pub export: Option<Export>,
    /// Print JSON: one object a line for each message
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    Queued,
    Offered,
    Read,
    Expired,
    Unconfirmed,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Queued => MessageState::Queued,
            Self::Offered => MessageState::Offered,
            Self::Read => MessageState::Read,
            Self::Expired => MessageState::Expired,
            Self::Unconfirmed => MessageState::Unconfirmed,
        }
        .as_str()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Export {
    Markdown,
    Jsonl,
}

impl Arguments {
    /// Returns the request for these messages.
    pub fn request(&self) -> ListMessages {
        let takes_all = self.export.is_some() || self.thread.is_some();
        let usual = if takes_all { MOST } else { DEFAULT_LIMIT };
        let states: Vec<&str> = self.state.iter().map(|state| state.word()).collect();
        ListMessages {
            limit: self.limit.unwrap_or(usual),
            peer: self.peer.clone(),
            id: self.message.as_deref().map(MessageId::from_text),
            sent: self.sent,
            search: self.search.clone(),
            since: self.since,
            until: self.until,
            state: Some(states.join(",")).filter(|states| !states.is_empty()),
            thread: self.thread.as_deref().map(MessageId::from_text),
            ..ListMessages::default()
        }
    }
}
