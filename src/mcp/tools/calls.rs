//! The tools' bodies: each asks the broker, and puts its answer into words.

use std::fmt::Write as _;
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{CallToolRequestParams, RequestId};
use rmcp::service::RequestContext;
use tokio::sync::{MutexGuard, oneshot};
use tokio::time::Instant;

use crate::client::{Client, ClientError};
use crate::mcp::server::Server;
use crate::mcp::tools;
use crate::mcp::tools::arguments::{
    CheckMessagesArguments, ListPeersArguments, SendMessageArguments, SetSummaryArguments, read,
};
use crate::mcp::tools::results;
use crate::mcp::tools::results::Output;
use crate::mcp::tools::waiting;
use crate::mcp::tools::waiting::with_progress;
use crate::protocol::MessageId;
use crate::protocol::mailbox::{Confirm, Take};
use crate::protocol::messages::{SendMessage, Sent};
use crate::protocol::peers::{ListPeers, Scope, SetProfile};
use crate::protocol::scope::SendToScope;
use crate::sys::git;
use crate::sys::git::NoRepository;
use crate::text;

/// How long a second `check_messages` waits for the confirmation of the first.
const CONFIRM: Duration = Duration::from_secs(1);

/// Bytes of message text in one result: below what clients show without cutting.
const RESULT_BYTES: u64 = 40_000;

type Context = RequestContext<RoleServer>;

impl Server {
    pub async fn call(
        &self,
        request: CallToolRequestParams,
        context: &Context,
    ) -> Result<Output, String> {
        let name = request.name.as_ref();
        match name {
            tools::LIST_PEERS => {
                let arguments = read::<ListPeersArguments>(name, request.arguments)?;
                let client = self.client(&context.peer).await?;
                self.arrived().await;
                list_peers(client, arguments).await
            }
            tools::SEND_MESSAGE => {
                let arguments = read::<SendMessageArguments>(name, request.arguments)?;
                // Its turn first: the session's first call takes longer to know its client, and who
                // was called after it must not overtake it meanwhile.
                let turn = self.turn().await;
                let client = self.client(&context.peer).await?;
                self.send_message(client, turn, arguments, context).await
            }
            tools::SET_SUMMARY => {
                let arguments = read::<SetSummaryArguments>(name, request.arguments)?;
                set_summary(self.client(&context.peer).await?, arguments).await
            }
            _ => {
                let arguments = read::<CheckMessagesArguments>(name, request.arguments)?;
                let limit = waiting::limit(arguments.wait_seconds, context);
                self.check_messages(self.client(&context.peer).await?, limit, context).await
            }
        }
    }

    async fn send_message(
        &self,
        client: &Client,
        turn: Turn<'_>,
        arguments: SendMessageArguments,
        context: &Context,
    ) -> Result<Output, String> {
        let limit = waiting::limit(arguments.wait_seconds, context);
        let reply_to = arguments.reply_to.filter(|id| !id.trim().is_empty());
        if let Some(scope) = Scope::of_recipient(&arguments.to_id) {
            let scope = scope.map_err(|error| not_sent(&format!("{error}.")))?;
            if reply_to.is_some() || !limit.is_zero() {
                return Err(not_sent(
                    "reply_to and wait_seconds are for one peer, and a scope is many. Leave them out, or name the peer.",
                ));
            }
            return send_to_scope(client, turn, scope, arguments.message).await;
        }
        let request = SendMessage {
            to: arguments.to_id,
            text: arguments.message,
            reply_to: reply_to.map(|id| MessageId::from_text(id.trim())),
            from_session: None,
            wait: !limit.is_zero(),
        };
        let sent = turn.take(client.send(&request)).await?;
        if limit.is_zero() {
            return Ok(results::send_message(&sent));
        }
        self.wait_for_answer(client, &sent, limit, context).await
    }

