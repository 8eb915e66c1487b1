//! The bodies of the tools: each reads its arguments, calls the broker, and returns the answer as
//! text.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::JsonObject;
use rmcp::service::RequestContext;
use tokio::sync::{Mutex, oneshot};

use crate::client::Client;
use crate::mcp::error_text::{MAX_SENTENCE, error_text, no_repository, not_sent};
use crate::mcp::session::Session;
use crate::mcp::tools::arguments::read;
use crate::mcp::tools::history;
use crate::mcp::tools::reading::{Reading, Room};
use crate::mcp::tools::results;
use crate::mcp::tools::results::{Asked, Output};
use crate::mcp::tools::sends::Sends;
use crate::mcp::tools::waiting;
use crate::mcp::tools::waiting::with_progress;
use crate::mcp::tools::{
    CheckMessagesArguments, ListPeersArguments, SendMessageArguments, SetSummaryArguments, ToolName,
};
use crate::mcp::transport::SentCallbacks;
use crate::protocol::MessageId;
use crate::protocol::mailbox::{Confirm, Take};
use crate::protocol::messages::{SendMessage, SendToScope, Sent};
use crate::protocol::peers::{CLAUDE_CODE, ListPeers, SetProfile};
use crate::protocol::scope::Scope;
use crate::text;

/// How long a second `check_messages` waits for the confirmation of the first.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(1);

/// The most peers that are listed: about as many as a result has room for.
const MAX_LISTED: u32 = 60;

type Context = RequestContext<RoleServer>;

/// The tools of one session.
pub struct Tools {
    pub session: Arc<Session>,
    sends: Arc<Sends>,
    callbacks: SentCallbacks,
    /// Results whose messages are not confirmed yet. Each ends with its confirmation.
    unconfirmed: Mutex<Vec<oneshot::Receiver<()>>>,
    reading: Reading,
    /// Whether a result is being reported as written.
    is_reporting: Arc<AtomicBool>,
}

impl Tools {
    /// The tools of `session`; `callbacks` run when their results were written.
    pub fn new(session: Session, callbacks: SentCallbacks) -> Self {
        let session = Arc::new(session);
        let sends = Sends::new(Arc::clone(&session));
        let (unconfirmed, reading) = (Mutex::default(), Reading::default());
        let is_reporting = Arc::default();
        Self { session, sends, callbacks, unconfirmed, reading, is_reporting }
    }

    /// Calls a tool.
    ///
    /// # Errors
    ///
    /// A text for the model: what went wrong, and what to do.
    pub async fn call(
        &self,
        tool: ToolName,
        arguments: Option<JsonObject>,
        context: &Context,
    ) -> Result<Output, String> {
        // Only what a plain message needs is part of this future: those of a burst are many at a time.
        match tool {
            ToolName::ListPeers => {
                let arguments = read::<ListPeersArguments>(tool, arguments)?;
                let list = async {
                    let client = self.session.client(&context.peer).await?;
                    self.session.wait_until_listed().await;
                    list_peers(client, arguments).await
                };
                Box::pin(list).await
            }
            ToolName::SendMessage => {
                // Nothing may be awaited before the message has its place among the session's sends.
                let arguments = read::<SendMessageArguments>(tool, arguments)?;
                self.send_message(arguments, context).await
            }
            ToolName::SetSummary => {
                let arguments = read::<SetSummaryArguments>(tool, arguments)?;
                let set = async {
                    set_summary(self.session.client(&context.peer).await?, arguments).await
                };
                Box::pin(set).await
            }
            ToolName::CheckMessages => {
                let arguments = read::<CheckMessagesArguments>(tool, arguments)?;
                let limit = waiting::limit(arguments.wait_seconds, context);
                let asked = arguments.history.as_deref().map(str::trim);
                if let Some(asked) = asked.filter(|asked| !asked.is_empty()) {
                    let earlier = async {
                        history::earlier(self.session.client(&context.peer).await?, asked).await
                    };
                    return Box::pin(earlier).await;
                }
                let check = async {
                    let client = self.session.client(&context.peer).await?;
                    self.check_messages(client, limit, context).await
                };
                Box::pin(check).await
            }
        }
    }

