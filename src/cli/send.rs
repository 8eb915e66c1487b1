//! `claude-peers send`: a message from the command line.

use std::io::Read as _;
use std::process::ExitCode;

use clap::Args;

use super::error::Failure;
use super::output::Out;
use crate::client::Client;
use crate::config::MAX_MESSAGE_BYTES;
use crate::protocol::MessageId;
use crate::protocol::messages::{MessageState, SendMessage, Sent};
use crate::protocol::peers::Reachability;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The peer: its id, its name, or an unambiguous prefix of either
    peer: String,
    /// The text; several words are joined by spaces; `-` reads standard input. Text that begins
    /// with a dash stands behind `--`
    #[arg(required = true)]
    text: Vec<String>,
    /// The message that this one answers
    #[arg(long, value_name = "MESSAGE")]
    reply_to: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let text = match arguments.text.as_slice() {
        [dash] if dash == "-" => standard_input()?,
        words => words.join(" "),
    };
    let request = SendMessage {
        to: arguments.peer.clone(),
        text,
        reply_to: arguments.reply_to.as_deref().map(MessageId::from_text),
        from_session: client.config().claude.session.clone(),
    };
    let sent = client.send(&request).await?;
    if arguments.json {
        out.json(&sent)?;
    } else {
        out.line(format!("{} {} {}", sent.id, sent.state, standing(&sent)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn standing(sent: &Sent) -> String {
    let name = sent.to.name.as_deref().unwrap_or(sent.to.id.as_str());
    let how = match (sent.state, sent.to.reach) {
        (MessageState::Offered, Reachability::ChannelProven) => {
            "pushed; pushes have arrived there before"
        }
        (_, Reachability::Hooks) => "live; its hooks show it with its next step",
        (MessageState::Offered, _) => "pushed; whether it is shown is not known",
        (_, Reachability::Away) => "away; the message waits for it",
        (_, Reachability::Tools) => "live; it sees mail when it calls a tool",
        (_, Reachability::Inbox) => "waits in the inbox",
        (_, _) => "waits behind earlier messages",
    };
    format!("to {name} ({}): {how}", sent.to.id)
}

fn standard_input() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    // One byte more than any limit, so that the broker can say what the limit is.
    std::io::stdin().lock().take(u64::from(MAX_MESSAGE_BYTES) + 1).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::new("standard input is not UTF-8 text").hint("Send the path of the file instead.")
    })?;
    Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
}
