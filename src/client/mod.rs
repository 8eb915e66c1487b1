//! The thin client of the broker: one method per route, over the Unix socket and nothing else.
//!
//! A missing broker is started. If the broker goes away during a call, the call is repeated, which
//! is safe because every write carries an idempotency key. Each call ends within its time limit,
//! and its error says what to do.

mod autostart;
mod busy;
mod call;
pub mod control;
pub mod database_state;
mod elsewhere;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod hooks;
mod http;
mod observe;
mod own_profile;
mod requests;
pub mod status;
mod stream;
mod waiting;

use std::collections::VecDeque;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::{HeaderValue, Method, Response};
use hyper::body::Incoming;
use serde::Serialize;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::config::Config;
use crate::protocol::health::{FreshDatabase, Health, Stopping};
use crate::protocol::mailbox::{Confirm, Noted, Take, Taken, Written};
use crate::protocol::messages::{
    BatchedMessage, SendMessage, SendToScope, Sent, SentBatch, SentToScope,
};
use crate::protocol::peers::{
    ListPeers, Peer, PeerList, ProfileSet, Register, Registered, SetProfile, Unregistered,
};
use crate::protocol::{CallerContext, ErrorCode, PROTOCOL, header, route};
use crate::sys::clock;
use crate::sys::files::identity;
use crate::sys::random::idempotency_key;

use busy::Tell;
use call::{ATTEMPT, Calls, Time, attempt, read_all, refusal};
use error::Result;
use http::{Http, Request};
use own_profile::OwnProfile;

pub use error::{ClientError, StartError};
pub use stream::{EventStream, ObserverStream};

/// The session that a client acts for. It is registered with each broker that does not know it.
#[derive(Debug)]
struct Session {
    registration: Register,
    registered: watch::Sender<Option<Registered>>,
    registrations: watch::Sender<u64>,
    registering: Mutex<()>,
    own: OwnProfile,
}

/// A [`SendBatch`](crate::protocol::messages::SendBatch) as one attempt to send it.
#[derive(Serialize)]
struct BatchAttempt<'a> {
    messages: &'a [BatchedMessage],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    again: bool,
}

/// The attempts to send a batch: all but the first say that they are not the first.
struct BatchAttempts<'a> {
    messages: &'a [BatchedMessage],
    attempted: AtomicBool,
}

impl<'a> BatchAttempts<'a> {
    fn of(messages: &'a [BatchedMessage]) -> Self {
        Self { messages, attempted: AtomicBool::new(false) }
    }

    fn next(&self) -> BatchAttempt<'a> {
        let again = self.attempted.swap(true, Ordering::Relaxed);
        BatchAttempt { messages: self.messages, again }
    }
}

/// A handle on the broker. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    calls: Calls,
    session: Option<Arc<Session>>,
    /// The headers that all calls have.
    common: Request,
}

impl Client {
    /// Returns a client that starts a broker if none runs.
    ///
    /// # Errors
    ///
    /// None that any input of the user can cause.
    pub fn new(config: Config) -> Result<Self> {
        let config = Arc::new(config);
        let http = Http::new(Arc::clone(&config));
        let mut common =
            http.request(Method::GET, route::HEALTH).header(header::PROTOCOL, PROTOCOL);
        // A named socket (in a container, for example) means that broker, whatever its database.
        if !config.paths.socket_is_named {
            let database = config.database_path().as_os_str().as_bytes();
            common = common.header(header::DATABASE, database);
        }
        let calls = Calls { http, config, start: true, tell: None };
        Ok(Self { calls, session: None, common })
    }

    /// Makes the client act for a session, which is registered as soon as a call needs it.
    #[must_use]
    pub fn with_session(self, registration: Register) -> Self {
        let common = self.common.header(header::SESSION, &*registration.secret);
        let session = Session {
            registration,
            registered: watch::Sender::new(None),
            registrations: watch::Sender::new(0),
            registering: Mutex::new(()),
            own: OwnProfile::default(),
        };
        Self { session: Some(Arc::new(session)), common, ..self }
    }

    /// Makes each call tell about the session in whose shell it was made.
    #[must_use]
    pub fn around(self, around: &CallerContext) -> Self {
        let value = around.to_header().and_then(|json| HeaderValue::from_bytes(&json).ok());
        match value {
            Some(value) => Self { common: self.common.header(header::CONTEXT, value), ..self },
            None => self,
        }
    }

