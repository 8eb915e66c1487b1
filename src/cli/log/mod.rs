//! `claude-peers log`: prints messages and their status, finds them, and follows them.

mod arguments;
mod export;
mod follow;
mod full;
mod rows;

use std::process::ExitCode;

use crate::cli::error::CliError;
use crate::cli::output::Out;
use crate::client::Client;
use crate::protocol::messages::MessageList;

use arguments::Export;

pub use arguments::Arguments;

pub async fn run(
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let request = arguments.request();
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
    remarks(arguments, request.limit, &list, out);
    Ok(ExitCode::SUCCESS)
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
fn remarks(arguments: &Arguments, limit: u32, list: &MessageList, out: &Out) {
    if list.unindexed > 0 {
        out.messages().note(&format!(
            "{} messages are not searched yet: their words are being indexed.",
            list.unindexed
        ));
    }
    if list.next.is_some() && arguments.message.is_none() && out.is_terminal() {
        let limit = limit.saturating_mul(5);
        out.messages().note(&format!("There are older messages (-n {limit} shows more)."));
    }
}
