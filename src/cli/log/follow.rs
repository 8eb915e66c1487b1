//! Messages as they are sent.

use std::collections::HashSet;
use std::process::ExitCode;

use crate::cli::error::CliError;
use crate::cli::events::Events;
use crate::cli::log::arguments::Arguments;
use crate::cli::log::rows::{called, state};
use crate::cli::output::{Out, cell, id};
use crate::client::Client;
use crate::protocol::MessageId;
use crate::protocol::brief::Brief;
use crate::protocol::events::{MAX_RECENT, Observed};
use crate::protocol::messages::{ListMessages, Message, Party};

/// From this number of printed messages on, those are forgotten that no snapshot can have any more.
const MAX_PRINTED: usize = 20_000;

/// Prints the newest messages, and then each as it is sent. Returns only with an error, or when it is
/// interrupted.
pub async fn run(
    arguments: &Arguments,
    request: &ListMessages,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    // The stream is open before the newest are read, so that none is missed in between.
    let mut events = Events::open(client, MAX_RECENT).await?;
    let newest = client.messages(request).await?;
    // The command line's own peer, by which what it sent is known.
    let own = if arguments.sent && arguments.peer.is_none() {
        client.brief(&Brief::default()).await?.id.map(|id| id.to_string())
    } else {
        None
    };
    let peer = arguments.peer.clone().or(own);
    let mut printed: HashSet<MessageId> = HashSet::new();
    let mut latest = newest.messages.last().map(|message| message.sent_at);
    for message in &newest.messages {
        printed.insert(message.id.clone());
        print(arguments, message, out)?;
    }
    out.flush()?;
    loop {
        let messages = match events.next(client, out.messages()).await? {
            Observed::Message { message } => vec![*message],
            // What was sent while the stream was interrupted. What was there before was printed, or
            // is older than what was asked for.
            Observed::Snapshot { messages, .. } => messages,
            _ => continue,
        };
        for message in messages {
            let is_older = latest.is_some_and(|latest| message.sent_at < latest);
            if is_older || !fits(arguments, peer.as_deref(), &message) {
                continue;
            }
            if printed.len() > MAX_PRINTED {
                printed.clear();
            }
            if printed.insert(message.id.clone()) {
                latest = Some(message.sent_at);
                print(arguments, &message, out)?;
            }
        }
        out.flush()?;
    }
}

fn fits(arguments: &Arguments, peer: Option<&str>, message: &Message) -> bool {
    let Some(word) = peer else { return true };
    let is = |party: &Party| {
        party.id.as_str().starts_with(word)
            || party.name.as_deref().is_some_and(|name| name.starts_with(word))
    };
    is(&message.from) || (!arguments.sent && is(&message.to))
}

fn print(arguments: &Arguments, message: &Message, out: &mut Out) -> Result<(), CliError> {
    if arguments.is_json() {
        return Ok(out.json_line(message)?);
    }
    let when = out.clock_time(message.sent_at);
    let line = format!(
        "{when}  {}  {} → {}  {}  {}",
        id(&message.id),
        called(&message.from),
        called(&message.to),
        state(message).into_text(),
        cell(&message.text, 2_000),
    );
    Ok(out.fitted(&line)?)
}
