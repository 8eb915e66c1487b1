//! `claude-peers log`: prints messages and their status, finds them, and follows them.

mod export;
mod follow;
mod full;
mod rows;

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use crate::cli::complete;
use crate::cli::error::CliError;
use crate::cli::moment;
use crate::cli::output::Out;
use crate::client::Client;
use crate::protocol::messages::{ListMessages, MessageList, MessageState};
use crate::protocol::{MessageId, Timestamp};

/// How many messages are shown if nothing else is asked for.
const USUAL_LIMIT: u32 = 20;

/// How many a search, a thread or an export has at most.
const MOST: u32 = 10_000;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Show the message with this id, or the only one whose id begins so, in full
    #[arg(add = ArgValueCompleter::new(complete::messages))]
    message: Option<String>,
    /// Show only the newest LIMIT messages [default: 20; all that fit, with --export or --thread]
    #[arg(long, short = 'n', value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Show only messages with all of these words; "in quotes": exactly so; the last may be the
    /// beginning of a word
    #[arg(long, short = 's', value_name = "TEXT", help_heading = "Which messages")]
    search: Option<String>,
    /// Show only messages from or to this peer
    #[arg(long, value_name = "PEER", help_heading = "Which messages", add = ArgValueCompleter::new(complete::peers))]
    peer: Option<String>,
    /// Show the message with this id, what it answers, and what answers it
    #[arg(long, value_name = "MESSAGE", add = ArgValueCompleter::new(complete::messages), help_heading = "Which messages", conflicts_with_all = ["message", "search", "peer", "sent"])]
    thread: Option<String>,
    /// Show only messages sent since then: a duration like 2h or 3d, a date, or a time
    #[arg(long, value_name = "WHEN", value_parser = moment::parse, help_heading = "Which messages")]
    since: Option<Timestamp>,
    /// Show only messages sent before then
    #[arg(long, value_name = "WHEN", value_parser = moment::parse, help_heading = "Which messages")]
    until: Option<Timestamp>,
    /// Show only messages in these states: queued, offered, read, expired, unconfirmed
    #[arg(
        long,
        value_name = "STATE",
        value_delimiter = ',',
        hide_possible_values = true,
        help_heading = "Which messages"
    )]
    state: Vec<State>,
    /// Show only messages sent by the command line (in a session's shell: by that session; with
    /// --peer: by that peer), with the state of each, when it got that state, and how it was
    /// delivered
    #[arg(long, help_heading = "Which messages")]
    sent: bool,
    /// Keep printing messages as they are sent
    #[arg(long, short, conflicts_with_all = ["message", "search", "thread", "until", "state", "export"])]
    follow: bool,
    /// Print the messages in full, as a document or as one JSON object a line
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    export: Option<Export>,
    /// Print JSON: one object a line for each message
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub const fn is_json(&self) -> bool {
        self.json
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
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
enum Export {
    Markdown,
    Jsonl,
}

pub async fn run(
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let request = request(arguments);
    if arguments.follow {
        return follow::run(arguments, &request, client, out).await;
    }
    let list = client.messages(&request).await?;
    match arguments.export {
        Some(Export::Markdown) => export::markdown(&list.messages, out)?,
        Some(Export::Jsonl) => json_lines(&list, out)?,
        None if arguments.json => json_lines(&list, out)?,
        None => {
            out.page()?;
            print(arguments, &list, out)?;
        }
    }
    remarks(arguments, &list, out);
    Ok(ExitCode::SUCCESS)
}

fn request(arguments: &Arguments) -> ListMessages {
    let takes_all = arguments.export.is_some() || arguments.thread.is_some();
    let usual = if takes_all { MOST } else { USUAL_LIMIT };
    let states: Vec<&str> = arguments.state.iter().map(|state| state.word()).collect();
    ListMessages {
        limit: arguments.limit.unwrap_or(usual),
        peer: arguments.peer.clone(),
        id: arguments.message.as_deref().map(MessageId::from_text),
        sent: arguments.sent,
        search: arguments.search.clone(),
        since: arguments.since,
        until: arguments.until,
        state: Some(states.join(",")).filter(|states| !states.is_empty()),
        thread: arguments.thread.as_deref().map(MessageId::from_text),
        ..ListMessages::default()
    }
}

fn print(arguments: &Arguments, list: &MessageList, out: &mut Out) -> Result<(), CliError> {
    if arguments.message.is_some() {
        for message in &list.messages {
            full::print(message, out)?;
        }
    } else if list.messages.is_empty() && out.is_terminal() {
        out.line("No messages.")?;
    } else if arguments.thread.is_some() {
        rows::thread(&list.messages, out)?;
    } else if arguments.sent {
        rows::sent(&list.messages, out)?;
    } else {
        rows::all(&list.messages, out)?;
    }
    Ok(())
}

fn json_lines(list: &MessageList, out: &mut Out) -> Result<(), CliError> {
    for message in &list.messages {
        out.json_line(message)?;
    }
    Ok(())
}

/// Says what is not shown.
fn remarks(arguments: &Arguments, list: &MessageList, out: &Out) {
    if list.unindexed > 0 {
        out.messages().note(&format!(
            "{} messages are not searched yet: their words are being indexed.",
            list.unindexed
        ));
    }
    if list.next.is_some() && arguments.message.is_none() && out.is_terminal() {
        let limit = arguments.limit.unwrap_or(USUAL_LIMIT).saturating_mul(5);
        out.messages().note(&format!("There are older messages (-n {limit} shows more)."));
    }
}
