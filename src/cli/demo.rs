//! `claude-peers demo`: runs the demo and prints its report.

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
    demo::run(arguments.keep, environment, out).await?;
    Ok(ExitCode::SUCCESS)
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
