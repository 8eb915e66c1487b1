//! `claude-peers log`: prints recent messages and their status.

use std::process::ExitCode;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use crate::cli::complete;
use crate::cli::error::CliError;
use crate::cli::output::table::{Cell, Column};
use crate::cli::output::{Out, cell, id};
use crate::client::Client;
use crate::protocol::MessageId;
use crate::protocol::messages::{ListMessages, Message, Party};
use crate::text;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Show the message with this id in full
    #[arg(add = ArgValueCompleter::new(complete::messages))]
    message: Option<String>,
    /// Show only the newest LIMIT messages
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Show only messages from or to this peer
    #[arg(long, value_name = "PEER", add = ArgValueCompleter::new(complete::peers))]
    peer: Option<String>,
    /// Show only messages sent by the command line (in a session's shell: by that session; with
    /// --peer: by that peer), with the state of each, when it got
    /// that state, and how it was delivered
    #[arg(long, conflicts_with = "message")]
    sent: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let request = ListMessages {
        limit: arguments.limit,
        peer: arguments.peer.clone(),
        id: arguments.message.as_deref().map(MessageId::from_text),
        sent: arguments.sent,
    };
    let list = client.messages(&request).await?;
    if arguments.json {
        out.json(&list)?;
    } else if arguments.message.is_some() {
        out.page()?;
        for message in &list.messages {
            in_full(message, out)?;
        }
    } else if arguments.sent {
        out.page()?;
        let rows = list.messages.iter().map(|message| sent_row(message, out)).collect();
        out.table(&SENT_COLUMNS, rows)?;
    } else {
        out.page()?;
        let rows = list.messages.iter().map(|message| row(message, out)).collect();
        out.table(&COLUMNS, rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: [Column; 6] = [
    Column::whole("ID"),
    Column::whole("SENT"),
    Column::text("FROM", 8),
    Column::text("TO", 8),
    Column::whole("STATE"),
    Column::text("TEXT", 20),
];

/// The columns of `--sent`.
const SENT_COLUMNS: [Column; 6] = [
    Column::whole("ID"),
    Column::whole("SENT"),
    Column::text("TO", 8),
    Column::whole("STATE"),
    Column::whole("SINCE"),
    Column::text("TEXT", 20),
];

fn called(party: &Party) -> String {
    // A sender such as "backend (by its command line)" must stay one column.
    cell(party.name.as_deref().unwrap_or(party.id.as_str()), 60).replace(' ', "_")
}

/// Returns "read,tool", "offered,channel", "queued" and the like.
fn state(message: &Message) -> String {
    let via = message.read_via.or(message.offered_via);
    via.map_or_else(|| message.state.to_string(), |via| format!("{},{via}", message.state))
}

fn row(message: &Message, out: &Out) -> Vec<Cell> {
    vec![
        id(&message.id).into(),
        out.when(message.sent_at).into(),
        called(&message.from).into(),
        called(&message.to).into(),
        state(message).into(),
        cell(&message.text, 80).into(),
    ]
}

fn sent_row(message: &Message, out: &Out) -> Vec<Cell> {
    let (since, _) = message.standing();
    vec![
        id(&message.id).into(),
        out.when(message.sent_at).into(),
        called(&message.to).into(),
        state(message).into(),
        out.when(since).into(),
        cell(&message.text, 80).into(),
    ]
}

fn in_full(message: &Message, out: &mut Out) -> Result<(), CliError> {
    let party =
        |p: &Party| format!("{} ({})", cell(p.name.as_deref().unwrap_or_default(), 60), id(&p.id));
    out.line(format!("message  {}", id(&message.id)))?;
    out.line(format!("from     {}", party(&message.from)))?;
    out.line(format!("to       {}", party(&message.to)))?;
    if let Some(original) = &message.reply_to {
        out.line(format!("answers  {}", cell(original.as_str(), 40)))?;
    }
    out.line(format!("sent     {}", message.sent_at))?;
    for (what, at, via) in [
        ("offered", message.offered_at, message.offered_via),
        ("read", message.read_at, message.read_via),
    ] {
        if let Some(at) = at {
            let via = via.map(|via| format!(" by {via}")).unwrap_or_default();
            out.line(format!("{what:8} {at}{via}"))?;
        }
    }
    out.line(format!("state    {}", message.state))?;
    out.line("")?;
    out.line(text::terminal(&message.text))?;
    Ok(())
}
