//! `claude-peers completions`: a completion script for a shell.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use super::error::Failure;
use super::output::Out;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The shell
    shell: Shell,
}

pub fn run(
    arguments: &Arguments,
    command: &mut clap::Command,
    out: &mut Out,
) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, command, "claude-peers", &mut script);
    out.raw(&script)?;
    Ok(ExitCode::SUCCESS)
}
