//! `claude-peers demo`: runs the demo and prints its report.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use crate::cli::error::CliError;
use crate::cli::output::Out;
use crate::config::Environment;
use crate::demo;
use crate::demo::DemoError;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Keep the directory with the database and the log
    #[arg(long)]
    keep: bool,
}

pub async fn run(
    arguments: &Arguments,
    environment: &Environment,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    demo::run(arguments.keep, environment, &mut Report { out, line: Vec::new() }).await?;
    Ok(ExitCode::SUCCESS)
}

/// The report, whose lines are wrapped as they come, each as far in as it begins.
struct Report<'a> {
    out: &'a mut Out,
    /// A line that is not complete yet.
    line: Vec<u8>,
}

impl Write for Report<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                let text = line.trim_end_matches('\n');
                let begins = text.len() - text.trim_start().len();
                // What belongs to a numbered step stands below its first word.
                let is_step = text.starts_with(|c: char| c.is_ascii_digit());
                self.out.wrapped(if is_step { 3 } else { begins }, text)?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl From<DemoError> for CliError {
    fn from(error: DemoError) -> Self {
        match error {
            DemoError::Io(error) => error.into(),
            DemoError::Client(error) => error.into(),
            DemoError::Config(error) => error.into(),
            DemoError::Json(error) => error.into(),
            DemoError::Step(problem) => Self::new(problem),
        }
    }
}
