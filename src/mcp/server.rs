//! The MCP server's handler: the handshake, and the tools' dispatch.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomRequest,
    CustomResult, DiscoverResult, ErrorCode, ErrorData, ExperimentalCapabilities, Implementation,
    InitializeRequestParams, InitializeResult, ListToolsResult, PaginatedRequestParams,
    ProtocolVersion, ServerCapabilities, ServerConfig,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::{Peer, RoleServer};
use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::client::Client;
use crate::config::{Config, ConfigError};
use crate::mcp::instructions::INSTRUCTIONS;
use crate::mcp::session::stream::{Ends, Standing};
use crate::mcp::session::{push, stream};
use crate::mcp::tools::arguments;
use crate::mcp::tools::calls::told;
use crate::mcp::transport::SentHooks;
use crate::mcp::{session, tools};
use crate::protocol::peers::CLAUDE_CODE;
use crate::text;

/// A health check starts a server for about 100 ms: only a session that stays is announced.
const SETTLE: Duration = Duration::from_millis(500);

/// The client registers its channel listener at no visible signal some 40 ms after
/// `notifications/initialized`; a push before that is lost.
const CHANNEL_OPENS: Duration = Duration::from_secs(1);

/// How long the first listing waits for the session's own stream.
const ARRIVAL: Duration = Duration::from_secs(1);

/// The state behind the handler.
pub struct Server {
    config: Result<Config, ConfigError>,
    pub(super) hooks: SentHooks,
    client: OnceCell<Client>,
    /// Sends of one session go one by one, so that they keep their order. It holds when a send
    /// last found the broker out of reach.
    pub(super) sending: Mutex<Option<Instant>>,
    /// Each is done once what a result showed is confirmed.
    pub(super) shown: Mutex<Vec<oneshot::Receiver<()>>>,
    pub(super) seen: push::Shown,
    open_at: watch::Sender<Option<Instant>>,
    standing: watch::Sender<Standing>,
}

impl Server {
    #[must_use]
    pub fn new(config: Result<Config, ConfigError>) -> Arc<Self> {
        Arc::new(Self {
            config,
            hooks: SentHooks::default(),
            client: OnceCell::new(),
            sending: Mutex::new(None),
            shown: Mutex::new(Vec::new()),
            seen: push::Shown::default(),
            open_at: watch::Sender::new(None),
            standing: watch::Sender::default(),
        })
    }

    #[must_use]
    pub fn sent_hooks(&self) -> SentHooks {
        self.hooks.clone()
    }

    /// This session's client; the first call makes it, and keeps its stream open from then on.
    pub(super) async fn client(&self, peer: &Peer<RoleServer>) -> Result<&Client, String> {
        let config = self.config.as_ref().map_err(|error| {
            format!("claude-peers is not configured right: {error}. {}", error.hint())
        })?;
        let make = async || {
            let info = peer.peer_info().ok_or("The client has not introduced itself.")?;
            let (registration, around, inbox) = session::registration(config, &info).await;
            let (cwd, one_shot) = (registration.cwd.clone(), registration.one_shot);
            let process = registration.client.clone();
            let client = Client::new(config.clone())
                .map_err(|error| told(&error))?
                .with_session(registration)
                .around(&around);
            let (deliver, deliveries) = mpsc::unbounded_channel();
            let (write, written) = mpsc::unbounded_channel();
            let (opening, seen) = (self.open_at.subscribe(), self.seen.clone());
            let standing = self.standing.subscribe();
            tokio::spawn(push::pump(peer.clone(), deliveries, standing, opening, write, seen));
            tokio::spawn(push::report(client.clone(), written));
            tokio::spawn(stream::describe(client.clone(), cwd, one_shot));
            let standing = self.standing.clone();
            let ends = Ends { deliveries: deliver, standing, inbox, process };
            tokio::spawn(stream::keep_open(client.clone(), ends));
            Ok::<_, String>(client)
        };
        self.client.get_or_try_init(make).await
    }

    /// Once the answer is out the client's own hook follows, and if it does not, hooks are no way
    /// to this session any more. An answer that is an error has no such hook, and no other client
    /// has any.
    fn tell_when_sent(&self, context: &RequestContext<RoleServer>) {
        let has_hooks = context.peer.peer_info().is_some_and(|i| i.client_info.name == CLAUDE_CODE);
        let Some(client) = self.client.get().filter(|_| has_hooks).cloned() else { return };
        self.hooks.on_sent(context.id.clone(), move || {
            tokio::spawn(async move {
                if let Err(error) = client.tool_answered().await {
                    tracing::debug!("that a tool answered is not known: {error}");
                }
            });
        });
    }

    /// Waits a moment for the stream of a session that has only just begun: it is live then, for
    /// itself as for others.
    pub(super) async fn arrived(&self) {
        let mut standing = self.standing.subscribe();
        let settled = standing.wait_for(|standing| *standing != Standing::Opening);
        // Where it takes longer the answer says how things are.
        let _ = tokio::time::timeout(ARRIVAL, settled).await;
    }
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
        known(&request.name)?;
        let outcome = tokio::select! {
            outcome = Box::pin(self.call(request, &context)) => outcome,
            () = context.ct.cancelled() => Err("The call was cancelled.".to_owned()),
        };
        let result = match outcome {
            Ok(output) => {
                self.tell_when_sent(&context);
                let mut result = CallToolResult::success(vec![ContentBlock::text(output.text)]);
                result.structured_content = Some(output.structured);
                result
            }
            Err(words) => CallToolResult::error(vec![ContentBlock::text(words)]),
        };
        Ok(result.into())
    }

    /// What has the method of a call, and not its form, arrives here as of an unknown method.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        if request.method != "tools/call" {
            return Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, request.method, None));
        }
        let params = request.params.unwrap_or_default();
        let Some(name) = params.get("name").and_then(Value::as_str) else {
            return Err(ErrorData::invalid_params("the call names no tool", None));
        };
        known(name)?;
        Ok(CustomResult::new(json!({
            "content": [{ "type": "text", "text": arguments::no_object(name) }],
            "isError": true,
        })))
    }
}

fn known(tool: &str) -> Result<(), ErrorData> {
    let known = [tools::LIST_PEERS, tools::SEND_MESSAGE, tools::SET_SUMMARY, tools::CHECK_MESSAGES];
    if known.contains(&tool) {
        return Ok(());
    }
    Err(ErrorData::invalid_params(format!("there is no tool {}", text::line(tool, 80)), None))
}
