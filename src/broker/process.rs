//! The broker as a process: log, permissions and settings first, then the broker itself.

use std::io;

use crate::broker::daemon::activation::Inherited;
use crate::broker::daemon::notify::report_failure;
use crate::broker::error::RunError;
use crate::broker::run::{Options, run};
use crate::broker::store::OpenError;
use crate::config::{Config, ConfigError, Environment};
use crate::endpoint::ready::report_ready;
use crate::endpoint::socket;
use crate::logging;
use crate::protocol::health::Started;
use crate::sys::listening::Listening;
use crate::sys::signals;

/// Why the broker did not run, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Runs the broker until it ends.
///
/// `detached` says that a client started it and waits until it is ready. `masked_port` returns why
/// the service's broker must not open the port.
///
/// # Errors
///
/// Returns why the broker could not start.
pub fn run_process(
    detached: bool,
    inherited: Inherited,
    environment: &Environment,
    masked_port: fn(&Config) -> Option<String>,
) -> Result<(), ProcessError> {
    // A database that cannot grow is an error like another.
    signals::ignore_file_size_limit();
    // Every file of the broker is for its owner alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    logging::start(logging::Role::Broker, environment);
    #[cfg(target_os = "macos")]
    let inherited = inherited.with_launchd()?;
    let without_manager = if detached { Started::Fallback } else { Started::Foreground };
    let started = inherited.manager.unwrap_or(without_manager);
    let config = Config::load(environment).inspect_err(|error| report_failure(error))?;
    let settings = config.clone();
    let mut options = Options::new(config, started);
    // A user who masks the unit of the port wants no port, of the service's broker either.
    if started == Started::Systemd && inherited.has_unix(&settings.paths.socket) {
        options.port_disabled_by = masked_port(&options.config);
    }
    options.inherited = inherited;
    if detached {
        options.ready = Some(Box::new(|| {
            if let Err(error) = report_ready() {
                tracing::warn!("the client that started this broker cannot be notified: {error}");
            }
        }));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(run(options)) {
        Ok(()) => {}
        // Two clients may each start a broker, where the first of them died meanwhile or each has
        // a runtime directory of its own. The client waits for a broker that serves, and one does.
        Err(RunError::AlreadyRuns(_) | RunError::Database(OpenError::InUse { .. }))
            if detached && socket::answers(&settings).0 == Listening::Yes =>
        {
            report_ready()?;
        }
        Err(error) => return Err(error.into()),
    }
    // A task that still hangs must not hold the process.
    runtime.shutdown_background();
    Ok(())
}
