//! `claude-peers inbox`: what peers wrote to the command line.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::error::Failure;
use super::output::{Out, ago, cell};
use crate::client::Client;
use crate::protocol::mailbox::{Confirm, Delivery, Take};
use crate::text;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Bytes of text that are taken at once.
const PAGE: u64 = 1024 * 1024;

/// Prints all unread messages. They are read once they were printed, and not before.
pub async fn run(
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    loop {
        let taken = client.take(&Take { max_bytes: PAGE }).await?;
        if arguments.json {
            out.json(&json!({ "messages": taken.messages, "remaining": taken.remaining }))?;
        } else if taken.messages.is_empty() {
            out.line("No messages.")?;
        } else {
            for message in &taken.messages {
                print(message, out)?;
            }
        }
        out.flush()?;
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

fn print(message: &Delivery, out: &mut Out) -> Result<(), Failure> {
    let from = message.from_name.as_deref().unwrap_or("-");
    let answers = match &message.reply_to {
        Some(original) => format!(", answers {}", cell(original.as_str(), 40)),
        None => String::new(),
    };
    let repeat = if message.repeat { ", shown before" } else { "" };
    out.line(format!(
        "{}  from {} ({}), {} ago{answers}{repeat}",
        message.id,
        cell(from, 60),
        message.from_id,
        ago(message.sent_at)
    ))?;
    for line in text::terminal(&message.text).lines() {
        out.line(format!("  {line}"))?;
    }
    Ok(())
}
