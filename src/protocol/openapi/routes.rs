//! The table of routes: what each takes and answers, who may call it, and which refusals it has.

use schemars::generate::SchemaGenerator;
use schemars::{JsonSchema, Schema, json_schema};

use crate::protocol::brief::{Brief, BriefStatus};
use crate::protocol::events::{Observe, Observed};
use crate::protocol::health::{FreshDatabase, Health, Stopping};
use crate::protocol::history::{Prune, Pruned};
use crate::protocol::hook::{DirectoryChanged, HookEvent, HookMail, HookWritten};
use crate::protocol::mailbox::{Answered, Confirm, Noted, Take, TakeAnswer, Taken, Wait, Written};
use crate::protocol::messages::{
    ListMessages, MessageList, SendBatch, SendMessage, SendToScope, Sent, SentBatch, SentToScope,
};
use crate::protocol::page::{OpenPage, PageLink, PageOpened, PageProof, PageVisit, ProvePage};
use crate::protocol::peers::{
    ListPeers, PeerList, ProfileSet, Register, Registered, SetProfile, Unregistered,
};
use crate::protocol::stream::Event;
use crate::protocol::wake::{AwaitWake, IdleCheckResult, Wake, WakeGiven, WakeOptions};
use crate::protocol::{ErrorCode, route};

use ErrorCode::{
    Ambiguous, BadRequest, BrokerTooOld, Forbidden, KeyReused, MailboxFull, NameTaken, NotFound,
    RateLimited, SettingsDiffer, ShuttingDown, Storage, TooLarge, Unauthorized, UnknownSession,
    UnsupportedMediaType,
};

/// A type as a schema.
pub type Of = fn(&mut SchemaGenerator) -> Schema;

/// For whom a route is.
pub enum Audience {
    /// Programs of others: it stays as it is.
    Stable,
    /// The program's own processes.
    Internal,
}

/// Who may call a route.
pub enum Caller {
    /// Also over TCP without the token.
    Anybody,
    /// The owner: over the Unix socket, or with the token. A session may call, too, unless the summary
    /// says otherwise.
    Owner,
    /// A session's server, with the secret of its registration.
    Session,
}

/// What a route answers with.
pub enum Answer {
    Json(Of),
    /// An event stream, with events of this type.
    Events(Of),
    /// A page for a browser.
    Page,
}

/// A method of a path.
pub struct Route {
    pub id: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    pub audience: Audience,
    pub caller: Caller,
    pub summary: &'static str,
    pub query: Option<Of>,
    pub body: Option<Of>,
    pub answer: Answer,
    /// It takes an idempotency key.
    pub once: bool,
    /// The refusals that not all routes have.
    pub refusals: &'static [ErrorCode],
}

impl Route {
    /// Returns all codes with which the route may refuse.
    pub fn errors(&self) -> Vec<ErrorCode> {
        let mut codes =
            vec![BadRequest, Forbidden, SettingsDiffer, BrokerTooOld, Storage, ShuttingDown];
        if !matches!(self.caller, Caller::Anybody) {
            codes.push(Unauthorized);
        }
        if self.method == "POST" {
            codes.extend([UnsupportedMediaType, TooLarge]);
        }
        codes.extend(
            self.refusals.iter().filter(|code| !codes.contains(code)).copied().collect::<Vec<_>>(),
        );
        codes
    }

    const fn get(
        id: &'static str,
        path: &'static str,
        summary: &'static str,
        answer: Answer,
    ) -> Self {
        Self {
            id,
            method: "GET",
            path,
            audience: Audience::Internal,
            caller: Caller::Owner,
            summary,
            query: None,
            body: None,
            answer,
            once: false,
            refusals: &[],
        }
    }

    const fn post(
        id: &'static str,
        path: &'static str,
        summary: &'static str,
        body: Of,
        answer: Of,
    ) -> Self {
        let get = Self::get(id, path, summary, Answer::Json(answer));
        Self { method: "POST", body: Some(body), ..get }
    }

