//! `claude-peers send`: sends a message from the command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueHint};
use clap_complete::engine::ArgValueCompleter;
use serde::Serialize;
use serde_json::json;

use crate::cli::common::{INTERRUPTED, MAX_WAIT_SECONDS, TIMED_OUT, WRONG_USAGE};
use crate::cli::error::CliError;
use crate::cli::inbox::Received;
use crate::cli::output::{Out, ago, cell, id};
use crate::cli::scope::{ScopeArgument, ScopeContext};
use crate::cli::{complete, legend, message, shell_session};
use crate::client::{Client, ClientError};
use crate::protocol::mailbox::{Answered, Confirm};
use crate::protocol::messages::{MessageState, Outcome, SendMessage, SendToScope, Sent, Via};
use crate::protocol::peers::{Peer, Reachability};
use crate::protocol::scope::Scope;
use crate::protocol::{MessageId, Timestamp};
use crate::text;

#[derive(Debug, Args)]
#[command(after_help = format!("\
Examples:
  claude-peers send backend \"The orders API is deployed.\"
  claude-peers send backend --wait 60 \"Which port do you use?\"
  git diff | claude-peers send backend -
  claude-peers send --scope repo \"I am rebasing main; please do not push.\"

{}", legend::of_messages()))]
pub struct Arguments {
    /// The recipient: its id, its name, or an unambiguous prefix of either. With --scope, leave it
    /// out and give only the text
    #[arg(required_unless_present = "scope", add = ArgValueCompleter::new(complete::peers))]
    peer: Option<String>,
    /// The text; several words are joined by spaces; `-` reads standard input. Put `--` before text
    /// that could be taken for an option. Other users of the machine can read a command line while it
    /// runs: give a secret by `-` or --file
    #[arg(required_unless_present_any = ["scope", "file"], value_hint = ValueHint::Other)]
    text: Vec<String>,
    /// Send the contents of this file instead of TEXT; `-` is standard input
    #[arg(long, value_name = "PATH", conflicts_with = "text", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Send to all live sessions on this machine, in this directory, or in this git repository.
    /// Prints one line per recipient; exit status 1 if the message was not stored for all of them
    #[arg(long, value_enum, conflicts_with_all = ["reply_to", "wait"])]
    scope: Option<ScopeArgument>,
    /// The id of the message that this one answers
    #[arg(long, value_name = "MESSAGE", add = ArgValueCompleter::new(complete::messages))]
    reply_to: Option<String>,
    /// Wait up to SECONDS for the answer and print only its text; exit status 124 if none comes in
    /// time. A later answer goes to the inbox
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=MAX_WAIT_SECONDS))]
    wait: Option<u64>,
    /// Print nothing if the message is stored, except the answer with --wait
    #[arg(long, short)]
    quiet: bool,
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
        return to_scope(scope.into(), text, arguments, client, out).await;
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
        return wait(&sent, Duration::from_secs(seconds), arguments, client, out).await;
    }
    if arguments.json {
        out.json(&sent)?;
    } else if !arguments.quiet {
        let line = report(&sent.id, sent.state, &sent.to, sent.awaited, out.is_terminal());
        out.wrapped(0, line)?;
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
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let json = arguments.json;
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
        if !json && (!arguments.quiet || outcome.id.is_none()) {
            out.wrapped(2, line(outcome, out.is_terminal()))?;
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

/// Says what became of a message: a sentence for a person, and for a program first the id and the
/// state.
fn report(
    sent: &MessageId,
    state: MessageState,
    to: &Peer,
    awaited: bool,
    is_terminal: bool,
) -> String {
    let how = describe(to, state, awaited, is_terminal);
    let place = if is_terminal { " there" } else { "" };
    let backlog = match (to.unread, to.oldest_unread) {
        (0, _) => None,
        (count, Some(oldest)) => {
            Some(format!("{count} unread{place}, the oldest {} old", ago(oldest)))
        }
        (count, None) => Some(format!("{count} unread{place}")),
    };
    let (sent, name, peer) = (id(sent), cell(to.called(), 120), id(&to.id));
    match (is_terminal, backlog) {
        (true, Some(backlog)) => format!("Sent {sent} to {name}: {how} ({backlog})."),
        (true, None) => format!("Sent {sent} to {name}: {how}."),
        (false, Some(backlog)) => format!("{sent} {state} to {name} ({peer}): {how}; {backlog}"),
        (false, None) => format!("{sent} {state} to {name} ({peer}): {how}"),
    }
}

fn line(outcome: &Outcome, is_terminal: bool) -> String {
    match (&outcome.id, outcome.state, &outcome.refusal) {
        (Some(sent), Some(state), _) => {
            report(sent, state, &outcome.to, outcome.awaited, is_terminal)
        }
        (_, _, refusal) => {
            let why = refusal.as_ref().map_or("refused", |refusal| refusal.message.as_str());
            format!(
                "- refused to {} ({}): {}",
                cell(outcome.to.called(), 120),
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
    arguments: &Arguments,
    client: &Client,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    // Standard output is for the answer alone.
    let json = arguments.json;
    if !arguments.quiet && !json {
        let terminal = out.messages().look().is_terminal();
        let text = report(&sent.id, sent.state, &sent.to, sent.awaited, terminal);
        out.messages().note(&text);
    }
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
        out.json(&Asked {
            sent: &Sent { state, to, ..sent.clone() },
            since,
            via,
            answer: answer.as_ref().map(Received::from),
        })?;
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

/// Describes how far a message to this peer has come.
fn describe(to: &Peer, state: MessageState, awaited: bool, is_terminal: bool) -> String {
    match (state, to.reach) {
        _ if awaited => "it is waiting for a message",
        (MessageState::Offered, Reachability::ChannelProven) => {
            "pushed; earlier pushes were confirmed there"
        }
        (_, Reachability::Hooks) => "live; its hooks show the message at its next step",
        (MessageState::Offered, _) => "pushed; it is not known whether its client shows pushes",
        (_, Reachability::Away) => {
            let since = to.since;
            let since =
                if is_terminal { format!("for {}", ago(since)) } else { format!("since {since}") };
            return format!("away {since}; the message is kept until it returns");
        }
        (_, Reachability::Ended) => {
            "has ended; it gets the message when its client is next started in that directory"
        }
        (_, Reachability::Tools) => {
            "live; it sees the message when it next calls a claude-peers tool"
        }
        (_, Reachability::Inbox) => "the message is in the inbox",
        (_, _) => "the message is queued behind earlier ones",
    }
    .to_owned()
}

/// What `--wait --json` prints: the message as it is now, and the answer.
#[derive(Debug, Serialize)]
struct Asked<'a> {
    #[serde(flatten)]
    sent: &'a Sent,
    /// Since when the message has its state.
    since: Timestamp,
    via: Option<Via>,
    answer: Option<Received<'a>>,
}
