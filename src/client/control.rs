//! Stopping the broker and nothing else: by the service manager, an order, SIGTERM, SIGKILL.

use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;

use crate::client::database_state::{BeforeStop, MailLocation, MailStatus};
use crate::client::{Client, status};
use crate::config::Config;
use crate::endpoint::broker_lock::{ELSEWHERE_HINT, Holder, Whereabouts, unknown_hint};
use crate::endpoint::release::wait_until_released;
use crate::endpoint::socket::holder;
use crate::endpoint::typescript;
use crate::protocol::health::Started;
use crate::service;
use crate::service::{ServiceError, Step, systemd};
use crate::sys::listening::{Listening, listening, may_use_sockets};
use crate::sys::socket_owner::Owner;
use crate::sys::subprocess::run_in_background;

/// How long a broker may take to end after the order to stop.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a broker may take to end after a signal, or after its manager has stopped it.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a broker may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// What [`stop_broker`] found and did.
pub enum StopOutcome {
    /// No broker ran. The TypeScript claude-peers may have the port instead.
    NotRunning {
        typescript: Option<Owner>,
    },
    Stopped(Stopped),
}

/// A broker that was stopped.
pub struct Stopped {
    pub pid: u32,
    /// The number of sessions that were live.
    pub sessions: u64,
    /// The service manager that still listens, and starts the broker on the next connection.
    pub manager: Option<&'static str>,
    pub mail: MailStatus,
}

/// Why no broker was stopped, or only with a loss.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// In a sandbox, for example: the broker's lock may be hidden as well.
    #[error("the broker cannot be asked to stop from here: {error}")]
    Unreachable { error: Errno, socket: PathBuf },
    #[error("the broker is {0}; this command does not signal processes elsewhere")]
    Elsewhere(String),
    #[error("the broker (process {0}) does not end")]
    DoesNotEnd(u32),
    #[error("the broker (process {pid}) was stopped, but its database {} is gone: peers and messages are lost", database.display())]
    MailLost { pid: u32, database: PathBuf },
}

impl StopError {
    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unreachable { error, socket } => unknown_hint(*error, socket),
            Self::Elsewhere(_) => ELSEWHERE_HINT.to_owned(),
            Self::DoesNotEnd(_) => {
                "It may be waiting for a disk that hangs. Look at the process with `ps`, and end \
                 it by hand."
                    .to_owned()
            }
            Self::MailLost { .. } => {
                "The next broker starts with an empty database. To restore a backup, put it in \
                 place before you start one."
                    .to_owned()
            }
        }
    }
}

/// Stops the broker of the client's settings, if one runs, and looks what became of its messages.
///
/// # Errors
///
/// Returns why the broker could not be stopped, or that its messages are lost.
pub async fn stop_broker(client: Client) -> Result<StopOutcome, StopError> {
    let config = client.config().clone();
    let running = holder(&config);
    if let Some(error) = unreachable(&config, running.as_ref()) {
        return Err(StopError::Unreachable { error, socket: config.paths.socket });
    }
    let Some(running) = running else {
        return Ok(StopOutcome::NotRunning { typescript: typescript::broker_at(config.port) });
    };
    let before = BeforeStop::of(&client).await;
    let sessions = stop(client, &config, &running).await?;
    let mail = before.after(&config);
    if matches!(mail.location, MailLocation::Lost) {
        return Err(StopError::MailLost { pid: running.pid, database: mail.database });
    }
    let manager = match running.started {
        Started::Systemd => Some("systemd"),
        Started::Launchd => Some("launchd"),
        _ => None,
    };
    Ok(StopOutcome::Stopped(Stopped { pid: running.pid, sessions, manager, mail }))
}

/// Stops the service, and adds a step for the sessions that will start it again.
///
/// # Errors
///
/// Returns the manager's error.
pub async fn stop_service(client: Client) -> Result<Vec<Step>, ServiceError> {
    let config = client.config().clone();
    let sessions = match holder(&config) {
        Some(_) => live_sessions(client).await,
        None => 0,
    };
    let mut steps = service::manager(&config).stop()?;
    if sessions > 0 {
        steps.push(Step::note(format!(
            "{sessions} sessions are running and will start it immediately."
        )));
    }
    Ok(steps)
}

/// Returns how many sessions the running broker serves; 0 if it does not answer.
async fn live_sessions(client: Client) -> u64 {
    let health = status::ask(client).await.ok();
    health.and_then(|health| health.detail).map_or(0, |detail| detail.peers)
}

/// Returns why no broker can be reached from here.
///
/// Where no broker holds the lock, no connection is tried: that would start the service.
fn unreachable(config: &Config, running: Option<&Holder>) -> Option<Errno> {
    match running.map(|_| listening(&config.paths.socket)) {
        Some(Listening::Unknown(error)) => Some(error),
        Some(_) => None,
        None => may_use_sockets().err(),
    }
}

/// Stops the broker and returns the number of sessions that were live.
async fn stop(client: Client, config: &Config, running: &Holder) -> Result<u64, StopError> {
    let client = client.without_start();
    let health = tokio::time::timeout(ANSWER_TIMEOUT, client.health()).await;
    let sessions = match &health {
        Ok(Ok(health)) => health.detail.as_ref().map_or(0, |detail| detail.peers),
        _ => 0,
    };
    // The service manager must know that the broker was stopped on purpose.
    if running.started == Started::Systemd
        && running.whereabouts() == Whereabouts::Here
        && stop_unit(config, running.pid).await
        && is_released(config, running, SIGNAL_TIMEOUT).await
    {
        return Ok(sessions);
    }
    let order = tokio::time::timeout(ANSWER_TIMEOUT, client.shutdown()).await;
    if matches!(order, Ok(Ok(_))) && is_released(config, running, ORDER_TIMEOUT).await {
        return Ok(sessions);
    }
    // Both signals are for a process that is proven to be the broker.
    if running.ask_to_stop() && is_released(config, running, SIGNAL_TIMEOUT).await {
        return Ok(sessions);
    }
    if running.kill() && is_released(config, running, SIGNAL_TIMEOUT).await {
        return Ok(sessions);
    }
    if running.whereabouts() != Whereabouts::Here {
        return Err(StopError::Elsewhere(running.described()));
    }
    Err(StopError::DoesNotEnd(running.pid))
}

/// Stops the unit through systemd. Returns false if this process is not the unit's.
///
/// A broker that another program activated is not the service, which may serve other settings.
async fn stop_unit(config: &Config, pid: u32) -> bool {
    let environment = config.environment.clone();
    let stop = move || {
        systemd::show(&environment, systemd::SERVICE).is_ok_and(|service| service.main_pid == pid)
            && systemd::systemctl_within(&environment, ORDER_TIMEOUT, &["stop", systemd::SERVICE])
                .is_ok()
    };
    run_in_background("systemctl", stop).await.unwrap_or(false)
}

/// Waits on a thread of its own until the broker has released its locks.
async fn is_released(config: &Config, running: &Holder, limit: Duration) -> bool {
    let (config, running) = (config.clone(), running.clone());
    let wait = move || wait_until_released(&config, &running, limit);
    run_in_background("release", wait).await.unwrap_or(false)
}
