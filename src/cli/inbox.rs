//! `claude-peers inbox`: what peers wrote to the command line or, in the shell of a session, to that.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cli::common::{MAX_WAIT_SECONDS, TIMED_OUT};
use crate::cli::error::Failure;
use crate::cli::output::{Out, ago, cell};
use crate::cli::shell_session;
use crate::client::Client;
use crate::protocol::mailbox::{Confirm, Delivery, Take};
use crate::text;

#[derive(Debug, Args)]
pub struct Arguments {
    /// If there is none, wait up to so many seconds for the next. Exit status 124: none came in time
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=MAX_WAIT_SECONDS))]
    wait: Option<u64>,
    /// Leave them unread: the next call shows them again
    #[arg(long)]
    peek: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Bytes of text that are taken at once.
const PAGE: u64 = 1024 * 1024;

/// Prints all unread messages. They are read once they were printed, and not before; by `--peek`
/// they never are.
pub async fn run(
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let mut wait = arguments.wait;
    let mut is_first = true;
    loop {
        let request = Take { max_bytes: PAGE };
        let waited = wait.take();
        let taken = match waited {
            Some(seconds) => client.take_within(&request, Duration::from_secs(seconds)).await?,
            None => client.take(&request).await?,
        };
        if std::mem::take(&mut is_first) {
            shell_session::note(client.config(), taken.owner.as_ref());
        }
        if arguments.json {
            out.json(&json!({ "messages": taken.messages, "remaining": taken.remaining }))?;
        }
        if let (Some(seconds), true) = (waited, taken.messages.is_empty()) {
            out.flush()?;
            return Err(Failure::new(format!("no message within {seconds} s")).code(TIMED_OUT));
        }
        if !arguments.json {
            print_all(&taken.messages, out)?;
            if arguments.peek && taken.remaining > 0 {
                out.line(format!(
                    "{} more; `claude-peers inbox` reads them all.",
                    taken.remaining
                ))?;
            }
        }
        out.flush()?;
        if arguments.peek {
            return Ok(ExitCode::SUCCESS);
        }
        let ids: Vec<_> = taken.messages.into_iter().map(|message| message.id).collect();
        if !ids.is_empty() {
            client.confirm(&Confirm { ids }).await?;
        }
        // A program gets one document and calls again.
        if taken.remaining == 0 || arguments.json {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn print_all(messages: &[Delivery], out: &mut Out) -> Result<(), Failure> {
    if messages.is_empty() {
        out.line("No messages.")?;
    }
    messages.iter().try_for_each(|message| print(message, out))
}

fn print(message: &Delivery, out: &mut Out) -> Result<(), Failure> {
    let from = message.from_name.as_deref().unwrap_or("-");
    let answers = match &message.reply_to {
        Some(original) => format!(", answers {}", cell(original.as_str(), 40)),
        None => String::new(),
    };
    let repeat = if message.repeat { ", shown before" } else { "" };
    let from = if message.from_id.is_broker() {
        "a notice of claude-peers".to_owned()
    } else {
        format!("from {} ({})", cell(from, 60), message.from_id)
    };
    let ago = ago(message.sent_at);
    out.line(format!("{}  {from}, {ago} ago{answers}{repeat}", message.id))?;
    for line in text::terminal(&message.text).lines() {
        out.line(format!("  {line}"))?;
    }
    Ok(())
}
