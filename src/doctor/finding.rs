//! The findings that checks report: level, text, and the command that solves the problem.

use serde::Serialize;

use crate::text;

/// How serious a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Ok,
    /// It works, but not as it should, or not for long.
    Warning,
    /// Something that sessions or scripts need does not work.
    Failure,
}

/// The result of a check, one line of the report.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The check's name.
    pub check: &'static str,
    pub level: Level,
    /// What the check found, in one line.
    pub finding: String,
    /// The cause or the consequence, in one line.
    pub detail: Option<String>,
    /// The shell command that solves the problem.
    pub fix: Option<String>,
}

impl Finding {
    pub fn new(check: &'static str, level: Level, finding: impl Into<String>) -> Self {
        Self { check, level, finding: one_line(finding), detail: None, fix: None }
    }

    pub fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self::new(check, Level::Ok, finding)
    }

    pub fn warning(check: &'static str, finding: impl Into<String>) -> Self {
        Self::new(check, Level::Warning, finding)
    }

    pub fn failure(check: &'static str, finding: impl Into<String>) -> Self {
        Self::new(check, Level::Failure, finding)
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(one_line(detail));
        self
    }

    /// Adds the command that solves the problem. It is not cut: half a command is another one.
    #[must_use]
    pub fn fix(mut self, command: impl Into<String>) -> Self {
        self.fix = Some(command.into());
        self
    }
}

/// Makes one harmless line of text that may contain paths, process names and foreign errors.
fn one_line(text: impl Into<String>) -> String {
    text::terminal_line(&text.into(), 2_000)
}
