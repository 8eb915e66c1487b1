//! The error of a command: message, hint, details and exit code.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use crate::client::ClientError;
use crate::config::ConfigError;
use crate::text;

/// The exit code of `send` if it is not known whether the message was stored.
const NOT_KNOWN: u8 = 4;

/// The error of a command.
#[derive(Debug)]
pub struct CliError {
    message: String,
    hint: Option<String>,
    details: Vec<String>,
    /// Lines of a file, with their indentation.
    excerpt: Vec<String>,
    code: u8,
    /// The reader of our output has closed the pipe, which is no error.
    broken_pipe: bool,
}

impl CliError {
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            details: Vec::new(),
            excerpt: Vec::new(),
            code: 1,
            broken_pipe: false,
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the exit code. The default is 1.
    #[must_use]
    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Adds a line of details.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    /// Prints the error on standard error and returns the exit code.
    pub fn report(&self) -> ExitCode {
        if self.broken_pipe {
            return ExitCode::SUCCESS;
        }
        // Not `eprint!`, which panics where standard error is closed.
        let _ = io::Write::write_all(&mut io::stderr(), self.text().as_bytes());
        ExitCode::from(self.code)
    }

    /// Prints the error on standard error as a warning. The command goes on.
    pub fn warn(&self) {
        let text = self.text();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        // If standard error is closed, no reader is left.
        let _ = io::Write::write_all(&mut io::stderr(), format!("warning: {text}").as_bytes());
    }

    /// Returns the error as lines of text: what happened, and what to do.
    pub fn text(&self) -> String {
        let mut text = format!("error: {}\n", text::terminal_line(&self.message, 2_000));
        for detail in &self.details {
            let _ = writeln!(text, "  {}", text::terminal_line(detail, 500));
        }
        for line in &self.excerpt {
            let _ = writeln!(text, "  {}", text::terminal(line));
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {}", text::terminal_line(hint, 2_000));
        }
        text
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        let broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Self { broken_pipe, ..Self::new(error.to_string()) }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        // An exit code of its own, because such a message must not simply be sent again.
        let code = if matches!(error, ClientError::Unknown(_)) { NOT_KNOWN } else { 1 };
        let details = match error.last() {
            ClientError::Refused(refused) => refused
                .candidates
                .iter()
                .map(|c| format!("{}  {}  {}", c.id, c.name.as_deref().unwrap_or("-"), c.cwd))
                .collect(),
            _ => Vec::new(),
        };
        Self { hint: error.hint(), details, code, ..Self::new(error.to_string()) }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let excerpt = error.excerpt().map(Vec::from).unwrap_or_default();
        Self { excerpt, ..Self::new(error.to_string()).hint(error.hint()) }
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
            excerpt: vec![hostile.replace('\n', " ")],
            ..CliError::new(hostile).hint(hostile).detail(hostile)
        };
        let text = error.text();
        assert!(!text.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{text:?}");
        let begins: Vec<&str> = text.lines().filter_map(|line| line.split('x').next()).collect();
        assert_eq!(begins, ["error: ", "  ", "  ", "hint: "], "{text}");
    }
}
