//! The MCP server's handler: the handshake, and the tools' dispatch.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, DiscoverResult,
    ErrorCode, ErrorData, ExperimentalCapabilities, Implementation, InitializeRequestParams,
    InitializeResult, ListToolsResult, PaginatedRequestParams, ProtocolVersion, RequestId,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{Peer, RoleServer};
use tokio::sync::{Mutex, OnceCell, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::arguments::{
    CheckMessagesArguments, ListPeersArguments, SendMessageArguments, SetSummaryArguments, read,
};
use super::instructions::INSTRUCTIONS;
use super::results::{self, Output};
use super::transport::SentHooks;
use super::{link, push, session, tools};
use crate::client::{Client, ClientError};
use crate::config::{Config, ConfigError};
use crate::protocol::MessageId;
use crate::protocol::mailbox::{Confirm, Take};
use crate::protocol::messages::SendMessage;
use crate::protocol::peers::{ListPeers, SetProfile};
use crate::text;

/// A health check starts a server for about 100 ms: only a session that stays is announced.
const SETTLE: Duration = Duration::from_millis(500);

/// The client registers its channel listener at no visible signal some 40 ms after
/// `notifications/initialized`; a push before that is lost.
const CHANNEL_OPENS: Duration = Duration::from_secs(1);

/// How long a second `check_messages` waits for the confirmation of the first.
const CONFIRM: Duration = Duration::from_secs(1);

/// Bytes of message text in one result: below what clients show without cutting.
const RESULT_BYTES: u64 = 40_000;

/// The state behind the handler.
pub struct Server {
    config: Result<Config, ConfigError>,
    hooks: SentHooks,
    client: OnceCell<Client>,
    /// Sends of one session go one by one, so that they keep their order. It holds when a send
    /// last found the broker out of reach.
    sending: Mutex<Option<Instant>>,
    /// Done once what the last `check_messages` showed is confirmed.
    shown: Mutex<Option<oneshot::Receiver<()>>>,
    seen: push::Shown,
    open_at: watch::Sender<Option<Instant>>,
}

impl Server {
    #[must_use]
    pub fn new(config: Result<Config, ConfigError>) -> Arc<Self> {
        Arc::new(Self {
            config,
            hooks: SentHooks::default(),
            client: OnceCell::new(),
            sending: Mutex::new(None),
            shown: Mutex::new(None),
            seen: push::Shown::default(),
            open_at: watch::Sender::new(None),
        })
    }

    #[must_use]
    pub fn sent_hooks(&self) -> SentHooks {
        self.hooks.clone()
    }

    /// This session's client; the first call makes it, and keeps its stream open from then on.
    async fn client(&self, peer: &Peer<RoleServer>) -> Result<&Client, String> {
        let config = self.config.as_ref().map_err(|error| {
            format!("claude-peers is not configured right: {error}. {}", error.hint())
        })?;
        let make = async || {
            let info = peer.peer_info().ok_or("The client has not introduced itself.")?;
            let (registration, inbox) = session::registration(config, &info).await;
            let (cwd, one_shot) = (registration.cwd.clone(), registration.one_shot);
            let client = Client::new(config.clone())
                .map_err(|error| told(&error))?
                .with_session(registration);
            let (deliver, deliveries) = mpsc::unbounded_channel();
            let (write, written) = mpsc::unbounded_channel();
            let (opening, seen) = (self.open_at.subscribe(), self.seen.clone());
            tokio::spawn(push::pump(peer.clone(), deliveries, opening, write, seen));
            tokio::spawn(push::report(client.clone(), written));
            tokio::spawn(link::describe(client.clone(), cwd, one_shot));
            tokio::spawn(link::keep_open(client.clone(), deliver, inbox));
            Ok::<_, String>(client)
        };
        self.client.get_or_try_init(make).await
    }

    async fn list_peers(
        &self,
        client: &Client,
        arguments: ListPeersArguments,
    ) -> Result<Output, String> {
        let request = ListPeers { scope: arguments.scope, ..ListPeers::default() };
        let list = client.peers(&request).await.map_err(|e| told(&e))?;
        Ok(results::list_peers(&list, arguments.scope, notes(client)))
    }

    async fn send_message(
        &self,
        client: &Client,
        arguments: SendMessageArguments,
    ) -> Result<Output, String> {
        let request = SendMessage {
            to: arguments.to_id,
            text: arguments.message,
            reply_to: arguments
                .reply_to
                .filter(|id| !id.trim().is_empty())
                .map(|id| MessageId::from_text(id.trim())),
            from_session: None,
        };
        let called = Instant::now();
        // The lock is fair: whoever was called first sends first.
        let mut unreachable = self.sending.lock().await;
        if unreachable.is_some_and(|at| at > called) {
            // Each in the queue would wait out the same limit, one after the other.
            return Err("Nothing was sent: an earlier message of this session found the broker out of reach. Try again; `claude-peers status` tells more.".to_owned());
        }
        match client.send(&request).await {
            Ok(sent) => Ok(results::send_message(&sent)),
            Err(error) => {
                if error.code().is_none() {
                    *unreachable = Some(Instant::now());
                }
                Err(told(&error))
            }
        }
    }

    async fn set_summary(
        &self,
        client: &Client,
        arguments: SetSummaryArguments,
    ) -> Result<Output, String> {
        let request = SetProfile {
            summary: Some(arguments.summary),
            name: arguments.name.filter(|name| !name.trim().is_empty()),
            automatic: false,
        };
        let set = client.set_profile(&request).await.map_err(|e| told(&e))?;
        Ok(results::set_summary(&set))
    }

    /// What is returned is read only once the result was written.
    async fn check_messages(&self, client: &Client, id: RequestId) -> Result<Output, String> {
        // A second question must not show again what the first is just about to confirm.
        let mut shown = self.shown.lock().await;
        if let Some(confirmed) = shown.take() {
            // An answer that never went out confirms nothing: it is then shown again.
            let _ = tokio::time::timeout(CONFIRM, confirmed).await;
        }
        let request = Take { max_bytes: RESULT_BYTES };
        let taken = client.take(&request).await.map_err(|e| told(&e))?;
        let ids: Vec<MessageId> = taken.messages.iter().map(|message| message.id.clone()).collect();
        if !ids.is_empty() {
            self.seen.add(&ids);
            let (done, confirmed) = oneshot::channel::<()>();
            *shown = Some(confirmed);
            let client = client.clone();
            self.hooks.on_sent(id, move || {
                tokio::spawn(async move {
                    if let Err(error) = client.confirm(&Confirm { ids }).await {
                        // They are offered again, marked as a repeat.
                        tracing::warn!("what was shown could not be confirmed: {error}");
                    }
                    drop(done);
                });
            });
        }
        Ok(results::check_messages(&taken))
    }

    async fn call(
        &self,
        request: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<Output, String> {
        let name = request.name.as_ref();
        match name {
            tools::LIST_PEERS => {
                let arguments = read::<ListPeersArguments>(name, request.arguments)?;
                self.list_peers(self.client(&context.peer).await?, arguments).await
            }
            tools::SEND_MESSAGE => {
                let arguments = read::<SendMessageArguments>(name, request.arguments)?;
                self.send_message(self.client(&context.peer).await?, arguments).await
            }
            tools::SET_SUMMARY => {
                let arguments = read::<SetSummaryArguments>(name, request.arguments)?;
                self.set_summary(self.client(&context.peer).await?, arguments).await
            }
            _ => {
                let _: CheckMessagesArguments = read(name, request.arguments)?;
                self.check_messages(self.client(&context.peer).await?, context.id.clone()).await
            }
        }
    }
}

/// What the broker said about the session's registration.
fn notes(client: &Client) -> Vec<String> {
    let answer = client.registered().and_then(|registered| registered.borrow().clone());
    let notes = answer.map(|answer| answer.notes).unwrap_or_default();
    notes.iter().map(|note| text::line(note, MAX_WORDS)).collect()
}

/// The longest sentence of an error, in characters.
const MAX_WORDS: usize = 1_000;

/// An error in words for the model: what happened, what to do, and whom an ambiguous word fits.
fn told(error: &ClientError) -> String {
    // The broker's words may echo what was asked, and that may echo a peer.
    let mut words = text::line(&format!("{error}."), MAX_WORDS);
    if let Some(hint) = error.hint() {
        words.push(' ');
        words.push_str(&text::line(&hint, MAX_WORDS));
    }
    if let ClientError::Refused(refused) = error {
        for candidate in &refused.candidates {
            let name = candidate.name.as_deref().map(|n| text::line(n, 120)).unwrap_or_default();
            let cwd = text::line(&candidate.cwd, 500);
            let _ = write!(words, "\n- {} {name}, in {cwd}", candidate.id);
        }
    }
    words
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut experimental = ExperimentalCapabilities::new();
        experimental.insert("claude/channel".to_owned(), serde_json::Map::new());
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_experimental_with(experimental)
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(
                Implementation::new("claude-peers", crate::VERSION).with_title("claude-peers"),
            )
            .with_protocol_version(ProtocolVersion::V_2025_11_25)
            .with_instructions(INSTRUCTIONS)
    }

    /// A newer revision has no path for unsolicited notifications: the channel would be lost.
    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25))
    }

    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "server/discover", None))
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        self.negotiate_initialize(&request)
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.open_at.send_replace(Some(Instant::now() + CHANNEL_OPENS));
        tokio::time::sleep(SETTLE).await;
        if let Err(error) = self.client(&context.peer).await {
            tracing::warn!("{error}");
        }
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let known =
            [tools::LIST_PEERS, tools::SEND_MESSAGE, tools::SET_SUMMARY, tools::CHECK_MESSAGES];
        if !known.contains(&request.name.as_ref()) {
            return Err(ErrorData::invalid_params(
                format!("there is no tool {}", text::line(&request.name, 80)),
                None,
            ));
        }
        let outcome = tokio::select! {
            outcome = self.call(request, &context) => outcome,
            () = context.ct.cancelled() => Err("The call was cancelled.".to_owned()),
        };
        let result = match outcome {
            Ok(output) => {
                let mut result = CallToolResult::success(vec![ContentBlock::text(output.text)]);
                result.structured_content = Some(output.structured);
                result
            }
            Err(words) => CallToolResult::error(vec![ContentBlock::text(words)]),
        };
        Ok(result.into())
    }
}