    /// Reports to the broker when the result of this call was written.
    ///
    /// Claude Code runs its own hook after a result. If none follows, the broker knows that hooks
    /// do not reach this session any more. An error has no such hook, and no other client has any.
    /// One report stands for all results that are written while it is under way. None follows for
    /// these: it could come after their hooks, and would seem to have none.
    pub fn report_result_when_sent(&self, context: &Context) {
        let is_claude = context.peer.peer_info().is_some_and(|i| i.client_info.name == CLAUDE_CODE);
        let client = self.session.known_client().filter(|_| is_claude).cloned();
        let Some(client) = client else { return };
        let is_reporting = Arc::clone(&self.is_reporting);
        self.callbacks.on_sent(context.id.clone(), move || {
            if is_reporting.swap(true, Ordering::Relaxed) {
                return;
            }
            tokio::spawn(async move {
                if let Err(error) = client.tool_answered().await {
                    tracing::debug!("a tool's answer could not be reported: {error}");
                }
                is_reporting.store(false, Ordering::Relaxed);
            });
        });
    }

    async fn send_message(
        &self,
        arguments: SendMessageArguments,
        context: &Context,
    ) -> Result<Output, String> {
        let limit = waiting::limit(arguments.wait_seconds, context);
        let reply_to = arguments.reply_to.filter(|id| !id.trim().is_empty());
        if let Some(scope) = Scope::from_address(&arguments.to_id) {
            let scope = scope.map_err(|error| not_sent(&format!("{error}.")))?;
            if reply_to.is_some() || !limit.is_zero() {
                return Err(not_sent(
                    "reply_to and wait_seconds work with one peer, not with a scope. Leave them out, or name one peer.",
                ));
            }
            return Box::pin(self.send_to_scope(scope, arguments.message, context)).await;
        }
        let request = SendMessage {
            to: arguments.to_id,
            text: arguments.message,
            reply_to: reply_to.map(|id| MessageId::from_text(id.trim())),
            from_session: None,
            wait: !limit.is_zero(),
        };
        let sent = self.sends.message(&context.peer, request, &context.ct).await?;
        if limit.is_zero() {
            return Ok(results::send_message(&sent));
        }
        let wait = async {
            let client = self.session.client(&context.peer).await?;
            self.wait_for_answer(client, &sent, limit, context).await
        };
        Box::pin(wait).await
    }

    async fn send_to_scope(
        &self,
        scope: Scope,
        text: String,
        context: &Context,
    ) -> Result<Output, String> {
        let request = SendToScope { scope, text, directory: None, repo: None, from_session: None };
        match self.sends.to_scope(&context.peer, request, &context.ct).await {
            Ok(sent) => Ok(results::sent_to_scope(&sent, scope)),
            Err(words) => match self.session.known_client() {
                Some(client) => Err(no_repository(client, scope).await.unwrap_or(words)),
                None => Err(words),
            },
        }
    }

    /// Waits for the reply to a message that was sent. If that fails, the message is sent all the
    /// same.
    async fn wait_for_answer(
        &self,
        client: &Client,
        sent: &Sent,
        limit: Duration,
        context: &Context,
    ) -> Result<Output, String> {
        let name = sent.to.name.as_deref().unwrap_or(sent.to.id.as_str());
        let what = format!("Waiting for the answer of {}", text::line(name, 120));
        let waited = tokio::select! {
            waited = with_progress(context, limit, &what, client.answer_to(&sent.id, limit)) => waited,
            () = context.ct.cancelled() => {
                return Ok(results::wait_failed(sent, "The call was cancelled."));
            }
        };
        match waited {
            Ok(mut answered) => {
                self.session.known.mark_pushed(answered.answer.as_mut());
                let shown = results::answered(sent, &answered, limit, Room::of(context).form);
                self.session.known.note_shown(&shown.begun.as_ref().map(|begun| begun.id.clone()));
                let confirmed = self.confirm_when_written(client, shown.whole, context);
                self.unconfirmed.lock().await.extend(confirmed);
                if shown.begun.is_some() {
                    self.reading.note_when_written(&self.callbacks, context, shown.begun);
                }
                Ok(shown.output)
            }
            Err(error) => Ok(results::wait_failed(sent, &error_text(&error))),
        }
    }

