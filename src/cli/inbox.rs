//! `claude-peers inbox`: prints the messages to the command line or, in a session's shell, to that
//! session.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::cli::common::{MAX_WAIT_SECONDS, TIMED_OUT};
use crate::cli::error::CliError;
use crate::cli::output::look::Ink;
use crate::cli::output::{Out, cell, id};
use crate::cli::shell_session;
use crate::client::Client;
use crate::protocol::mailbox::{Confirm, Delivery, Take};
use crate::protocol::{MessageId, PeerId, Timestamp};
use crate::text;

#[derive(Debug, Args)]
pub struct Arguments {
    /// If there are no unread messages, wait up to SECONDS for one; exit status 124 if none comes
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=MAX_WAIT_SECONDS))]
    wait: Option<u64>,
    /// Leave the messages unread, so that the next call shows them again
    #[arg(long)]
    peek: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The number of bytes of text that are taken at once.
const PAGE: u64 = 1024 * 1024;

/// A message that was received, as JSON has it: like one of `log`, as far as its receiver knows it.
#[derive(Debug, Serialize)]
pub struct Received<'a> {
    id: &'a MessageId,
    from: Sender<'a>,
    sent_at: Timestamp,
    text: &'a str,
    reply_to: Option<&'a MessageId>,
    /// An earlier receiver was offered it, so it may have been read already.
    repeat: bool,
    /// It was pushed to this session, so it may have been read already.
    already_pushed: bool,
}

#[derive(Debug, Serialize)]
struct Sender<'a> {
    id: &'a PeerId,
    name: Option<&'a str>,
    cwd: &'a str,
    summary: &'a str,
}

impl<'a> From<&'a Delivery> for Received<'a> {
    fn from(message: &'a Delivery) -> Self {
        Self {
            id: &message.id,
            from: Sender {
                id: &message.from_id,
                name: message.from_name.as_deref(),
                cwd: &message.from_cwd,
                summary: &message.from_summary,
            },
            sent_at: message.sent_at,
            text: &message.text,
            reply_to: message.reply_to.as_ref(),
            repeat: message.repeat,
            already_pushed: message.already_pushed,
        }
    }
}

/// Prints all unread messages, and confirms them once they are printed. With `--peek` they are not
/// confirmed.
pub async fn run(
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let mut wait = arguments.wait;
    let mut is_first = true;
    loop {
        let request = Take { max_bytes: PAGE };
        let waited = wait.take();
        let taken = match waited {
            Some(seconds) => client.take_within(&request, Duration::from_secs(seconds)).await?,
            None => client.take(&request).await?,
        };
        failpoint!("cli.inbox.taken");
        if std::mem::take(&mut is_first) {
            shell_session::note_if_unknown(client.config(), taken.owner.as_ref(), out.messages());
        }
        if arguments.json {
            let messages: Vec<Received> = taken.messages.iter().map(Received::from).collect();
            out.json(&json!({ "messages": messages, "remaining": taken.remaining }))?;
        }
        if let (Some(seconds), true) = (waited, taken.messages.is_empty()) {
            out.flush()?;
            return Err(CliError::new(format!("no message came within {seconds} s"))
                .code("timed_out")
                .exit(TIMED_OUT));
        }
        if !arguments.json {
            print_all(&taken.messages, out)?;
            if arguments.peek && taken.remaining > 0 {
                let more = taken.remaining;
                out.wrapped(0, format!("{more} more; `claude-peers inbox` shows them all."))?;
            }
        }
        out.flush()?;
        failpoint!("cli.inbox.printed");
        if arguments.peek {
            return Ok(ExitCode::SUCCESS);
        }
        let ids: Vec<_> = taken.messages.into_iter().map(|message| message.id).collect();
        if !ids.is_empty() {
            client.confirm(&Confirm { ids }).await?;
            failpoint!("cli.inbox.confirmed");
        }
        // A program gets one JSON document and calls again.
        if taken.remaining == 0 || arguments.json {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn print_all(messages: &[Delivery], out: &mut Out) -> Result<(), CliError> {
    if messages.is_empty() {
        out.line("No messages.")?;
    }
    messages.iter().try_for_each(|message| print(message, out))
}

fn print(message: &Delivery, out: &mut Out) -> Result<(), CliError> {
    let from = message.from_name.as_deref().unwrap_or("-");
    let answers = match &message.reply_to {
        Some(original) => format!(", in reply to {}", cell(original.as_str(), 40)),
        None => String::new(),
    };
    let repeat = if message.repeat { ", shown before" } else { "" };
    let from = if message.from_id.is_broker() {
        "notice from claude-peers".to_owned()
    } else {
        format!("from {} ({})", cell(from, 60), id(&message.from_id))
    };
    let when = out.when(message.sent_at);
    let beginning = out.look().paint(Ink::Typed, &id(&message.id));
    let from = out.look().paint(Ink::Strong, &from);
    out.painted(format!("{beginning}  {from}, {when}{answers}{repeat}"))?;
    for line in text::terminal(&message.text).lines() {
        out.after("  ", 2, line)?;
    }
    Ok(())
}
