//! A command line in the shell of an agent's session speaks as that session: what it tells the
//! broker for that, and what it says where the broker knows no such session.

use crate::claude_code::client_process;
use crate::cli::output::aside;
use crate::config::Config;
use crate::protocol::messages::Party;
use crate::protocol::{Around, Inside, ProcessId};
use crate::sys::process;

/// More processes than any shell of an agent has above it.
const MOST: usize = 32;

/// What is known of the session around this command line, if there is one.
pub fn around(config: &Config) -> Around {
    let claude = config.claude.session.as_deref().map(|id| ("CLAUDE_CODE_SESSION_ID", id));
    let codex = config.codex_thread.as_deref().map(|id| ("CODEX_THREAD_ID", id));
    let inside = claude.or(codex).map(|(variable, id)| Inside {
        session: config.claude.session.clone(),
        above: above(variable, id),
    });
    Around { inside, ..Around::default() }
}

/// The processes above this one up to the session's client: that is the nearest that does not
/// carry the session's own id in its environment, or goes by Claude Code's name. Where neither can
/// be told it is all of them.
fn above(variable: &str, id: &str) -> Vec<ProcessId> {
    let mut found = Vec::new();
    for pid in process::ancestors(std::process::id()).into_iter().take(MOST) {
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

/// Whether the broker took this command line for a session: `speaker` is who it spoke as.
pub fn is_session(speaker: Option<&Party>) -> bool {
    speaker.is_some_and(|party| party.name.as_deref() != Some("cli"))
}

/// Says so where a session's command line does not speak as the session.
pub fn note(config: &Config, speaker: Option<&Party>) {
    if is_inside(config) && speaker.is_some() && !is_session(speaker) {
        note_cli();
    }
}

/// The same, where that is known already.
pub fn note_cli() {
    aside(
        "note: the session around this shell is not known here (it has no claude-peers server, or has ended), so this speaks as `cli`, whose inbox all such shells share",
    );
}
