//! What several commands share: exit codes, limits, the runtime, and settings of a faulty file.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::cli::error::CliError;
use crate::cli::output::messages::Messages;
use crate::client::Client;
use crate::client::status::Observed;
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

/// Asks a broker that runs, and starts none. `None` if there is none, or it does not answer within
/// `limit`.
pub fn ask_running<T>(
    config: Config,
    limit: Duration,
    question: impl AsyncFnOnce(&Client) -> Option<T>,
) -> Option<T> {
    let observed = Observed::take(&config);
    if observed.broker.is_none() || observed.opening().is_some() {
        // A connection could start one.
        return None;
    }
    let client = Client::new(config).ok()?.without_start();
    let runtime = runtime().ok()?;
    let asked = runtime.block_on(async { tokio::time::timeout(limit, question(&client)).await });
    // What hangs must not hold the process.
    runtime.shutdown_background();
    asked.ok().flatten()
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
