//! `claude-peers completions`: a completion script for a shell.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use crate::cli::error::CliError;
use crate::cli::output::Out;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The shell to print a script for
    shell: Shell,
}

pub fn run(
    arguments: &Arguments,
    command: &mut clap::Command,
    out: &mut Out,
) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, command, "claude-peers", &mut script);
    if arguments.shell == Shell::Bash {
        script = one_name(script);
    }
    out.raw(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes bash's script find and complete each command under one name.
///
/// `clap_complete` 4.6 takes the dash in `claude-peers` for the border between two commands.
fn one_name(script: Vec<u8>) -> Vec<u8> {
    match String::from_utf8(script) {
        Ok(text) => text.replace("claude__subcmd__peers", "claude__peers").into_bytes(),
        Err(error) => error.into_bytes(),
    }
}
