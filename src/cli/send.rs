//! `claude-peers send`: sends a message from the command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cli::common::{INTERRUPTED, MAX_WAIT_SECONDS, TIMED_OUT, WRONG_USAGE};
use crate::cli::error::CliError;
use crate::cli::output::{Out, ago, cell, id};
use crate::cli::scope::{ScopeArgument, ScopeContext};
use crate::cli::{message, shell_session};
use crate::client::{Client, ClientError};
use crate::protocol::MessageId;
use crate::protocol::mailbox::{Answered, Confirm};
use crate::protocol::messages::{MessageState, Outcome, SendMessage, SendToScope, Sent};
use crate::protocol::peers::{Peer, Reachability};
use crate::protocol::scope::Scope;
use crate::text;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The recipient: its id, its name, or an unambiguous prefix of either. With --scope, leave it
    /// out and give only the text
    #[arg(required_unless_present = "scope")]
    peer: Option<String>,
    /// The text; several words are joined by spaces; `-` reads standard input. Put `--` before text
    /// that could be taken for an option. Other users of the machine can read a command line while it
    /// runs: give a secret by `-` or --file
    #[arg(required_unless_present_any = ["scope", "file"])]
    text: Vec<String>,
    /// Send the contents of this file instead of TEXT; `-` is standard input
    #[arg(long, value_name = "PATH", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// Send to all live sessions on this machine, in this directory, or in this git repository.
    /// Prints one line per recipient; exit status 1 if the message was not stored for all of them
    #[arg(long, value_enum, conflicts_with_all = ["reply_to", "wait"])]
    scope: Option<ScopeArgument>,
    /// The id of the message that this one answers
    #[arg(long, value_name = "MESSAGE")]
    reply_to: Option<String>,
    /// Wait up to SECONDS for the answer and print only its text; exit status 124 if none comes in
    /// time. A later answer goes to the inbox
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=MAX_WAIT_SECONDS))]
    wait: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let first = arguments.peer.as_ref().filter(|_| arguments.scope.is_some());
    let words: Vec<&str> = first.into_iter().chain(&arguments.text).map(String::as_str).collect();
    if words.is_empty() == arguments.file.is_none() && arguments.scope.is_some() {
        let problem = if words.is_empty() {
            "no text was given"
        } else {
            "a text and --file cannot be used together"
        };
        return Err(CliError::new(problem)
            .hint("With --scope, give only the text: claude-peers send --scope directory \"TEXT\"")
            .code("usage")
            .exit(WRONG_USAGE));
    }
    let allowed = client.config().limits.max_message_bytes;
    let text = message::text(&words, arguments.file.as_deref(), allowed)?;
    if let Some(scope) = arguments.scope {
        return to_scope(scope.into(), text, arguments.json, client, out).await;
    }
    let request = SendMessage {
        // Without a scope, a command line that names no peer is refused.
        to: arguments.peer.clone().unwrap_or_default(),
        text,
        reply_to: arguments.reply_to.as_deref().map(MessageId::from_text),
        from_session: client.config().claude.session.clone(),
        wait: arguments.wait.is_some(),
    };
    let sent = stored(client.send(&request).await, arguments.json, out)?;
    shell_session::note_if_unknown(client.config(), sent.from.as_ref(), out.messages());
    if let Some(seconds) = arguments.wait {
        return wait(&sent, Duration::from_secs(seconds), arguments.json, client, out).await;
    }
    if arguments.json {
        out.json(&sent)?;
    } else {
        out.line(format!(
            "{} {} {}",
            id(&sent.id),
            sent.state,
            delivery(&sent.to, sent.state, sent.awaited)
        ))?;
    }
    // A caller that does not get the result must not send the message again.
    out.flush().map_err(|error| {
        CliError::from(error).detail(format!("message {} was sent nevertheless", sent.id))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Sends to all peers of a scope, and prints one line for each recipient.
async fn to_scope(
    scope: Scope,
    text: String,
    json: bool,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let ScopeContext { directory, repo } = ScopeContext::here(scope, client.config()).await?;
    let from_session = client.config().claude.session.clone();
    let request = SendToScope { scope, text, directory, repo, from_session };
    let sent = stored(client.send_to_scope(&request).await, json, out)?;
    shell_session::note_if_unknown(client.config(), sent.from.as_ref(), out.messages());
    if json {
        out.json(&sent)?;
    }
    let mut refused = 0;
    for outcome in &sent.outcomes {
        refused += usize::from(outcome.id.is_none());
        if !json {
            out.line(line(outcome))?;
        }
    }
    let all = sent.outcomes.len();
    out.flush().map_err(|error| {
        let stored = all - refused;
        CliError::from(error).detail(format!("{stored} of {all} messages were sent nevertheless"))
    })?;
    if refused == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    Err(CliError::new(format!("the message was not stored for {refused} of {all} recipients")))
}

/// Returns what was sent. Where that is not known, JSON has a word for it.
fn stored<T>(sent: Result<T, ClientError>, json: bool, out: &mut Out) -> Result<T, CliError> {
    if json && matches!(sent, Err(ClientError::Unknown(_))) {
        out.json(&json!({ "state": "unknown" }))?;
        out.flush()?;
    }
    Ok(sent?)
}

fn line(outcome: &Outcome) -> String {
    match (&outcome.id, outcome.state, &outcome.refusal) {
        (Some(sent), Some(state), _) => {
            format!("{} {state} {}", id(sent), delivery(&outcome.to, state, outcome.awaited))
        }
        (_, _, refusal) => {
            let why = refusal.as_ref().map_or("refused", |refusal| refusal.message.as_str());
            format!(
                "- refused to {} ({}): {}",
                called(&outcome.to),
                id(&outcome.to.id),
                cell(why, 500)
            )
        }
    }
}

/// Waits for the answer and prints it. The answer is confirmed once it is printed.
async fn wait(
    sent: &Sent,
    limit: Duration,
    json: bool,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    // Standard output is for the answer alone.
    out.messages().note(&format!(
        "{} {} {}",
        sent.id,
        sent.state,
        delivery(&sent.to, sent.state, sent.awaited)
    ));
    let later = match &sent.from {
        Some(party) if shell_session::is_session(Some(party)) => "the session's own mailbox",
        _ => "the inbox (`claude-peers inbox`)",
    };
    let stays_sent = |failure: CliError| {
        failure
            .detail(format!("message {} was sent nevertheless", sent.id))
            .hint(format!("A later answer goes to {later}."))
    };
    let answered = tokio::select! {
        answered = client.answer_to(&sent.id, limit) => {
            answered.map_err(|error| stays_sent(error.into()))?
        }
        _ = tokio::signal::ctrl_c() => {
            return Err(stays_sent(CliError::new("interrupted")).code("interrupted").exit(INTERRUPTED));
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
        let failure = CliError::new(format!("no answer came within {} s", limit.as_secs()));
        let failure = stays_sent(failure.code("timed_out").exit(TIMED_OUT));
        return Err(failure.detail(format!("its status: {state}{via}, {} ago", ago(since))));
    };
    let printed = if json { Ok(()) } else { out.line(text::terminal(&answer.text)) }
        .and_then(|()| out.flush());
    printed.map_err(|error| {
        CliError::from(error)
            .detail(format!(
                "message {} was sent and answered, but the answer could not be shown here",
                sent.id
            ))
            .hint(format!("Within a minute the answer will be in {later}."))
    })?;
    client.confirm(&Confirm { ids: vec![answer.id] }).await?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the name of a peer, or its id if it has none.
fn called(peer: &Peer) -> String {
    cell(peer.name.as_deref().unwrap_or(peer.id.as_str()), 120)
}

/// Describes how far a message to this peer has come.
fn delivery(to: &Peer, state: MessageState, awaited: bool) -> String {
    let how = match (state, to.reach) {
        _ if awaited => "it is waiting for a message".to_owned(),
        (MessageState::Offered, Reachability::ChannelProven) => {
            "pushed; earlier pushes were confirmed there".to_owned()
        }
        (_, Reachability::Hooks) => "live; its hooks show the message at its next step".to_owned(),
        (MessageState::Offered, _) => {
            "pushed; it is not known whether its client shows pushes".to_owned()
        }
        (_, Reachability::Away) => {
            format!("away since {}; the message is kept until it returns", to.since)
        }
        (_, Reachability::Ended) => {
            "has ended; it gets the message when its client is next started in that directory"
                .to_owned()
        }
        (_, Reachability::Tools) => {
            "live; it sees the message when it next calls a claude-peers tool".to_owned()
        }
        (_, Reachability::Inbox) => "the message is in the inbox".to_owned(),
        (_, _) => "the message is queued behind earlier ones".to_owned(),
    };
    let backlog = match (to.unread, to.oldest_unread) {
        (0, _) => String::new(),
        (count, Some(oldest)) => format!("; {count} unread, the oldest {} old", ago(oldest)),
        (count, None) => format!("; {count} unread"),
    };
    format!("to {} ({}): {how}{backlog}", called(to), id(&to.id))
}