    const fn stable(self) -> Self {
        Self { audience: Audience::Stable, ..self }
    }

    const fn by(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    const fn query(self, query: Of) -> Self {
        Self { query: Some(query), ..self }
    }

    const fn once(self) -> Self {
        Self { once: true, ..self }
    }

    const fn refuses(self, refusals: &'static [ErrorCode]) -> Self {
        Self { refusals, ..self }
    }
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// A query's type is not named in the document: its fields are parameters.
fn fields<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    T::json_schema(generator)
}

fn empty(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": false })
}

/// All routes.
pub const ROUTES: &[Route] = &[
    Route::get(
        "health",
        route::HEALTH,
        "Says that the broker is up, and over the Unix socket how it is.",
        Answer::Json(of::<Health>),
    )
    .stable()
    .by(Caller::Anybody),
    Route::get("listPeers", route::PEERS, "Lists the peers.", Answer::Json(of::<PeerList>))
        .stable()
        .query(fields::<ListPeers>)
        .refuses(&[UnknownSession]),
    Route::post(
        "sendMessage",
        route::MESSAGES,
        "Sends a message to one peer. It is on disk before the answer.",
        of::<SendMessage>,
        of::<Sent>,
    )
    .stable()
    .once()
    .refuses(&[
        UnknownSession,
        NotFound,
        Ambiguous,
        TooLarge,
        RateLimited,
        MailboxFull,
        KeyReused,
    ]),
    Route::get(
        "listMessages",
        route::MESSAGES,
        "Lists and searches the history.",
        Answer::Json(of::<MessageList>),
    )
    .stable()
    .query(fields::<ListMessages>)
    .refuses(&[UnknownSession, NotFound, Ambiguous]),
    Route::post(
        "sendBatch",
        route::BATCH,
        "Sends several messages, in order. Each is accepted or refused for itself.",
        of::<SendBatch>,
        of::<SentBatch>,
    )
    .stable()
    .refuses(&[UnknownSession, TooLarge]),
    Route::post(
        "sendToScope",
        route::SCOPE,
        "Sends a text to all live sessions of a scope.",
        of::<SendToScope>,
        of::<SentToScope>,
    )
    .stable()
    .once()
    .refuses(&[UnknownSession, NotFound, TooLarge, KeyReused]),
    Route::post(
        "takeMail",
        route::TAKE,
        "Takes the unread messages of the caller, or waits for the first.",
        of::<Take>,
        of::<Taken>,
    )
    .stable()
    .query(fields::<Wait>)
    .once()
    .refuses(&[UnknownSession, KeyReused]),
    Route::post(
        "takeAnswer",
        route::ANSWER,
        "Takes the reply to a message of the caller, or waits for it.",
        of::<TakeAnswer>,
        of::<Answered>,
    )
    .stable()
    .query(fields::<Wait>)
    .once()
    .refuses(&[UnknownSession, NotFound, KeyReused]),
    Route::post(
        "confirmMail",
        route::CONFIRM,
        "Says that messages which were taken have been read.",
        of::<Confirm>,
        of::<Noted>,
    )
    .stable()
    .refuses(&[UnknownSession]),
    Route::get(
        "observe",
        route::EVENTS,
        "Streams what happens: peers and messages, as they change.",
        Answer::Events(of::<Observed>),
    )
    .stable()
    .query(fields::<Observe>)
    .refuses(&[UnknownSession, RateLimited]),
    Route::post(
        "prune",
        route::PRUNE,
        "Deletes old messages from the history, or counts them. A session cannot.",
        of::<Prune>,
        of::<Pruned>,
    )
    .stable()
    .refuses(&[Forbidden]),
    Route::get(
        "brief",
        route::BRIEF,
        "Describes a session in a few numbers, for a status line.",
        Answer::Json(of::<BriefStatus>),
    )
    .stable()
    .query(fields::<Brief>)
    .refuses(&[UnknownSession]),
    Route::post(
        "register",
        route::REGISTER,
        "Registers a session's server.",
        of::<Register>,
        of::<Registered>,
    )
    .refuses(&[Forbidden, RateLimited]),
    Route::post("unregister", route::UNREGISTER, "Removes a probe.", empty, of::<Unregistered>)
        .by(Caller::Session)
        .refuses(&[UnknownSession, Forbidden]),
    Route::get(
        "stream",
        route::STREAM,
        "Streams what a session is to be shown. The session is live while it is open.",
        Answer::Events(of::<Event>),
    )
    .by(Caller::Session)
    .refuses(&[UnknownSession]),
    Route::post(
        "setProfile",
        route::PROFILE,
        "Sets the summary or the name of the calling session.",
        of::<SetProfile>,
        of::<ProfileSet>,
    )
    .by(Caller::Session)
    .once()
    .refuses(&[UnknownSession, NameTaken, TooLarge, KeyReused]),
    Route::post(
        "pushesWritten",
        route::WRITTEN,
        "The receipt for pushes.",
        of::<Written>,
        of::<Noted>,
    )
    .by(Caller::Session)
    .refuses(&[UnknownSession]),
    Route::post(
        "hook",
        route::HOOK,
        "Takes a hook event. A session cannot.",
        of::<HookEvent>,
        of::<HookMail>,
    ),
    Route::post(
        "hookMoved",
        route::HOOK_MOVED,
        "Takes the working directory of a session. A session cannot.",
        of::<DirectoryChanged>,
        of::<Noted>,
    )
    .refuses(&[NotFound]),
    Route::post(
        "hookWritten",
        route::HOOK_WRITTEN,
        "The receipt for what a hook showed. A session cannot.",
        of::<HookWritten>,
        of::<Noted>,
    ),
    Route::post(
        "toolAnswered",
        route::TOOL_ANSWERED,
        "Says that a tool has answered.",
        empty,
        of::<Noted>,
    )
    .by(Caller::Session)
    .refuses(&[UnknownSession]),
    Route::post(
        "awaitWake",
        route::WAKE,
        "Waits until a session is to be woken. A session cannot.",
        of::<AwaitWake>,
        of::<Wake>,
    )
    .query(fields::<WakeOptions>)
    .refuses(&[NotFound]),
    Route::post(
        "wakeGiven",
        route::WAKE_GIVEN,
        "Says that a session was woken.",
        of::<WakeGiven>,
        of::<Noted>,
    )
    .refuses(&[UnknownSession]),
    Route::post(
        "wakeLooked",
        route::WAKE_LOOKED,
        "Says whether a client is idle.",
        of::<IdleCheckResult>,
        of::<Noted>,
    )
    .refuses(&[UnknownSession]),
    Route::post("shutdown", route::SHUTDOWN, "Stops the broker.", empty, of::<Stopping>),
    Route::post(
        "startAfresh",
        route::FRESH_DATABASE,
        "Begins an empty database in place of one that was removed.",
        empty,
        of::<FreshDatabase>,
    ),
    Route::get("showPage", route::PAGE, "The page, over TCP only.", Answer::Page)
        .by(Caller::Anybody)
        .refuses(&[NotFound]),
    Route::post(
        "linkPage",
        route::PAGE_LINK,
        "Makes a link that opens the page once. Over the Unix socket only.",
        empty,
        of::<PageLink>,
    )
    .refuses(&[NotFound]),
    Route::post(
        "awaitVisit",
        route::PAGE_VISIT,
        "Waits until a link is used. Over the Unix socket only.",
        of::<OpenPage>,
        of::<PageVisit>,
    ),
    Route::post(
        "openPage",
        route::PAGE_OPEN,
        "Exchanges the code of a link for a token of the page. Over TCP only.",
        of::<OpenPage>,
        of::<PageOpened>,
    )
    .by(Caller::Anybody)
    .refuses(&[Unauthorized]),
    Route::post(
        "provePage",
        route::PAGE_PROOF,
        "Proves to the page that this is its broker. Over TCP only.",
        of::<ProvePage>,
        of::<PageProof>,
    )
    .by(Caller::Anybody),
];
