//! `claude-peers broker`: the daemon, in the foreground, activated, or detached.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Args;

use crate::broker::daemon::activation::Inherited;
use crate::broker::daemon::detach::{detach, leave_terminal};
use crate::broker::process::{ProcessError, run_process};
use crate::cli::error::CliError;
use crate::config::Environment;
use crate::service::systemd::units::forbidden_port;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Start the broker in the background and return
    #[arg(long, hide = true)]
    detach: bool,
    /// Run as the broker that `--detach` started
    #[arg(long, hide = true, conflicts_with = "detach")]
    detached: bool,
}

pub fn run(
    arguments: &Arguments,
    inherited: Inherited,
    environment: &Environment,
) -> Result<ExitCode, CliError> {
    if arguments.detach {
        detach()?;
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.detached {
        run_process(false, inherited, environment, forbidden_port)?;
        return Ok(ExitCode::SUCCESS);
    }
    leave_terminal()?;
    let result = run_process(true, inherited, environment, forbidden_port).map_err(CliError::from);
    // The client that waits is told why there is no broker: the log may be on a full disk.
    result.inspect_err(|failure| {
        let _ = io::stdout().write_all(failure.text().as_bytes());
    })?;
    Ok(ExitCode::SUCCESS)
}

impl From<ProcessError> for CliError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Config(error) => error.into(),
            ProcessError::Run(error) => Self::new(error.to_string()).hint(error.hint()),
            ProcessError::Io(error) => error.into(),
        }
    }
}