    /// Returns a watch on the broker's answer to the session's registration.
    #[must_use]
    pub fn registered(&self) -> Option<watch::Receiver<Option<Registered>>> {
        self.session.as_ref().map(|session| session.registered.subscribe())
    }

    /// Records the peer that the session's event stream belongs to.
    ///
    /// If it is not the peer that the session registered as (the client process shows another
    /// session now), name and summary of the former peer are forgotten.
    pub fn note_peer(&self, peer: Peer) {
        let Some(session) = &self.session else { return };
        session.registered.send_if_modified(|known| {
            let other = known.as_ref().is_none_or(|known| known.peer.id != peer.id);
            if other {
                session.own.forget();
                let (notes, undescribed, profile) = (Vec::new(), false, None);
                *known = Some(Registered { peer, notes, undescribed, profile });
            }
            other
        });
    }

    /// Makes the client start no broker.
    #[must_use]
    pub fn without_start(mut self) -> Self {
        self.calls.start = false;
        self
    }

    /// Makes the client wait without a limit for a broker that is still opening its database.
    ///
    /// `tell` receives what the broker is doing, for example importing an earlier database. Without
    /// this, a call fails with [`StartError::Busy`] after its time limit.
    #[must_use]
    pub fn patient(mut self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.calls.tell = Some(Tell::new(tell));
        self
    }

    #[must_use]
    pub fn config(&self) -> &Config {
        &self.calls.config
    }

    /// Returns the broker's health.
    ///
    /// # Errors
    ///
    /// If the broker refuses or cannot be reached. The same holds for all calls below.
    pub async fn health(&self) -> Result<Health> {
        self.get(route::HEALTH, &()).await
    }

    /// Returns the health of any broker that listens, even one that is older or has other
    /// settings. Starts and replaces nothing.
    pub async fn look(&self) -> Result<Health> {
        let request = self.calls.http.request(Method::GET, route::HEALTH);
        timeout(ATTEMPT, attempt(request)).await.unwrap_or(Err(ClientError::Silent))
    }

    /// Registers the session now instead of at the first call that needs it.
    pub async fn introduce(&self) -> Result<Option<Registered>> {
        self.register(Time::short()).await?;
        Ok(self.session.as_ref().and_then(|session| session.registered.borrow().clone()))
    }

    /// Ends a session that registered as a probe.
    pub async fn unregister(&self) -> Result<Unregistered> {
        self.post(route::UNREGISTER, &serde_json::json!({})).await
    }

    /// Lists the peers. A broker of an earlier version lists all of them, whatever the limit and the
    /// name.
    pub async fn peers(&self, request: &ListPeers) -> Result<PeerList> {
        match (self.get(route::PEERS, request).await, request.for_earlier_broker()) {
            (Err(error), Some(earlier)) if error.code() == Some(ErrorCode::BadRequest) => {
                self.get(route::PEERS, &earlier).await
            }
            (result, _) => result,
        }
    }

    pub async fn set_profile(&self, request: &SetProfile) -> Result<ProfileSet> {
        let set: ProfileSet = self.post(route::PROFILE, request).await?;
        if let Some(session) = &self.session {
            session.own.note(request, &set);
        }
        Ok(set)
    }

    pub async fn send(&self, request: &SendMessage) -> Result<Sent> {
        self.post_once(route::MESSAGES, request).await
    }

    /// Sends messages in order, as one request that is repeated as a whole. Returns an outcome for
    /// each of them.
    pub async fn send_batch(&self, messages: Vec<SendMessage>) -> Result<SentBatch> {
        let now = clock::now();
        let keyed = |message| BatchedMessage { key: idempotency_key(now), message };
        let messages: Vec<BatchedMessage> = messages.into_iter().map(keyed).collect();
        let attempts = BatchAttempts::of(&messages);
        let request = || self.request(&Method::POST, route::BATCH).json(&attempts.next());
        let sent: SentBatch = self.call_once(request).await?;
        if sent.outcomes.len() == messages.len() {
            return Ok(sent);
        }
        let (outcomes, sent) = (sent.outcomes.len(), messages.len());
        Err(ClientError::Nonsense(format!("{outcomes} outcomes for {sent} messages"))
            .after_an_attempt())
    }

    pub async fn send_to_scope(&self, request: &SendToScope) -> Result<SentToScope> {
        self.post_once(route::SCOPE, request).await
    }

    pub async fn take(&self, request: &Take) -> Result<Taken> {
        self.post(route::TAKE, request).await
    }

