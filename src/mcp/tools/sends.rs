//! The sends of one session: in the order of their calls, and those that wait together in one request.
//!
//! A send takes its place when it is called. One task at a time talks to the broker: it takes all
//! sends that wait, hands out their outcomes, and goes on with what has come meanwhile. So the sends
//! of a burst share commits, and none overtakes another. The first one goes alone: if the broker turns
//! out to be silent, what became of the message is unknown, and that should hold for one and not for
//! all. The task belongs to no call: a call that is cancelled drops its own outcome, and its message
//! too if that has not been sent yet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::RoleServer;
use rmcp::service::Peer;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::client::{Client, ClientError};
use crate::mcp::error_text::{error_text, not_sent};
use crate::mcp::session::Session;
use crate::protocol::messages::{
    BatchOutcome, MAX_BATCH_MESSAGES, SendMessage, SendToScope, Sent, SentToScope,
};

/// About how many bytes of JSON share one request, so that no message waits long for the others.
const BATCH_BYTES: usize = 256 * 1024;

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
    /// Whether a task is sending.
    is_sending: bool,
    /// When a send last found that the broker cannot be reached.
    unreachable: Option<Instant>,
}

/// A send that waits for its turn.
struct Waiting {
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

    /// Sends a message. Its place is settled before this returns the future of its outcome.
    pub fn message(
        self: &Arc<Self>,
        peer: &Peer<RoleServer>,
        message: SendMessage,
    ) -> impl Future<Output = Outcome<Sent>> + use<> {
        let (outcome, sent) = oneshot::channel();
        self.add(peer, What::Message(message, outcome));
        received(sent)
    }

    /// Sends to a scope, as [`Self::message`].
    pub fn to_scope(
        self: &Arc<Self>,
        peer: &Peer<RoleServer>,
        request: SendToScope,
    ) -> impl Future<Output = Outcome<SentToScope>> + use<> {
        let (outcome, sent) = oneshot::channel();
        self.add(peer, What::Scope(request, outcome));
        received(sent)
    }