    /// Sends of one session go one by one. Nobody waits for answers here.
    async fn turn(&self) -> Turn<'_> {
        let called = Instant::now();
        // The lock is fair: whoever was called first sends first.
        Turn { called, unreachable: self.sending.lock().await }
    }

    /// The message is sent, whatever becomes of the wait.
    async fn wait_for_answer(
        &self,
        client: &Client,
        sent: &Sent,
        limit: Duration,
        context: &Context,
    ) -> Result<Output, String> {
        let name = sent.to.name.as_deref().unwrap_or(sent.to.id.as_str());
        let what = format!("Waiting for {}'s answer", text::line(name, 120));
        match with_progress(context, limit, &what, client.answer_to(&sent.id, limit)).await {
            Ok(answered) => {
                if let Some(answer) = &answered.answer {
                    self.show(client, vec![answer.id.clone()], context.id.clone()).await;
                }
                Ok(results::answered(sent, &answered, limit))
            }
            Err(error) => Ok(results::wait_failed(sent, &told(&error))),
        }
    }

    async fn check_messages(
        &self,
        client: &Client,
        limit: Duration,
        context: &Context,
    ) -> Result<Output, String> {
        let request = Take { max_bytes: RESULT_BYTES };
        // A second question must not show again what the first is just about to confirm.
        let mut shown = self.shown.lock().await;
        for confirmed in shown.drain(..) {
            // An answer that never went out confirms nothing: it is then shown again.
            let _ = tokio::time::timeout(CONFIRM, confirmed).await;
        }
        let taken = if limit.is_zero() {
            client.take(&request).await
        } else {
            // Others may ask meanwhile.
            drop(shown);
            let wait = client.take_within(&request, limit);
            let taken = with_progress(context, limit, "Waiting for messages", wait).await;
            shown = self.shown.lock().await;
            taken
        };
        let taken = taken.map_err(|error| told(&error))?;
        let ids: Vec<MessageId> = taken.messages.iter().map(|message| message.id.clone()).collect();
        shown.extend(self.confirm_when_written(client, ids, context.id.clone()));
        Ok(results::check_messages(&taken, limit))
    }

    /// As [`Server::confirm_when_written`], so that the next `check_messages` knows of it.
    async fn show(&self, client: &Client, ids: Vec<MessageId>, request: RequestId) {
        let confirmed = self.confirm_when_written(client, ids, request);
        self.shown.lock().await.extend(confirmed);
    }

    /// What a result shows is read only once the result was written.
    fn confirm_when_written(
        &self,
        client: &Client,
        ids: Vec<MessageId>,
        request: RequestId,
    ) -> Option<oneshot::Receiver<()>> {
        if ids.is_empty() {
            return None;
        }
        self.seen.add(&ids);
        let (done, confirmed) = oneshot::channel::<()>();
        let client = client.clone();
        self.hooks.on_sent(request, move || {
            tokio::spawn(async move {
                if let Err(error) = client.confirm(&Confirm { ids }).await {
                    // They are offered again, marked as a repeat.
                    tracing::warn!("what was shown could not be confirmed: {error}");
                }
                drop(done);
            });
        });
        Some(confirmed)
    }
}

async fn list_peers(client: &Client, arguments: ListPeersArguments) -> Result<Output, String> {
    let request = ListPeers { scope: arguments.scope, ..ListPeers::default() };
    match client.peers(&request).await {
        Ok(list) => Ok(results::list_peers(&list, arguments.scope, notes(client))),
        Err(error) => {
            Err(no_repository(client, arguments.scope).await.unwrap_or_else(|| told(&error)))
        }
    }
}

/// A session's turn to send.
struct Turn<'a> {
    called: Instant,
    /// When the broker was found out of reach.
    unreachable: MutexGuard<'a, Option<Instant>>,
}

impl Turn<'_> {
    async fn take<T>(
        mut self,
        send: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, String> {
        if self.unreachable.is_some_and(|at| at > self.called) {
            // Each in the queue would wait out the same limit, one after the other.
            return Err(not_sent(
                "An earlier message of this session found the broker out of reach. Try again; `claude-peers status` tells more.",
            ));
        }
        send.await.map_err(|error| {
            if error.code().is_none() {
                *self.unreachable = Some(Instant::now());
            }
            told(&error)
        })
    }
}

async fn send_to_scope(
    client: &Client,
    turn: Turn<'_>,
    scope: Scope,
    text: String,
) -> Result<Output, String> {
    let request = SendToScope { scope, text, directory: None, repo: None, from_session: None };
    match turn.take(client.send_to_scope(&request)).await {
        Ok(sent) => Ok(results::sent_to_scope(&sent, scope)),
        Err(words) => Err(no_repository(client, scope).await.unwrap_or(words)),
    }
}

/// Why this session is in no repository though there is one; the broker does not know of it.
async fn no_repository(client: &Client, scope: Scope) -> Option<String> {
    if scope != Scope::Repo {
        return None;
    }
    let project = client.config().claude.project.clone().filter(|path| path.is_dir());
    let place = project.or_else(|| std::env::current_dir().ok())?;
    match git::repository(&place).await {
        Err(NoRepository::Nowhere) | Ok(_) => None,
        Err(why) => {
            let words = format!("{why}. {}", why.hint().unwrap_or_default());
            Some(text::line(&words, MAX_WORDS))
        }
    }
}

async fn set_summary(client: &Client, arguments: SetSummaryArguments) -> Result<Output, String> {
    let request = SetProfile {
        summary: Some(arguments.summary),
        name: arguments.name.filter(|name| !name.trim().is_empty()),
        automatic: false,
    };
    let set = client.set_profile(&request).await.map_err(|e| told(&e))?;
    Ok(results::set_summary(&set))
}

fn not_sent(why: &str) -> String {
    format!("Nothing was sent. {}", text::line(why, MAX_WORDS))
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
pub fn told(error: &ClientError) -> String {
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
