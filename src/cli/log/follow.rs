//! Messages as they are sent.

use std::collections::HashSet;
use std::process::ExitCode;

use crate::cli::error::CliError;
use crate::cli::events::Events;
use crate::cli::log::arguments::Arguments;
use crate::cli::log::rows::{called, state};
use crate::cli::output::{Out, cell, id};
use crate::client::Client;
use crate::protocol::events::{MAX_RECENT, Observed};
use crate::protocol::messages::{ListMessages, Message};
use crate::protocol::{MessageId, PeerId};

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
    // Ids of messages that were sent at `latest`: what is older is not printed again.
    let mut latest = newest.messages.last().map(|message| message.sent_at).or(request.since);
    let mut printed: HashSet<MessageId> =
        newest.messages.iter().map(|message| message.id.clone()).collect();
    newest.messages.iter().try_for_each(|message| print(arguments, message, out))?;
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
            if is_older || !fits(arguments, newest.peer.as_ref(), &message) {
                continue;
            }
            if latest != Some(message.sent_at) {
                printed.clear();
                latest = Some(message.sent_at);
            }
            if printed.insert(message.id.clone()) {
                print(arguments, &message, out)?;
            }
        }
        out.flush()?;
    }
}

fn fits(arguments: &Arguments, peer: Option<&PeerId>, message: &Message) -> bool {
    peer.is_none_or(|peer| message.from.id == *peer || (!arguments.sent && message.to.id == *peer))
}

fn print(arguments: &Arguments, message: &Message, out: &mut Out) -> Result<(), CliError> {
    if arguments.json {
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
