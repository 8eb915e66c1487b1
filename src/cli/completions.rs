//! `claude-peers completions`: a completion script for a shell.

use std::process::ExitCode;

use clap::Args;
use clap_complete::Shell;

use crate::cli::error::Failure;
use crate::cli::output::Out;

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
    if arguments.shell == Shell::Bash {
        script = one_name(script);
    }
    out.raw(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// In bash's script a command is found under one name and completed under another: `clap_complete`
/// 4.6 takes the dash of our own name for the border between two commands there.
fn one_name(script: Vec<u8>) -> Vec<u8> {
    match String::from_utf8(script) {
        Ok(text) => text.replace("claude__subcmd__peers", "claude__peers").into_bytes(),
        Err(error) => error.into_bytes(),
    }
}
