//! The sends of one session: in the order of their calls, and those that wait together in one request.
//!
//! A send takes its place when it is called. One task at a time talks to the broker: it takes all
//! sends that wait, hands out their outcomes, and goes on with what has come meanwhile. So the sends
//! of a burst share commits, and none overtakes another. The first one goes alone: if the broker turns
//! out to be silent, what became of the message is unknown, and that should hold for one and not for
//! all. The task belongs to no call: a call that is cancelled takes its message out of the queue. If that
//! is under way by then, the call waits a moment for its outcome, and else says that it is not known.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::service::Peer;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::client::{Client, ClientError};
use crate::mcp::error_text::{error_text, not_sent};
use crate::mcp::session::Session;
use crate::protocol::messages::{
    BatchOutcome, MAX_BATCH_MESSAGES, SendMessage, SendToScope, Sent, SentToScope,
};

/// About how many bytes of JSON share one request, so that no message waits long for the others.
const BATCH_BYTES: usize = 256 * 1024;

/// How long a cancelled call waits for the outcome of a message that is under way. A server that is told
/// to go has to write it within its own time limit.
const OUTCOME_PATIENCE: Duration = Duration::from_millis(40);

/// An outcome; an error is a text for the model.
type Outcome<T> = Result<T, String>;

/// The sends of one session.
pub struct Sends {
    session: Arc<Session>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// The number of sends so far.
    places: u64,
    /// Whether a task is sending.
    is_sending: bool,
    /// When a send last found that the broker cannot be reached.
    unreachable: Option<Instant>,
}

/// A send that waits for its turn.
struct Waiting {
    place: u64,
    called: Instant,
    what: What,
}

enum What {
    Message(SendMessage, oneshot::Sender<Outcome<Sent>>),
    Scope(SendToScope, oneshot::Sender<Outcome<SentToScope>>),
}

/// What is sent next.
enum Turn {
    One(SendMessage, oneshot::Sender<Outcome<Sent>>),
    Batch(Vec<SendMessage>, Vec<oneshot::Sender<Outcome<Sent>>>),
    Scope(SendToScope, oneshot::Sender<Outcome<SentToScope>>),
}

impl What {
    /// Whether the call was cancelled.
    fn is_dropped(&self) -> bool {
        match self {
            Self::Message(_, outcome) => outcome.is_closed(),
            Self::Scope(_, outcome) => outcome.is_closed(),
        }
    }

    fn fail(self, words: String) {
        // The call may be cancelled, here as below.
        match self {
            Self::Message(_, outcome) => drop(outcome.send(Err(words))),
            Self::Scope(_, outcome) => drop(outcome.send(Err(words))),
        }
    }
}

impl Sends {
    pub fn new(session: Arc<Session>) -> Arc<Self> {
        Arc::new(Self { session, state: Mutex::default() })
    }

    /// Sends a message, unless the call is `cancelled` before its turn. Its place is settled before this
    /// returns the future of its outcome.
    pub fn message(
        self: &Arc<Self>,
        peer: &Peer<RoleServer>,
        message: SendMessage,
        cancelled: &CancellationToken,
    ) -> impl Future<Output = Outcome<Sent>> + use<> {
        let (outcome, sent) = oneshot::channel();
        let place = self.add(peer, What::Message(message, outcome));
        Arc::clone(self).outcome(sent, place, cancelled.clone())
    }

    /// Sends to a scope, as [`Self::message`].
    pub fn to_scope(
        self: &Arc<Self>,
        peer: &Peer<RoleServer>,
        request: SendToScope,
        cancelled: &CancellationToken,
    ) -> impl Future<Output = Outcome<SentToScope>> + use<> {
        let (outcome, sent) = oneshot::channel();
        let place = self.add(peer, What::Scope(request, outcome));
        Arc::clone(self).outcome(sent, place, cancelled.clone())
    }

    /// Returns the outcome of the send at this place.
    async fn outcome<T>(
        self: Arc<Self>,
        mut outcome: oneshot::Receiver<Outcome<T>>,
        place: u64,
        cancelled: CancellationToken,
    ) -> Outcome<T> {
        // The sending task ends before its sends only with the server.
        let unknown = |_| {
            Err("The server is about to end. It is not known whether the message was sent: `claude-peers log` shows every stored message.".to_owned())
        };
        tokio::select! {
            biased;
            outcome = &mut outcome => return outcome.unwrap_or_else(unknown),
            () = cancelled.cancelled() => {}
        }
        if self.lock().withdraw(place) {
            return Err(not_sent("The call was cancelled before its turn."));
        }
        match timeout(OUTCOME_PATIENCE, outcome).await {
            Ok(outcome) => outcome.unwrap_or_else(unknown),
            Err(_) => Err("The call was cancelled while the message was being sent. It is not known whether it was stored: check before you repeat it. `claude-peers log` shows every stored message, and check_messages those of this session that are unread.".to_owned()),
        }
    }

