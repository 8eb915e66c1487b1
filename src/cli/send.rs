//! `claude-peers send`: a message from the command line.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::error::Failure;
use super::output::{Out, ago, aside};
use super::{INTERRUPTED, TIME_OVER};
use crate::client::Client;
use crate::config::MAX_MESSAGE_BYTES;
use crate::protocol::MessageId;
use crate::protocol::mailbox::{Answered, Confirm};
use crate::protocol::messages::{MessageState, SendMessage, Sent};
use crate::protocol::peers::Reachability;
use crate::text;

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
    /// Wait up to so many seconds for the answer, and print it alone. Exit status 124: none came
    /// in time. It then goes to the inbox
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    wait: Option<u64>,
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
        wait: arguments.wait.is_some(),
    };
    let sent = client.send(&request).await?;
    if let Some(seconds) = arguments.wait {
        return wait(&sent, Duration::from_secs(seconds), arguments.json, client, out).await;
    }
    if arguments.json {
        out.json(&sent)?;
    } else {
        out.line(format!("{} {} {}", sent.id, sent.state, standing(&sent)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the answer. It is read once it was printed, and not before.
async fn wait(
    sent: &Sent,
    limit: Duration,
    json: bool,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    // Standard output is for the answer.
    aside(&format!("{} {} {}", sent.id, sent.state, standing(sent)));
    let stays_sent = |failure: Failure| {
        failure
            .detail(format!("message {} is sent all the same", sent.id))
            .hint("An answer that comes later goes to `claude-peers inbox`.")
    };
    let answered = tokio::select! {
        answered = client.answer_to(&sent.id, limit) => {
            answered.map_err(|error| stays_sent(error.into()))?
        }
        _ = tokio::signal::ctrl_c() => {
            return Err(stays_sent(Failure::new("interrupted")).code(INTERRUPTED));
        }
    };
    let Answered { answer, state, since, via, to, .. } = answered;
    if json {
        out.json(&json!({
            "sent": sent, "answer": answer, "state": state, "since": since, "via": via, "to": to,
        }))?;
    }
    let Some(answer) = answer else {
        out.flush()?;
        let via = via.map(|via| format!(" by {via}")).unwrap_or_default();
        let failure = Failure::new(format!("no answer within {} s", limit.as_secs()));
        let failure = stays_sent(failure.code(TIME_OVER));
        return Err(failure.detail(format!("it is {state}{via}, {} ago", ago(since))));
    };
    if !json {
        out.line(text::terminal(&answer.text))?;
    }
    out.flush()?;
    client.confirm(&Confirm { ids: vec![answer.id] }).await?;
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
