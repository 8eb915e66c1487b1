//! `claude-peers send`: a message from the command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::cli::common::{INTERRUPTED, MAX_WAIT_SECONDS, TIMED_OUT, WRONG_USAGE};
use crate::cli::error::Failure;
use crate::cli::output::{Out, ago, aside, cell};
use crate::cli::scope::{Place, ScopeArgument};
use crate::cli::{message, shell_session};
use crate::client::Client;
use crate::protocol::MessageId;
use crate::protocol::mailbox::{Answered, Confirm};
use crate::protocol::messages::{MessageState, Outcome, SendMessage, SendToScope, Sent};
use crate::protocol::peers::{Peer, Reachability};
use crate::protocol::scope::Scope;
use crate::text;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The peer: its id, its name, or an unambiguous prefix of either. With --scope none is named,
    /// and the text begins here
    #[arg(required_unless_present = "scope")]
    peer: Option<String>,
    /// The text; several words are joined by spaces; `-` reads standard input. Text that could be
    /// an option stands behind `--`
    #[arg(required_unless_present_any = ["scope", "file"])]
    text: Vec<String>,
    /// Send what stands in this file instead; `-` is standard input
    #[arg(long, value_name = "PATH", conflicts_with = "text")]
    file: Option<PathBuf>,
    /// Send to all live sessions on this machine, in this directory, or in this git repository
    /// instead: one line for each. Exit status 1: it was not stored for all
    #[arg(long, value_enum, conflicts_with_all = ["reply_to", "wait"])]
    scope: Option<ScopeArgument>,
    /// The message that this one answers
    #[arg(long, value_name = "MESSAGE")]
    reply_to: Option<String>,
    /// Wait up to so many seconds for the answer, and print it alone. Exit status 124: none came
    /// in time. It then goes to the inbox
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
) -> Result<ExitCode, Failure> {
    let first = arguments.peer.as_ref().filter(|_| arguments.scope.is_some());
    let words: Vec<&str> = first.into_iter().chain(&arguments.text).map(String::as_str).collect();
    if words.is_empty() == arguments.file.is_none() && arguments.scope.is_some() {
        return Err(Failure::new("a text or --file is needed, and not both")
            .hint("With --scope no peer is named: the text begins where the peer would stand.")
            .code(WRONG_USAGE));
    }
    let allowed = client.config().limits.max_message_bytes;
    let text = message::text(&words, arguments.file.as_deref(), allowed)?;
    if let Some(scope) = arguments.scope {
        return to_scope(scope.into(), text, arguments.json, client, out).await;
    }
    let request = SendMessage {
        // Without a scope the command line is refused where none is named.
        to: arguments.peer.clone().unwrap_or_default(),
        text,
        reply_to: arguments.reply_to.as_deref().map(MessageId::from_text),
        from_session: client.config().claude.session.clone(),
        wait: arguments.wait.is_some(),
    };
    let sent = client.send(&request).await?;
    shell_session::note(client.config(), sent.from.as_ref());
    if let Some(seconds) = arguments.wait {
        return wait(&sent, Duration::from_secs(seconds), arguments.json, client, out).await;
    }
    if arguments.json {
        out.json(&sent)?;
    } else {
        out.line(format!(
            "{} {} {}",
            sent.id,
            sent.state,
            standing(&sent.to, sent.state, sent.awaited)
        ))?;
    }
    // Whoever cannot be told what became of it must not send it again.
    out.flush().map_err(|error| {
        Failure::from(error).detail(format!("message {} is sent all the same", sent.id))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// One line for each recipient.
async fn to_scope(
    scope: Scope,
    text: String,
    json: bool,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let Place { directory, repo } = Place::here(scope, client.config()).await?;
    let from_session = client.config().claude.session.clone();
    let request = SendToScope { scope, text, directory, repo, from_session };
    let sent = client.send_to_scope(&request).await?;
    shell_session::note(client.config(), sent.from.as_ref());
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
        Failure::from(error).detail(format!("{stored} of {all} messages are sent all the same"))
    })?;
    if refused == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    Err(Failure::new(format!("not stored for {refused} of {all} recipients")))
}

fn line(outcome: &Outcome) -> String {
    match (&outcome.id, outcome.state, &outcome.refusal) {
        (Some(id), Some(state), _) => {
            format!("{id} {state} {}", standing(&outcome.to, state, outcome.awaited))
        }
        (_, _, refusal) => {
            let why = refusal.as_ref().map_or("refused", |refusal| refusal.message.as_str());
            format!("- refused to {} ({}): {}", called(&outcome.to), outcome.to.id, cell(why, 500))
        }
    }
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
    aside(&format!("{} {} {}", sent.id, sent.state, standing(&sent.to, sent.state, sent.awaited)));
    let later = match &sent.from {
        Some(party) if shell_session::is_session(Some(party)) => "the session's own mailbox",
        _ => "`claude-peers inbox`",
    };
    let stays_sent = |failure: Failure| {
        failure
            .detail(format!("message {} is sent all the same", sent.id))
            .hint(format!("An answer that comes later goes to {later}."))
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
        let failure = stays_sent(failure.code(TIMED_OUT));
        return Err(failure.detail(format!("it is {state}{via}, {} ago", ago(since))));
    };
    let printed = if json { Ok(()) } else { out.line(text::terminal(&answer.text)) }
        .and_then(|()| out.flush());
    printed.map_err(|error| {
        Failure::from(error)
            .detail(format!("message {} is sent all the same, and answered", sent.id))
            .hint(format!("The answer goes to {later}, within a minute."))
    })?;
    client.confirm(&Confirm { ids: vec![answer.id] }).await?;
    Ok(ExitCode::SUCCESS)
}

fn called(peer: &Peer) -> &str {
    peer.name.as_deref().unwrap_or(peer.id.as_str())
}

fn standing(to: &Peer, state: MessageState, awaited: bool) -> String {
    let how = match (state, to.reach) {
        _ if awaited => "waits for it in a call".to_owned(),
        (MessageState::Offered, Reachability::ChannelProven) => {
            "pushed; pushes have arrived there before".to_owned()
        }
        (_, Reachability::Hooks) => "live; its hooks show it with its next step".to_owned(),
        (MessageState::Offered, _) => "pushed; whether it is shown is not known".to_owned(),
        (_, Reachability::Away) => format!("away since {}; the message waits for it", to.since),
        (_, Reachability::Ended) => {
            "has ended; the message waits for the program's next start there".to_owned()
        }
        (_, Reachability::Tools) => "live; it sees mail when it calls a tool".to_owned(),
        (_, Reachability::Inbox) => "waits in the inbox".to_owned(),
        (_, _) => "waits behind earlier messages".to_owned(),
    };
    let backlog = match (to.unread, to.oldest_unread) {
        (0, _) => String::new(),
        (count, Some(oldest)) => format!("; {count} unread there, the oldest {} old", ago(oldest)),
        (count, None) => format!("; {count} unread there"),
    };
    format!("to {} ({}): {how}{backlog}", called(to), to.id)
}
