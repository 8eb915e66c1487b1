//! What went wrong, what to do about it, and the exit code that follows.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use crate::client::ClientError;
use crate::config::ConfigError;
use crate::text;

/// A command's failure.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    details: Vec<String>,
    /// Lines whose spaces count, as they stand in a file.
    excerpt: Vec<String>,
    code: u8,
    /// Whoever read our output has enough: no failure at all.
    broken_pipe: bool,
}

impl Failure {
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

    /// Another exit code than 1.
    #[must_use]
    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// One more line of what happened.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.details.push(detail.into());
        self
    }

    /// Says it on standard error, and gives the exit code.
    pub fn report(&self) -> ExitCode {
        if self.broken_pipe {
            return ExitCode::SUCCESS;
        }
        // Not `eprint!`, which panics where standard error is closed.
        let _ = io::Write::write_all(&mut io::stderr(), self.text().as_bytes());
        ExitCode::from(self.code)
    }

    /// Says it on standard error as a warning: the command goes on.
    pub fn warn(&self) {
        let text = self.text();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        // Where standard error is closed there is nobody to warn.
        let _ = io::Write::write_all(&mut io::stderr(), format!("warning: {text}").as_bytes());
    }

    /// What happened and what to do, in lines.
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

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let broken_pipe = error.kind() == io::ErrorKind::BrokenPipe;
        Self { broken_pipe, ..Self::new(error.to_string()) }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let details = match &error {
            ClientError::Refused(refused) => refused
                .candidates
                .iter()
                .map(|c| format!("{}  {}  {}", c.id, c.name.as_deref().unwrap_or("-"), c.cwd))
                .collect(),
            _ => Vec::new(),
        };
        Self { hint: error.hint(), details, ..Self::new(error.to_string()) }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let excerpt = error.excerpt().map(Vec::from).unwrap_or_default();
        Self { excerpt, ..Self::new(error.to_string()).hint(error.hint()) }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        io::Error::from(error).into()
    }
}
