//! Completion in a shell, from what is there now: names of live peers, ids of recent messages.
//!
//! The script that `claude-peers completions` prints runs this program with the words of the line. It must be
//! quick and silent, and it never starts a broker.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Command;
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::Shells;

use crate::cli::common::ask_running;
use crate::client::Client;
use crate::config::{Config, Environment};
use crate::protocol::messages::ListMessages;
use crate::protocol::names;
use crate::protocol::peers::ListPeers;
use crate::text;

/// The variable by which the script names its shell.
pub const VARIABLE: &str = "_CLAUDE_PEERS_COMPLETE";

/// How long a person waits for a completion.
const LIMIT: Duration = Duration::from_millis(150);

/// The longest description, in columns.
const MAX_DESCRIPTION: usize = 60;

/// How many messages are offered.
const MESSAGES: u32 = 20;

/// Prints the completions for a shell, if one asks for them.
pub fn asked(
    arguments: &[OsString],
    environment: &Environment,
    command: impl FnOnce() -> Command,
) -> Option<ExitCode> {
    let shell = environment.text(VARIABLE)?;
    let shells = Shells::builtins();
    let shell = shells.completer(&shell)?;
    let words: Vec<OsString> =
        arguments.iter().skip_while(|word| *word != "--").skip(1).cloned().collect();
    if words.is_empty() {
        return Some(ExitCode::FAILURE);
    }
    let mut command = command();
    command.build();
    let mut offered = Vec::new();
    let here = std::env::current_dir().ok();
    // An error or a closed pipe is no completion: a shell shows neither.
    let done = shell.write_complete(&mut command, words, here.as_deref(), &mut offered);
    let done = done.and_then(|()| std::io::stdout().write_all(&offered));
    Some(if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Completes the name of a peer.
pub fn peers(word: &OsStr) -> Vec<CompletionCandidate> {
    let home = Environment::of_this_process().text("HOME");
    let list = ask(async |client: &Client| client.peers(&ListPeers::default()).await.ok());
    let peers = list.map(|list| list.peers).unwrap_or_default();
    let named = peers.iter().map(|peer| {
        let name = peer.called();
        let path = text::path_below(&peer.cwd, home.as_deref());
        (name, text::fit_end(&text::terminal_line(&path, usize::MAX), MAX_DESCRIPTION))
    });
    candidates(word, named)
}

/// Completes the id of a message.
pub fn messages(word: &OsStr) -> Vec<CompletionCandidate> {
    let request = ListMessages { limit: MESSAGES, ..ListMessages::default() };
    let list = ask(async |client: &Client| client.messages(&request).await.ok());
    let messages = list.map(|list| list.messages).unwrap_or_default();
    let newest_first = messages.iter().rev().map(|message| {
        let from = message.from.name.as_deref().unwrap_or(message.from.id.as_str());
        let line = text::terminal_line(&format!("{from}: {}", message.text), usize::MAX);
        (message.id.as_str(), text::fit_start(&line, MAX_DESCRIPTION))
    });
    candidates(word, newest_first)
}

/// Returns those that begin with a word. What a shell could take for something else is left out:
/// names and ids of ours are plain, but a database of another program may have any.
fn candidates<'a>(
    word: &OsStr,
    all: impl Iterator<Item = (&'a str, String)>,
) -> Vec<CompletionCandidate> {
    let Some(word) = word.to_str() else { return Vec::new() };
    let key = names::key(word);
    let is_plain = |value: &str| value.chars().all(|c| c.is_alphanumeric() || "._-".contains(c));
    all.filter(|(value, _)| is_plain(value) && names::key(value).starts_with(&key))
        .map(|(value, help)| {
            CompletionCandidate::new(value).help(Some(help.into())).display_order(Some(0))
        })
        .collect()
}

/// Asks the broker, if one runs and answers at once.
fn ask<T>(question: impl AsyncFnOnce(&Client) -> Option<T>) -> Option<T> {
    let config = Config::load(&Environment::of_this_process()).ok()?;
    ask_running(config, LIMIT, question)
}
