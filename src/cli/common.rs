//! What several commands share: exit codes, limits, the runtime, and settings of a faulty file.

use tokio::runtime::{Builder, Runtime};

use crate::cli::error::CliError;
use crate::cli::output::messages::Messages;
use crate::config::{Config, Environment};

/// The exit code of wrong usage, as clap has it.
pub const WRONG_USAGE: u8 = 2;

/// The exit code of `status` where no broker runs, and of `service status` where no service runs.
pub const NOT_RUNNING: u8 = 3;

/// The exit code of `--wait` without a result in time, as `timeout(1)` has it.
pub const TIMED_OUT: u8 = 124;

/// The exit code of an interrupt, as shells have it.
pub const INTERRUPTED: u8 = 130;

/// The longest `--wait`, in seconds: the default time to live of a message.
pub const MAX_WAIT_SECONDS: u64 = 7 * 24 * 60 * 60;

/// Makes a runtime of one thread, which is enough for every command and the quickest to start.
pub fn runtime() -> Result<Runtime, CliError> {
    Builder::new_current_thread().enable_all().build().map_err(CliError::from)
}

/// Loads the settings, with a warning where their file cannot be used.
///
/// For commands that must work in spite of a mistake in the file: to stop a broker, for example.
pub fn config_ignoring_file(
    environment: &Environment,
    messages: Messages,
) -> Result<Config, CliError> {
    let (config, problem) = Config::load_despite_file(environment)?;
    if let Some(problem) = problem {
        CliError::from(problem).warn(messages);
    }
    Ok(config)
}
