//! A command line in a session's shell acts for that session: what it tells the broker of it, and
//! the note that it prints if the broker does not know the session.

use crate::claude_code::client_process;
use crate::cli::output::messages::Messages;
use crate::config::Config;
use crate::protocol::messages::Party;
use crate::protocol::{CallerContext, ProcessId, ShellSession};
use crate::sys::process;

/// The most processes that are looked at above the command line. No agent's shell has so many.
const MAX_ANCESTORS: usize = 32;

/// Returns what is known of the session that encloses this command line.
pub fn around(config: &Config) -> CallerContext {
    let claude = config.claude.session.as_deref().map(|id| ("CLAUDE_CODE_SESSION_ID", id));
    let codex = config.codex_thread.as_deref().map(|id| ("CODEX_THREAD_ID", id));
    let inside = claude.or(codex).map(|(variable, id)| ShellSession {
        session: config.claude.session.clone(),
        above: above(variable, id),
    });
    CallerContext { inside, ..CallerContext::default() }
}

/// Returns the ancestors of this process up to the session's client process.
///
/// The client process is the nearest that does not have the session's id in its environment, or
/// that has Claude Code's name. If neither can be determined, all ancestors are returned.
fn above(variable: &str, id: &str) -> Vec<ProcessId> {
    let mut found = Vec::new();
    for pid in process::ancestors(std::process::id()).into_iter().take(MAX_ANCESTORS) {
        let is_client = process::environment_value(pid, variable)
            .is_some_and(|value| value.as_deref().and_then(|value| value.to_str()) != Some(id));
        found.extend(process::of_pid(pid));
        if is_client || client_process::is_claude(pid) {
            break;
        }
    }
    found
}

/// Whether this command line runs inside a session.
pub const fn is_inside(config: &Config) -> bool {
    config.claude.session.is_some() || config.codex_thread.is_some()
}

/// Whether the broker took this command line for a session. `speaker` is the peer that it acts as.
pub fn is_session(speaker: Option<&Party>) -> bool {
    speaker.is_some_and(|party| party.name.as_deref() != Some("cli"))
}

/// Prints a note if a command line in a session's shell does not act for the session.
pub fn note_if_unknown(config: &Config, speaker: Option<&Party>, messages: Messages) {
    if is_inside(config) && speaker.is_some() && !is_session(speaker) {
        note_unknown(messages);
    }
}

/// Prints that note.
pub fn note_unknown(messages: Messages) {
    messages.note(
        "note: the session that runs this shell is not registered (it has no claude-peers server, or has ended), so this command acts as `cli`. All such shells share the inbox of `cli`.",
    );
}
