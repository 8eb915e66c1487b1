//! Notes what a harness does and sees, from several threads, with times of one clock.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::{Answer, At, Event, History, Life, Look, Seen, Send, Shown, Span, Stored, Told, Way};

/// Notes the events of a run. Clones note into the same history.
#[derive(Clone)]
pub struct Recorder {
    since: Instant,
    events: Arc<Mutex<Vec<Event>>>,
}

/// A send that is under way: the place of its event.
#[derive(Debug, Clone, Copy)]
pub struct Sending(usize);

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recorder {
    /// A recorder whose clock begins now.
    pub fn new() -> Self {
        Self { since: Instant::now(), events: Arc::default() }
    }

    /// The time now.
    pub fn now(&self) -> At {
        self.at(Instant::now())
    }

    /// The time of an instant, such as that at which a line was read.
    pub fn at(&self, instant: Instant) -> At {
        instant.saturating_duration_since(self.since).as_nanos() as At
    }

    /// The time from `began` until now.
    pub fn until_now(&self, began: At) -> Span {
        Span { began, ended: self.now() }
    }

    /// Notes any event. Returns its place.
    pub fn note(&self, event: Event) -> usize {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(event);
        events.len() - 1
    }

    /// Notes that a plain send begins now.
    pub fn send(&self, from: &str, to: &str, text: &str) -> Sending {
        self.begin(Send::new(0, from, to, text))
    }

    /// Notes that a send begins now, with all that it has but its time.
    pub fn begin(&self, send: Send) -> Sending {
        Sending(self.note(Event::Send(Send { began: self.now(), ..send })))
    }

    /// Notes the answer to a send, which came now.
    pub fn answered(&self, sending: Sending, answer: Answer) {
        let at = self.now();
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Event::Send(send)) = events.get_mut(sending.0) {
            send.answer = Some((at, answer));
        }
    }

    /// Notes that a send was accepted.
    pub fn accepted(&self, sending: Sending, id: &str, state: Option<&str>) {
        let (id, state) = (id.to_owned(), state.map(str::to_owned));
        self.answered(sending, Answer::Accepted { id, state });
    }

    /// Notes messages that `receiver` showed to `peer`, in this order.
    pub fn shown(&self, span: Span, peer: &str, receiver: &str, way: Way, messages: Vec<Seen>) {
        let (peer, receiver) = (peer.to_owned(), receiver.to_owned());
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.extend(messages.into_iter().map(|message| {
            let (peer, receiver) = (peer.clone(), receiver.clone());
            Event::Shown(Shown { span, peer, receiver, way, message })
        }));
    }

    /// Notes an operation that can show messages, and whether all that it said was seen.
    pub fn look(&self, began: At, peer: &str, way: Way, is_seen: bool) {
        self.note(Event::Look(Look { began, peer: peer.to_owned(), way, is_seen }));
    }

    /// Notes a whole operation that showed these messages, and whose output was seen.
    pub fn looked(&self, span: Span, peer: &str, receiver: &str, way: Way, messages: Vec<Seen>) {
        self.look(span.began, peer, way, true);
        self.shown(span, peer, receiver, way, messages);
    }

    /// Notes states that were told.
    pub fn told(&self, span: Span, states: Vec<(String, String, Option<String>)>) {
        for (id, state, via) in states {
            self.note(Event::Told(Told { span, id, state, via }));
        }
    }

    /// Notes that an instance is about to be started.
    pub fn began(&self, peer: &str, instance: &str) {
        self.note(Event::Began(self.life(peer, instance)));
    }

    /// Notes that an instance has ended and its output was read.
    pub fn ended(&self, peer: &str, instance: &str) {
        self.note(Event::Ended(self.life(peer, instance)));
    }

    fn life(&self, peer: &str, instance: &str) -> Life {
        Life { at: self.now(), peer: peer.to_owned(), instance: instance.to_owned() }
    }

    /// Notes all that is stored at the end. Returns the history.
    pub fn finish(&self, stored: Vec<Stored>) -> History {
        let mut history = self.history();
        history.events.extend(stored.into_iter().map(Event::Stored));
        history.is_store_known = true;
        history
    }

    /// Returns what has happened so far.
    pub fn history(&self) -> History {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        History { events, is_store_known: false }
    }
}