    fn add(self: &Arc<Self>, peer: &Peer<RoleServer>, what: What) {
        let mut state = self.lock();
        state.waiting.push_back(Waiting { called: Instant::now(), what });
        if !state.is_sending {
            state.is_sending = true;
            tokio::spawn(Arc::clone(self).send_all(peer.clone()));
        }
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
                let sent = client.send(&message).await.map_err(|error| self.failed(&error));
                let _ = outcome.send(sent);
            }
            Turn::Scope(request, outcome) => {
                let sent = client.send_to_scope(&request).await;
                let _ = outcome.send(sent.map_err(|error| self.failed(&error)));
            }
            Turn::Batch(messages, outcomes) => match client.send_batch(messages).await {
                Ok(sent) => {
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
    fn take_turn(&mut self, most: usize) -> Option<Turn> {
        let (mut messages, mut outcomes) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        while let Some(Waiting { called, what }) = self.waiting.pop_front() {
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
                        self.put_back(called, What::Message(message, outcome));
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
                    self.put_back(called, alone);
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

    fn put_back(&mut self, called: Instant, what: What) {
        self.waiting.push_front(Waiting { called, what });
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

async fn received<T>(outcome: oneshot::Receiver<Outcome<T>>) -> Outcome<T> {
    // The sending task ends before its sends only with the server.
    outcome.await.unwrap_or_else(|_| {
        Err("The server is about to end. It is not known whether the message was sent.".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::MessageId;
    use crate::protocol::scope::Scope;

    type Sent1 = oneshot::Receiver<Outcome<Sent>>;

    fn message(text: &str) -> SendMessage {
        SendMessage {
            to: "reader".to_owned(),
            text: text.to_owned(),
            reply_to: None,
            from_session: None,
            wait: false,
        }
    }

    fn add(state: &mut State, message: SendMessage) -> Sent1 {
        let (outcome, sent) = oneshot::channel();
        state
            .waiting
            .push_back(Waiting { called: Instant::now(), what: What::Message(message, outcome) });
        sent
    }

    fn add_scope(state: &mut State) -> oneshot::Receiver<Outcome<SentToScope>> {
        let (outcome, sent) = oneshot::channel();
        let request = SendToScope {
            scope: Scope::Machine,
            text: "all".to_owned(),
            directory: None,
            repo: None,
            from_session: None,
        };
        state
            .waiting
            .push_back(Waiting { called: Instant::now(), what: What::Scope(request, outcome) });
        sent
    }

    /// The texts of each turn, in order.
    fn turns(state: &mut State) -> Vec<Vec<String>> {
        std::iter::from_fn(|| state.take_turn(MAX_BATCH_MESSAGES))
            .map(|turn| match turn {
                Turn::One(message, _) => vec![message.text],
                Turn::Batch(messages, _) => messages.into_iter().map(|m| m.text).collect(),
                Turn::Scope(request, _) => vec![format!("scope {}", request.text)],
            })
            .collect()
    }

    #[test]
    fn what_waits_goes_together_and_what_goes_alone_keeps_its_place() {
        let mut state = State::default();
        let mut sent: Vec<Sent1> =
            ["1", "2"].map(|text| add(&mut state, message(text))).into_iter().collect();
        let scope = add_scope(&mut state);
        sent.push(add(&mut state, message("3")));
        sent.push(add(&mut state, SendMessage { wait: true, ..message("4") }));
        let last = add_scope(&mut state);
        sent.push(add(&mut state, message("5")));
        let wanted: [&[&str]; 5] =
            [&["1", "2"], &["scope all"], &["3", "4"], &["scope all"], &["5"]];
        assert_eq!(turns(&mut state), wanted);
        drop((sent, scope, last));
        let sent = ["8", "9"].map(|text| add(&mut state, message(text)));
        assert!(matches!(state.take_turn(1), Some(Turn::One(message, _)) if message.text == "8"));
        assert_eq!(turns(&mut state), [["9"]]);
        drop(sent);
    }

    #[test]
    fn a_batch_has_a_bound_in_messages_and_in_bytes() {
        let mut state = State::default();
        let mut sent: Vec<Sent1> = Vec::new();
        let texts: Vec<String> = (0..=2 * MAX_BATCH_MESSAGES).map(|n| n.to_string()).collect();
        sent.extend(texts.iter().map(|text| add(&mut state, message(text))));
        let taken = turns(&mut state);
        assert_eq!(
            taken.iter().map(Vec::len).collect::<Vec<_>>(),
            [MAX_BATCH_MESSAGES, MAX_BATCH_MESSAGES, 1]
        );
        assert_eq!(taken.concat(), texts);

        // A quote takes two bytes in JSON, a control character six.
        let large = "\u{1}".repeat(BATCH_BYTES / 6 / 3);
        sent.extend((0..3).map(|_| add(&mut state, message(&large))));
        let huge = "x".repeat(BATCH_BYTES + 1);
        sent.push(add(&mut state, message(&huge)));
        sent.push(add(&mut state, message("last")));
        let taken = turns(&mut state);
        assert_eq!(taken.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1, 1]);
        drop(sent);
    }

    #[test]
    fn the_size_of_a_message_is_not_less_than_its_json() {
        let mut message = message("\u{1}\"\\\n\u{7f}é🦀");
        message.to = "\t".repeat(100);
        message.reply_to = Some(MessageId::from_text("\"\"\""));
        message.wait = true;
        let key = crate::sys::random::idempotency_key(crate::sys::clock::now());
        let batched = crate::protocol::messages::BatchedMessage { key, message };
        let json = serde_json::to_vec(&batched).unwrap();
        assert!(json_size(&batched.message) > json.len());
    }

    #[test]
    fn a_cancelled_call_is_not_sent_and_takes_no_other_with_it() {
        let mut state = State::default();
        let kept = ["1", "2", "3"].map(|text| add(&mut state, message(text)));
        drop(add(&mut state, message("cancelled")));
        let last = add(&mut state, message("4"));
        assert_eq!(turns(&mut state), [["1", "2", "3", "4"]]);
        drop((kept, last));
    }

    #[test]
    fn what_waited_while_the_broker_was_out_of_reach_does_not_wait_again() {
        let mut state = State::default();
        let mut before = add(&mut state, message("before"));
        state.unreachable = Some(Instant::now() + std::time::Duration::from_nanos(1));
        std::thread::sleep(std::time::Duration::from_millis(1));
        let after = add(&mut state, message("after"));
        assert_eq!(turns(&mut state), [["after"]]);
        let words = before.try_recv().unwrap().unwrap_err();
        assert!(words.contains("Nothing was sent") && words.contains("earlier message"), "{words}");
        drop(after);
    }
}
