//! The state of the broker, found out without starting one.

use std::time::Duration;

use serde::Serialize;

use crate::client::{Client, ClientError, StartError};
use crate::config::Config;
use crate::endpoint::broker_lock::Holder;
use crate::endpoint::localhost;
use crate::endpoint::socket;
use crate::endpoint::socket::holder;
use crate::protocol::health::{Health, Started};
use crate::service;
use crate::sys::socket_owner;

/// How long a healthy broker may take to answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// What the files of the endpoint tell of the broker, without a call.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The settings, with the socket that the broker serves.
    pub config: Config,
    /// The broker that holds the lock.
    pub broker: Option<Holder>,
}

impl Observed {
    /// Looks at the lock files.
    #[must_use]
    pub fn take(config: &Config) -> Self {
        let config = socket::settled(config);
        Self { broker: holder(&config), config }
    }

    /// Returns what the broker does before it can serve, if that takes long.
    #[must_use]
    pub fn opening(&self) -> Option<&str> {
        self.broker.as_ref()?.busy.as_deref()
    }

    /// Whether a service manager listens. No connection is made: that would start the broker.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        if cfg!(target_os = "macos") {
            // The path tells nothing there: a broker that was killed leaves its socket as well.
            let status = service::manager(&self.config).status();
            return status.is_ok_and(|status| matches!(status.state, service::State::Ready));
        }
        socket_owner::is_there(&self.config.paths.socket)
    }
}

/// The broker's state and settings, as `status --json` prints them.
#[derive(Debug, Serialize)]
pub struct BrokerStatus {
    pub state: BrokerState,
    pub pid: Option<u32>,
    /// What the broker does before it can serve.
    #[serde(rename = "busy")]
    pub opening: Option<String>,
    pub socket: String,
    pub database: String,
    pub port: u16,
    /// Who else listens where `localhost` may lead.
    pub other_localhost: Option<String>,
    /// Why the service does not serve, or would not.
    #[serde(rename = "no_service")]
    pub service_unused: Option<ServiceUnused>,
    pub health: Option<Health>,
    /// The broker that holds the lock.
    #[serde(skip)]
    pub broker: Option<Holder>,
    /// Why it is unknown whether a broker answers.
    #[serde(skip)]
    pub unknown: Option<StartError>,
}

/// Why the service is not used, and what to do about it.
#[derive(Debug, Serialize)]
pub struct ServiceUnused {
    pub reason: String,
    pub hint: Option<String>,
}

/// The state of the broker.
#[derive(Debug, Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum BrokerState {
    /// It answers.
    Running,
    /// A service manager listens and starts it on the first connection.
    Ready,
    /// A process holds the lock and does something that takes long before it serves.
    #[serde(rename = "busy")]
    Opening,
    /// A process holds the lock and does not answer.
    Silent,
    /// Nothing listens.
    Stopped,
    /// It cannot be found out from here, for example in a sandbox.
    Unknown,
}

impl BrokerStatus {
    /// Finds out the broker's state.
    ///
    /// # Errors
    ///
    /// Returns an answer of the broker that is neither health nor silence: a refusal, for example.
    pub async fn of(client: Client) -> Result<Self, ClientError> {
        let observed = Observed::take(client.config());
        let (mut health, mut unknown) = (None, None);
        let state = if observed.opening().is_some() {
            BrokerState::Opening
        } else if observed.broker.is_some() {
            match ask(client).await {
                Ok(answer) => {
                    health = Some(answer);
                    BrokerState::Running
                }
                Err(
                    ClientError::Silent
                    | ClientError::Broken { .. }
                    | ClientError::NotRunning
                    | ClientError::OutOfReach(_),
                ) => BrokerState::Silent,
                Err(ClientError::Start(error @ StartError::CannotLook { .. })) => {
                    unknown = Some(error);
                    BrokerState::Unknown
                }
                Err(error) => return Err(error),
            }
        } else if observed.is_awaited() {
            BrokerState::Ready
        } else {
            BrokerState::Stopped
        };
        let service_unused = match state {
            BrokerState::Ready | BrokerState::Unknown => None,
            _ => service_unused(&observed),
        };
        let Observed { config, broker } = observed;
        let other =
            localhost::other_listener(config.port, broker.as_ref().map(|broker| broker.pid));
        Ok(Self {
            state,
            pid: broker.as_ref().map(|broker| broker.pid),
            opening: broker.as_ref().and_then(|broker| broker.busy.clone()),
            socket: config.paths.socket.display().to_string(),
            database: config.database_path().display().to_string(),
            port: config.port,
            other_localhost: other.map(|owner| localhost::described(config.port, &owner)),
            service_unused,
            health,
            broker,
            unknown,
        })
    }
}

/// Asks the broker for its health. Starts none.
///
/// # Errors
///
/// Returns [`ClientError::Silent`] after [`ANSWER_TIMEOUT`], or why the call failed.
pub async fn ask(client: Client) -> Result<Health, ClientError> {
    let client = client.without_start();
    tokio::time::timeout(ANSWER_TIMEOUT, client.health()).await.unwrap_or(Err(ClientError::Silent))
}

/// Returns why the service is not used: as the running broker was told, else as the files tell.
fn service_unused(observed: &Observed) -> Option<ServiceUnused> {
    let now = service::manager(&observed.config).availability().err();
    let (reason, hint) = match &observed.broker {
        Some(Holder { started: Started::Systemd | Started::Launchd, .. }) => return None,
        Some(Holder { fallback_reason: Some(reason), .. }) => {
            let hint = match now {
                None => Some("to switch to the service: `claude-peers service start`".to_owned()),
                Some(now) if now.to_string() == *reason => now.hint(),
                Some(_) => Some("`claude-peers doctor` tells more".to_owned()),
            };
            (reason.clone(), hint)
        }
        _ => now.map(|now| (now.to_string(), now.hint()))?,
    };
    Some(ServiceUnused { reason, hint })
}
