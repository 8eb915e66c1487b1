//! The session that this server belongs to.
//!
//! Its client of the broker is made at the first use, from what the MCP client said in
//! `initialize`. From then on the session keeps its event stream open and is live.

pub mod channel;
pub mod inbox;
pub mod known;
pub mod one_shot;
pub mod push;
pub mod registration;
pub mod stream;

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::service::Peer;
use tokio::sync::{OnceCell, mpsc, watch};
use tokio::time::Instant;

use crate::client::Client;
use crate::config::{Config, ConfigError};
use crate::mcp::error_text::error_text;
use crate::mcp::session::known::KnownMessages;
use crate::mcp::session::push::Pusher;
use crate::mcp::session::registration::registration;
use crate::mcp::session::stream::{StreamOutputs, StreamState};
use crate::mcp::summary;
use crate::mcp::transport::output::PushLines;

/// How long the first listing waits for the session's own stream.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(1);

/// One session, for as long as its server runs.
pub struct Session {
    config: Result<Config, ConfigError>,
    client: OnceCell<Client>,
    pushes: PushLines,
    /// What this session was shown.
    pub known: KnownMessages,
    /// From when on pushes may be written; `None` before `notifications/initialized`.
    pushes_from: watch::Sender<Option<Instant>>,
    stream: watch::Sender<StreamState>,
}

impl Session {
    /// The session whose messages go the way of `pushes`.
    pub fn new(config: Result<Config, ConfigError>, pushes: PushLines) -> Self {
        Self {
            config,
            client: OnceCell::new(),
            pushes,
            known: KnownMessages::default(),
            pushes_from: watch::Sender::new(None),
            stream: watch::Sender::default(),
        }
    }

    /// Allows pushes from `at` on.
    pub fn allow_pushes_from(&self, at: Instant) {
        self.pushes_from.send_replace(Some(at));
    }

    /// Returns this session's client of the broker.
    ///
    /// The first call makes it and opens the event stream.
    ///
    /// # Errors
    ///
    /// A text for the model, if the configuration cannot be used.
    pub async fn client(&self, peer: &Peer<RoleServer>) -> Result<&Client, String> {
        self.client.get_or_try_init(|| self.connect(peer)).await
    }

    /// Returns the client if it has been made.
    pub fn known_client(&self) -> Option<&Client> {
        self.client.get()
    }

    /// Waits a moment for the stream of a session that has just begun, because it is live from
    /// then on, for itself as for others.
    pub async fn wait_until_listed(&self) {
        let mut stream = self.stream.subscribe();
        let settled = stream.wait_for(|state| *state != StreamState::Opening);
        // After a timeout the answer describes things as they are.
        let _ = tokio::time::timeout(ARRIVAL_TIMEOUT, settled).await;
    }

    async fn connect(&self, peer: &Peer<RoleServer>) -> Result<Client, String> {
        let config = self.config.as_ref().map_err(|error| {
            format!("claude-peers is not configured correctly: {error}. {}", error.hint())
        })?;
        let info = peer.peer_info().ok_or("The client has not sent its name yet.")?;
        let registration = registration(config, &info).await;
        let request = registration.request;
        let (cwd, one_shot, process) =
            (request.cwd.clone(), request.one_shot, request.client.clone());
        let client = Client::new(config.clone())
            .map_err(|error| error_text(&error))?
            .with_session(request)
            .around(&registration.around);
        let (written, receipts) = mpsc::unbounded_channel();
        let opens_at = self.pushes_from.subscribe();
        let pusher = Pusher::new(self.pushes.clone(), opens_at, written, self.known.clone());
        let outputs =
            StreamOutputs { state: self.stream.clone(), inbox: registration.inbox, process };
        tokio::spawn(push::receipt_loop(client.clone(), receipts));
        tokio::spawn(summary::describe_session(client.clone(), cwd, one_shot));
        tokio::spawn(stream::keep_open(client.clone(), outputs, pusher));
        Ok(client)
    }
}
