//! Errors as texts for a model: what happened, and what to do.

use std::fmt::{Display, Write as _};

use crate::client::{Client, ClientError};
use crate::protocol::error::Missing;
use crate::protocol::scope::Scope;
use crate::sys::git::{Git, NoRepository};
use crate::text;

/// Longest sentence of an error, in characters.
pub const MAX_SENTENCE: usize = 1_000;

/// How many candidates an error lists.
const MAX_CANDIDATES: usize = 10;

/// Returns the text of a broker call's error, with the candidates of an ambiguous name.
///
/// Everything passes through [`crate::text`], because an error may echo what was asked, and that may
/// echo a peer.
pub fn error_text(error: &ClientError) -> String {
    let mut words = text::line(&format!("{error}."), MAX_SENTENCE);
    if let Some(hint) = error.hint() {
        words.push(' ');
        words.push_str(&text::line(&hint, MAX_SENTENCE));
    }
    if let ClientError::Refused(refused) = error.last() {
        words.push_str(match refused.missing {
            Some(Missing::Peer) => " To see all peers, call list_peers.",
            Some(Missing::Message) => {
                " Give the message_id of the message that you answer, or leave reply_to out."
            }
            Some(Missing::Unknown) | None => "",
        });
    }
    if let ClientError::Refused(refused) = error {
        for candidate in refused.candidates.iter().take(MAX_CANDIDATES) {
            let name = candidate.name.as_deref().map(|n| text::line(n, 120)).unwrap_or_default();
            let cwd = text::path(&candidate.cwd, 200);
            let _ = write!(words, "\n- {} {name}, in {cwd}", text::id(&candidate.id));
        }
        let more = refused.candidates.len().saturating_sub(MAX_CANDIDATES);
        if more > 0 {
            let _ = write!(words, "\nand {more} more: give more of the name, or the id.");
        }
    }
    words
}

/// Returns the text for a message that was not sent.
pub fn not_sent(why: &str) -> String {
    format!("Nothing was sent. {}", text::line(why, MAX_SENTENCE))
}

/// Returns the text for arguments that a tool cannot use.
pub fn invalid_arguments(tool: impl Display, what: &str) -> String {
    let what = text::line(what, 300);
    format!(
        "Invalid arguments for {tool}: {what}. Nothing was done; correct the call and try again."
    )
}

/// Returns why this session is in no repository although there is one. The broker does not know.
pub async fn no_repository(client: &Client, scope: Scope) -> Option<String> {
    if scope != Scope::Repo {
        return None;
    }
    let project = client.config().claude.project.clone().filter(|path| path.is_dir());
    let place = project.or_else(|| std::env::current_dir().ok())?;
    match Git::new(client.config().environment.iter()).repository(&place).await {
        Err(NoRepository::Nowhere) | Ok(_) => None,
        Err(why) => {
            let words = format!("{why}. {}", why.hint().unwrap_or_default());
            Some(text::line(&words, MAX_SENTENCE))
        }
    }
}
