//! `claude-peers broker`: the daemon, in the foreground, activated, or detached.

use std::io::{self, Write as _};
use std::process::{Command, ExitCode};

use clap::Args;

use crate::broker;
use crate::broker::daemon::activation::Inherited;
use crate::broker::{OpenError, Options, RunError};
use crate::cli::common::runtime;
use crate::cli::error::Failure;
use crate::client::say_ready;
use crate::config::Config;
use crate::endpoint::socket;
use crate::logging;
use crate::protocol::health::Started;
use crate::service::systemd::units::forbidden_port;
use crate::sys::listening::Listening;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Start the broker in the background and return
    #[arg(long, hide = true)]
    detach: bool,
    /// Run as the broker that `--detach` started
    #[arg(long, hide = true, conflicts_with = "detach")]
    detached: bool,
}

pub fn run(arguments: &Arguments, inherited: Inherited) -> Result<ExitCode, Failure> {
    if arguments.detach {
        return detach();
    }
    if !arguments.detached {
        return serve(false, inherited);
    }
    // Away from the terminal that started us: its end must not be ours.
    rustix::process::setsid().map_err(io::Error::from)?;
    // Whoever waits for us to be ready is told why we are not: the log may lie on a full disk.
    serve(true, inherited).inspect_err(|failure| {
        let _ = io::stdout().write_all(failure.text().as_bytes());
    })
}

fn serve(detached: bool, inherited: Inherited) -> Result<ExitCode, Failure> {
    // A database that cannot grow is an error like another.
    crate::sys::signals::ignore_file_size_limit();
    // Everything we make is for its owner alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    logging::start(logging::Role::Broker);
    #[cfg(target_os = "macos")]
    let inherited = inherited.with_launchd()?;
    let by_hand = if detached { Started::Fallback } else { Started::Foreground };
    let started = inherited.manager.unwrap_or(by_hand);
    let config = Config::load().inspect_err(|error| broker::report_failure(error))?;
    let settings = config.clone();
    let mut options = Options::new(config, started);
    // Who masks the unit of the port wants none, of the service's broker either.
    if started == Started::Systemd && inherited.has_unix(&settings.paths.socket) {
        options.port_disabled_by = forbidden_port(&options.config);
    }
    options.inherited = inherited;
    if detached {
        options.ready = Some(Box::new(|| {
            if let Err(error) = say_ready() {
                tracing::warn!("whoever started us cannot be told: {error}");
            }
        }));
    }
    let runtime = runtime()?;
    match runtime.block_on(broker::run(options)) {
        Ok(()) => {}
        // Two clients may each start one where the first of them died over it, or where each has a
        // runtime directory of its own. Whoever waits wants a broker that serves, and there it is.
        Err(RunError::AlreadyRuns(_) | RunError::Database(OpenError::InUse { .. }))
            if detached && socket::answers(&settings).0 == Listening::Yes =>
        {
            say_ready()?;
        }
        Err(error) => return Err(Failure::new(error.to_string()).hint(error.hint())),
    }
    // Nothing that still hangs may hold the process.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// Starts the broker as a process of its own and ends, so that it is nobody's child.
fn detach() -> Result<ExitCode, Failure> {
    keep_descriptors_here()?;
    // Standard output is the pipe on which the broker says that it is ready; standard error its
    // log. Both are inherited.
    Command::new(std::env::current_exe()?).args(["broker", "--detached"]).spawn()?;
    Ok(ExitCode::SUCCESS)
}

/// Whatever else we inherited (a script's lock, a pipe that somebody waits on) must not live as
/// long as the broker.
fn keep_descriptors_here() -> io::Result<()> {
    use rustix::io::{FdFlags, fcntl_setfd};
    use std::os::fd::BorrowedFd;

    for entry in std::fs::read_dir("/dev/fd")?.flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        if number > 2 {
            // SAFETY: the descriptor was open a moment ago, and nobody else runs in this process;
            // the listing's own is the only one that may be closed by now, which is an error here.
            let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
            let _ = fcntl_setfd(descriptor, FdFlags::CLOEXEC);
        }
    }
    Ok(())
}