    async fn check_messages(
        &self,
        client: &Client,
        limit: Duration,
        context: &Context,
    ) -> Result<Output, String> {
        let room = Room::of(context);
        let request = Take { max_bytes: room.messages };
        // A second call must not show again what the first is just about to confirm.
        let mut unconfirmed = self.unconfirmed.lock().await;
        for confirmed in unconfirmed.drain(..) {
            // A result that was never written confirms nothing: its messages are shown again.
            let _ = tokio::time::timeout(CONFIRM_TIMEOUT, confirmed).await;
        }
        let taken = if limit.is_zero() {
            client.take(&request).await
        } else {
            // Other calls may proceed meanwhile.
            drop(unconfirmed);
            let wait = client.take_within(&request, limit);
            let taken = with_progress(context, limit, "Waiting for messages", wait).await;
            unconfirmed = self.unconfirmed.lock().await;
            taken
        };
        let mut taken = taken.map_err(|error| error_text(&error))?;
        // Nothing may be awaited from here on: what is pushed now comes behind this result.
        self.session.known.mark_pushed(&mut taken.messages);
        let begun = self.reading.begun();
        let shown = results::check_messages(&taken, limit, room.form, begun.as_ref());
        self.session.known.note_shown(&shown.begun.as_ref().map(|begun| begun.id.clone()));
        unconfirmed.extend(self.confirm_when_written(client, shown.whole, context));
        self.reading.note_when_written(&self.callbacks, context, shown.begun);
        Ok(shown.output)
    }

    /// Confirms messages when the result that shows them was written: that is evidence that the
    /// model had them. The receiver ends with the confirmation.
    fn confirm_when_written(
        &self,
        client: &Client,
        ids: Vec<MessageId>,
        context: &Context,
    ) -> Option<oneshot::Receiver<()>> {
        if ids.is_empty() {
            return None;
        }
        self.session.known.note_shown(&ids);
        let (done, confirmed) = oneshot::channel::<()>();
        let client = client.clone();
        self.callbacks.on_sent(context.id.clone(), move || {
            failpoint!("server.result.written");
            tokio::spawn(async move {
                if let Err(error) = client.confirm(&Confirm { ids }).await {
                    // They are offered again, marked as a repeat.
                    tracing::warn!("shown messages could not be confirmed: {error}");
                }
                failpoint!("server.evidence.confirmed");
                drop(done);
            });
        });
        Some(confirmed)
    }
}

async fn list_peers(client: &Client, arguments: ListPeersArguments) -> Result<Output, String> {
    let scope = arguments.scope;
    let name = arguments.name.filter(|name| !name.trim().is_empty());
    let request =
        ListPeers { scope, name: name.clone(), limit: MAX_LISTED, ..ListPeers::default() };
    match client.peers(&request).await {
        Ok(list) => {
            let asked = Asked { scope, name: name.as_deref() };
            Ok(results::list_peers(&list, asked, &notes(client)))
        }
        Err(error) => Err(no_repository(client, scope).await.unwrap_or_else(|| error_text(&error))),
    }
}

async fn set_summary(client: &Client, arguments: SetSummaryArguments) -> Result<Output, String> {
    let request = SetProfile {
        summary: Some(arguments.summary),
        name: arguments.name.filter(|name| !name.trim().is_empty()),
        automatic: false,
    };
    let set = client.set_profile(&request).await.map_err(|e| error_text(&e))?;
    Ok(results::set_summary(&set))
}

/// Returns the broker's notes about the session's registration.
fn notes(client: &Client) -> Vec<String> {
    let answer = client.registered().and_then(|registered| registered.borrow().clone());
    let notes = answer.map(|answer| answer.notes).unwrap_or_default();
    notes.iter().map(|note| text::line(note, MAX_SENTENCE)).collect()
}
