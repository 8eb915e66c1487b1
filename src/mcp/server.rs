//! The MCP server's handler: the handshake, and the dispatch of tool calls.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomRequest,
    CustomResult, DiscoverResult, ErrorCode, ErrorData, ExperimentalCapabilities, Implementation,
    InitializeRequestParams, InitializeResult, ListToolsResult, PaginatedRequestParams,
    ProtocolVersion, ServerCapabilities, ServerConfig,
};
use rmcp::service::{NotificationContext, RequestContext};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::{Config, ConfigError};
use crate::mcp::error_text::invalid_arguments;
use crate::mcp::instructions::INSTRUCTIONS;
use crate::mcp::session::Session;
use crate::mcp::tools;
use crate::mcp::tools::ToolName;
use crate::mcp::tools::calls::Tools;
use crate::mcp::transport::SentCallbacks;
use crate::mcp::transport::output::PushLines;
use crate::text;

/// Time after `notifications/initialized` until the session registers. A health check of the client
/// starts a server for about 100 ms, and must not appear as a peer.
const SETTLE_TIME: Duration = Duration::from_millis(500);

/// Time after `notifications/initialized` until pushes are written. Claude Code registers its
/// channel listener some 40 ms after it, without a sign that we could see; a push before that is
/// lost.
const CHANNEL_OPEN_DELAY: Duration = Duration::from_secs(1);

/// The handler of one session's requests.
pub struct Server(Tools);

impl Server {
    /// `callbacks` run when an answer was written, and messages go the way of `pushes`.
    #[must_use]
    pub fn new(
        config: Result<Config, ConfigError>,
        callbacks: SentCallbacks,
        pushes: PushLines,
    ) -> Arc<Self> {
        Arc::new(Self(Tools::new(Session::new(config, pushes), callbacks)))
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

    /// Newer revisions have no unsolicited notifications, and so no channel.
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
        let session = &self.0.session;
        session.allow_pushes_from(Instant::now() + CHANNEL_OPEN_DELAY);
        tokio::time::sleep(SETTLE_TIME).await;
        if let Err(error) = session.client(&context.peer).await {
            tracing::warn!("{error}");
        }
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::definitions()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let tool = tool(&request.name)?;
        let call = self.0.call(tool, request.arguments, &context);
        let outcome = if tool == ToolName::SendMessage {
            // It says itself what became of the message.
            call.await
        } else {
            tokio::select! {
                outcome = call => outcome,
                () = context.ct.cancelled() => Err(cancelled(tool)),
            }
        };
        let result = match outcome {
            Ok(output) => {
                self.0.report_result_when_sent(&context);
                let mut result = CallToolResult::success(vec![ContentBlock::text(output.text)]);
                result.structured_content = Some(output.structured);
                result
            }
            Err(words) => CallToolResult::error(vec![ContentBlock::text(words)]),
        };
        Ok(result.into())
    }

    /// Answers tool calls whose parameters rmcp could not read. It takes them for a request of an
    /// unknown method.
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
        let what = "they must be an object with a member for each argument";
        Ok(CustomResult::new(json!({
            "content": [{ "type": "text", "text": invalid_arguments(tool(name)?, what) }],
            "isError": true,
        })))
    }
}

/// Returns the text for a call that was cancelled. What may have been done is said, and that it may be
/// repeated.
fn cancelled(tool: ToolName) -> String {
    match tool {
        ToolName::SetSummary => "The call was cancelled. It is not known whether the summary was set; it can be set again.".to_owned(),
        _ => "The call was cancelled.".to_owned(),
    }
}

fn tool(name: &str) -> Result<ToolName, ErrorData> {
    name.parse().map_err(|()| {
        ErrorData::invalid_params(format!("there is no tool {}", text::line(name, 80)), None)
    })
}
