//! The error of a command: message, hint, details, candidates and exit code.

use std::io;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cli::output::look::{Ink, Look};
use crate::cli::output::messages::Messages;
use crate::cli::output::table::{self, Cell, Column};
use crate::cli::output::{Out, cell};
use crate::client::ClientError;
use crate::config::ConfigError;
use crate::protocol::ApiError;
use crate::protocol::error::{Candidate, Missing};
use crate::text;

/// The exit code of `send` if it is not known whether the message was stored.
const NOT_KNOWN: u8 = 4;

/// The most candidates that are shown to a person.
const MAX_CANDIDATES: usize = 10;

/// The longest message or hint, in characters.
const MAX_SENTENCE: usize = 2_000;

/// The error of a command.
#[derive(Debug)]
pub struct CliError {
    /// A word for programs.
    code: String,
    message: String,
    hint: Option<String>,
    more: Box<More>,
    exit: u8,
    /// The reader of our output has closed the pipe, which is no error.
    broken_pipe: bool,
}

/// What few errors have; apart from them, so that results stay small.
#[derive(Debug, Default)]
struct More {
    details: Vec<String>,
    /// Lines of a file, with their indentation.
    excerpt: Vec<String>,
    /// Peers that may have been meant.
    candidates: Vec<Candidate>,
}

impl CliError {
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            code: "failed".to_owned(),
            message: message.into(),
            hint: None,
            more: Box::default(),
            exit: 1,
            broken_pipe: false,
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the word for programs. The default is "failed".
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
    }

    /// Sets the exit code. The default is 1.
    #[must_use]
    pub const fn exit(mut self, exit: u8) -> Self {
        self.exit = exit;
        self
    }

    /// Adds a line of details.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.more.details.push(detail.into());
        self
    }

    /// Reports the error on standard error and returns the exit code.
    pub fn report(&self, out: &Out) -> ExitCode {
        if self.broken_pipe {
            return ExitCode::SUCCESS;
        }
        self.write("error", Ink::Bad, out.messages(), out.home());
        ExitCode::from(self.exit)
    }

    /// Reports the error on standard error as a warning. The command goes on.
    pub fn warn(&self, to: Messages) {
        self.write("warning", Ink::Attention, to, None);
    }

    fn write(&self, word: &str, ink: Ink, to: Messages, home: Option<&str>) {
        if to.is_json() {
            to.object(word, &self.as_json());
        } else {
            to.write(&self.lines(word, ink, to.look(), home));
        }
    }

    /// Returns the error as lines of text: what happened, and what to do.
    fn lines(&self, word: &str, ink: Ink, look: Look, home: Option<&str>) -> String {
        let sentence = |text: &str| text::terminal_line(text, MAX_SENTENCE);
        let mut lines = look.paragraph(&format!("{word}: "), ink, &sentence(&self.message));
        for detail in &self.more.details {
            lines.push_str(&look.paragraph("  ", Ink::Dim, &text::terminal_line(detail, 500)));
        }
        for line in &self.more.excerpt {
            lines.extend(["  ", &text::terminal(line), "\n"]);
        }
        lines.push_str(&self.candidates(look, home));
        let more = self.more.candidates.len().saturating_sub(MAX_CANDIDATES);
        if more > 0 {
            lines.extend([format!("  and {more} more\n")]);
        }
        if let Some(hint) = &self.hint {
            lines.push_str(&look.paragraph("hint: ", Ink::Typed, &sentence(hint)));
        }
        lines
    }

    /// Returns a table of the peers that may have been meant.
    fn candidates(&self, look: Look, home: Option<&str>) -> String {
        let shown = self.more.candidates.iter().take(MAX_CANDIDATES);
        let rows = shown.map(|candidate| {
            let place = match look.width {
                Some(_) => text::path_below(&candidate.cwd, home),
                None => candidate.cwd.clone(),
            };
            [
                candidate.id.to_string(),
                cell(candidate.name.as_deref().unwrap_or_default(), 60),
                place,
            ]
            .map(Cell::from)
            .to_vec()
        });
        let columns =
            [Column::whole("ID"), Column::text("NAME", 12), Column::path("DIRECTORY", 16)];
        let indented = Look { width: look.width.map(|width| width.saturating_sub(2)), ..look };
        let lines = table::lines(&columns, rows.collect(), indented);
        // The columns need no header.
        lines.iter().skip(1).flat_map(|line| ["  ", line, "\n"]).collect()
    }

    /// Returns the error as `docs/json.md` describes it.
    fn as_json(&self) -> Value {
        let details = [self.more.details.as_slice(), self.more.excerpt.as_slice()].concat();
        json!({
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": details,
            "candidates": self.more.candidates.iter().map(|candidate| json!({
                "id": candidate.id, "name": candidate.name, "cwd": candidate.cwd,
            })).collect::<Vec<_>>(),
        })
    }

    /// Returns the error as plain lines of text.
    pub fn text(&self) -> String {
        self.lines("error", Ink::Bad, Look::PLAIN, None)
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        let broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Self { broken_pipe, ..Self::new(error.to_string()).code("io") }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        // An exit code of its own, because such a message must not simply be sent again.
        let (code, exit) = match &error {
            ClientError::Unknown(_) => ("unknown_outcome".to_owned(), NOT_KNOWN),
            ClientError::Refused(refused) => (refused.code.to_string(), 1),
            ClientError::NotRunning | ClientError::Outside(_) => ("not_running".to_owned(), 1),
            ClientError::Start(_) => ("not_started".to_owned(), 1),
            ClientError::Untrusted(_) => ("untrusted".to_owned(), 1),
            ClientError::OutOfReach(_) => ("out_of_reach".to_owned(), 1),
            ClientError::Silent => ("silent".to_owned(), 1),
            ClientError::Broken { .. } | ClientError::Nonsense(_) => ("broken".to_owned(), 1),
        };
        let candidates = match error.last() {
            ClientError::Refused(refused) => refused.candidates.clone(),
            _ => Vec::new(),
        };
        let advice = match error.last() {
            ClientError::Refused(ApiError { missing: Some(Missing::Peer), .. }) => {
                Some("To see all peers: claude-peers peers --all".to_owned())
            }
            ClientError::Refused(ApiError { missing: Some(Missing::Message), .. }) => {
                Some("To see the messages and their ids: claude-peers log".to_owned())
            }
            _ => None,
        };
        let hint: Vec<String> = error.hint().into_iter().chain(advice).collect();
        let hint = Some(hint.join(" ")).filter(|hint| !hint.is_empty());
        let more = Box::new(More { candidates, ..More::default() });
        Self { hint, more, ..Self::new(error.to_string()).code(code).exit(exit) }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let excerpt = error.excerpt().map(Vec::from).unwrap_or_default();
        let more = Box::new(More { excerpt, ..More::default() });
        Self { more, ..Self::new(error.to_string()).hint(error.hint()).code("settings") }
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> Self {
        io::Error::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_harmless_for_a_terminal_in_all_its_parts() {
        let hostile = "x\u{1b}[31m\u{9b}2J\u{202e}\nhint: forged";
        let error = CliError {
            more: Box::new(More {
                excerpt: vec![hostile.replace('\n', " ")],
                details: vec![hostile.to_owned()],
                ..More::default()
            }),
            ..CliError::new(hostile).hint(hostile)
        };
        let text = error.text();
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text:?}");
        let begins: Vec<&str> = text.lines().filter_map(|line| line.split('x').next()).collect();
        assert_eq!(begins, ["error: ", "  ", "  ", "hint: "], "{text}");
    }
}