    pub async fn confirm(&self, request: &Confirm) -> Result<Noted> {
        self.post(route::CONFIRM, request).await
    }

    pub async fn written(&self, request: &Written) -> Result<Noted> {
        self.post(route::WRITTEN, request).await
    }

    /// Asks the broker to stop.
    pub async fn shutdown(&self) -> Result<Stopping> {
        self.post(route::SHUTDOWN, &serde_json::json!({})).await
    }

    /// Makes a broker whose database was removed continue with an empty one. Starts no broker.
    pub async fn begin_afresh(&self) -> Result<FreshDatabase> {
        self.post(route::FRESH_DATABASE, &serde_json::json!({})).await
    }

    /// Opens the session's event stream. The session is live while the stream is open.
    pub async fn stream(&self) -> Result<EventStream> {
        let time = Time::short();
        match self.open_stream().await {
            Err(error) if error.code() == Some(ErrorCode::UnknownSession) => {}
            // A call that may be repeated starts or replaces the broker as needed.
            Err(error)
                if matches!(error, ClientError::Broken { .. } | ClientError::Silent)
                    || error.code() == Some(ErrorCode::BrokerTooOld) =>
            {
                let health = || self.request(&Method::GET, route::HEALTH);
                let _: Health = self.calls.call(time, &mut false, health).await?;
                match self.open_stream().await {
                    Err(error) if error.code() == Some(ErrorCode::UnknownSession) => {}
                    result => return result,
                }
            }
            result => return result,
        }
        self.register(time).await?;
        self.open_stream().await
    }

    async fn open_stream(&self) -> Result<EventStream> {
        let request = self.request(&Method::GET, route::STREAM);
        Ok(EventStream::new(opened(request).await?))
    }

    /// Registers the session. Concurrent calls register it once.
    async fn register(&self, time: Time) -> Result<()> {
        let Some(session) = &self.session else { return Ok(()) };
        let before = *session.registrations.borrow();
        let _turn = session.registering.lock().await;
        if *session.registrations.borrow() != before {
            return Ok(());
        }
        let request = || self.request(&Method::POST, route::REGISTER).json(&session.registration);
        let mut answer: Registered = self.calls.call(time, &mut false, request).await?;
        failpoint!("server.registration.answered");
        self.set_again(session, &mut answer).await;
        session.registered.send_modify(|known| match known {
            // A broker that knew the session already adds nothing to the first answer's notes.
            Some(known) if answer.notes.is_empty() => {
                known.peer = answer.peer;
                known.undescribed = answer.undescribed;
            }
            known => *known = Some(answer),
        });
        session.registrations.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Sets name and summary again on a broker that does not know them.
    async fn set_again(&self, session: &Session, answer: &mut Registered) {
        let mut profiles: VecDeque<_> = session.own.to_repeat(answer).into();
        while let Some(profile) = profiles.pop_front() {
            let key = idempotency_key(clock::now());
            let request = || self.write_request(route::PROFILE, &key, &profile);
            match self.calls.call::<ProfileSet>(Time::short(), &mut false, request).await {
                Ok(set) => {
                    answer.undescribed &= profile.summary.is_none();
                    answer.peer = set.peer;
                    profiles.extend(session.own.newer_than(&profile));
                }
                // Another session may have the name by now. The session is registered all the same.
                Err(error) => {
                    tracing::warn!("the session's name or summary could not be set again: {error}");
                }
            }
        }
    }

    fn request(&self, method: &Method, path: &'static str) -> Request {
        let request = self.common.like_this(method.clone(), path);
        let config = &self.calls.config;
        // The file may have been replaced since the last call.
        let file = Some(config).filter(|config| !config.paths.socket_is_named);
        match file.and_then(|config| identity(config.database_path())) {
            Some(file) => request.header(header::DATABASE_FILE, file),
            None => request,
        }
    }
}

/// Sends a request whose answer is a stream. Returns the answer once the broker has accepted it.
async fn opened(request: Request) -> Result<Response<Incoming>> {
    let response = timeout(ATTEMPT, request.send()).await.map_err(|_| ClientError::Silent)??;
    if response.status().is_success() {
        return Ok(response);
    }
    Err(refusal(&read_all(response).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_is_sent_again_says_so() {
        let attempts = BatchAttempts::of(&[]);
        let said = || serde_json::to_value(attempts.next()).unwrap()["again"].clone();
        assert!(said().is_null());
        assert_eq!((said(), said()), (true.into(), true.into()));
    }
}