    /// Adds a send. Returns its place.
    fn add(self: &Arc<Self>, peer: &Peer<RoleServer>, what: What) -> u64 {
        let mut state = self.lock();
        let place = state.push(what);
        if !state.is_sending {
            state.is_sending = true;
            tokio::spawn(Arc::clone(self).send_all(peer.clone()));
        }
        place
    }

    /// Sends until nothing waits.
    async fn send_all(self: Arc<Self>, peer: Peer<RoleServer>) {
        // The session's first call has to make the client, and later calls must not overtake it
        // meanwhile.
        let client = match self.session.client(&peer).await {
            Ok(client) => client,
            Err(words) => return self.fail_all(&words),
        };
        let mut most = 1;
        while let Some(turn) = self.next(most) {
            self.send(client, turn).await;
            most = MAX_BATCH_MESSAGES;
        }
    }

    fn fail_all(&self, words: &str) {
        let mut state = self.lock();
        state.is_sending = false;
        for waiting in state.waiting.drain(..) {
            waiting.what.fail(words.to_owned());
        }
    }

    /// Takes the sends of one request from the front, `most` at the most. `None` ends the task.
    fn next(&self, most: usize) -> Option<Turn> {
        let mut state = self.lock();
        let turn = state.take_turn(most);
        state.is_sending = turn.is_some();
        turn
    }

    async fn send(&self, client: &Client, turn: Turn) {
        match turn {
            Turn::One(message, outcome) => {
                failpoint!("server.send.called");
                let sent = client.send(&message).await.map_err(|error| self.failed(&error));
                failpoint!("server.send.answered");
                let _ = outcome.send(sent);
            }
            Turn::Scope(request, outcome) => {
                let sent = client.send_to_scope(&request).await;
                let _ = outcome.send(sent.map_err(|error| self.failed(&error)));
            }
            Turn::Batch(messages, outcomes) => match client.send_batch(messages).await {
                Ok(sent) => {
                    failpoint!("server.batch.answered");
                    for (outcome, sent) in outcomes.into_iter().zip(sent.outcomes) {
                        let _ = outcome.send(match sent {
                            BatchOutcome::Sent(sent) => Ok(*sent),
                            BatchOutcome::Refused(error) => {
                                Err(error_text(&ClientError::Refused(error)))
                            }
                        });
                    }
                }
                Err(error) => {
                    let words = self.failed(&error);
                    for outcome in outcomes {
                        let _ = outcome.send(Err(words.clone()));
                    }
                }
            },
        }
    }

    /// Notes whether the broker could be reached, and returns the text for the model.
    fn failed(&self, error: &ClientError) -> String {
        if error.code().is_none() {
            self.lock().unreachable = Some(Instant::now());
        }
        error_text(error)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds a send at the end. Returns its place.
    fn push(&mut self, what: What) -> u64 {
        self.places += 1;
        self.waiting.push_back(Waiting { place: self.places, called: Instant::now(), what });
        self.places
    }

    /// Takes out the send at this place. Returns whether it still waited.
    fn withdraw(&mut self, place: u64) -> bool {
        let at = self.waiting.iter().position(|waiting| waiting.place == place);
        at.and_then(|at| self.waiting.remove(at)).is_some()
    }

    fn take_turn(&mut self, most: usize) -> Option<Turn> {
        let (mut messages, mut outcomes) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        while let Some(Waiting { place, called, what }) = self.waiting.pop_front() {
            if what.is_dropped() {
                continue;
            }
            if self.unreachable.is_some_and(|at| at > called) {
                // Each send that waited would wait for the same timeout, one after the other.
                what.fail(not_sent(
                    "The broker could not be reached for an earlier message of this session. Try again; `claude-peers status` shows more.",
                ));
                continue;
            }
            match what {
                What::Message(message, outcome) => {
                    let size = json_size(&message);
                    if messages.len() == most || !messages.is_empty() && bytes + size > BATCH_BYTES
                    {
                        self.put_back(place, called, What::Message(message, outcome));
                        break;
                    }
                    bytes += size;
                    messages.push(message);
                    outcomes.push(outcome);
                    if bytes > BATCH_BYTES {
                        break;
                    }
                }
                alone if !messages.is_empty() => {
                    self.put_back(place, called, alone);
                    break;
                }
                What::Scope(request, outcome) => return Some(Turn::Scope(request, outcome)),
            }
        }
        match messages.len() {
            0 => None,
            1 => Some(Turn::One(messages.pop()?, outcomes.pop()?)),
            _ => Some(Turn::Batch(messages, outcomes)),
        }
    }

    fn put_back(&mut self, place: u64, called: Instant, what: What) {
        self.waiting.push_front(Waiting { place, called, what });
    }
}

/// Returns about how many bytes a message takes in a request, and not less.
fn json_size(message: &SendMessage) -> usize {
    const REST: usize = 256;
    let escaped = |text: &str| -> usize {
        text.bytes().map(|byte| if matches!(byte, ..0x20 | b'"' | b'\\') { 6 } else { 1 }).sum()
    };
    let reply_to = message.reply_to.as_ref().map_or(0, |id| escaped(id.as_str()));
    REST + escaped(&message.to) + escaped(&message.text) + reply_to
}
