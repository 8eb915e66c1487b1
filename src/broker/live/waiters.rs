//! Calls that wait for messages, and the reservations that they hold.
//!
//! A message that a waiter is about to take is reserved: no other way offers it, or it would be
//! shown twice, by a push and by the waiter's answer. Reservations are in memory only. If a waiter
//! goes away or the broker dies, the message is still unread and the other ways offer it. What a
//! waiter takes is an offer with a lease like any other, and read only once its answer was shown.
//!
//! A reply belongs to the waiter whose question it names. One that names none belongs to the only
//! waiter for its sender; where several wait for one sender it belongs to none of them and is
//! offered the ordinary way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::protocol::{MessageId, PeerId};

/// All waiters. Each clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Waiters(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    numbers: u64,
    waiting: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    owner: PeerId,
    kind: WaiterKind,
}

#[derive(Debug)]
enum WaiterKind {
    /// Waits for any message.
    Mail,
    /// Waits for the reply to a question.
    Reply(Question),
    /// The question is stored, and the call that waits for the reply is expected.
    Expected(Question),
}

/// A message for whose reply a call waits.
#[derive(Debug, Clone)]
pub struct Question {
    pub id: MessageId,
    pub seq: i64,
    pub to: PeerId,
    /// Only a message with a higher sequence number may be the reply without naming the question.
    unnamed_after: i64,
}

impl Question {
    #[must_use]
    pub const fn new(id: MessageId, seq: i64, to: PeerId) -> Self {
        Self { id, seq, to, unnamed_after: seq }
    }
}

/// What decides which waiter a message belongs to.
#[derive(Debug)]
pub struct IncomingMessage {
    pub sender: PeerId,
    pub reply_to: Option<MessageId>,
    pub seq: i64,
}

impl Waiters {
    /// Adds a waiter for any message to `owner`, and returns its number.
    pub fn add_for_mail(&self, owner: &PeerId) -> u64 {
        self.lock().add(owner, WaiterKind::Mail)
    }

    /// Adds a waiter for the reply to a message of `owner`, and returns its number.
    pub fn add_for_reply(&self, owner: &PeerId, mut question: Question) -> u64 {
        let mut inner = self.lock();
        let known = inner.questions(owner).find(|known| known.id == question.id);
        question.unnamed_after = known.map_or(question.seq, |known| known.unnamed_after);
        inner.stop_expecting(&question.id);
        inner.add(owner, WaiterKind::Reply(question))
    }

    /// Reserves the reply to a message that was just stored for the call of `owner` that is about to
    /// wait for it: the reply may come before that call.
    pub fn expect_waiter(&self, owner: &PeerId, question: Question) {
        self.lock().add(owner, WaiterKind::Expected(question));
    }

    /// Ends the expectation of a call. Returns false if the call has come.
    pub fn stop_expecting(&self, question: &MessageId) -> bool {
        self.lock().stop_expecting(question)
    }

    /// Removes one waiter.
    pub fn remove(&self, number: u64) {
        self.lock().waiting.retain(|waiter| waiter.number != number);
    }

    /// Removes all waiters of `owner`.
    pub fn remove_all_of(&self, owner: &PeerId) {
        self.lock().waiting.retain(|waiter| waiter.owner != *owner);
    }

    /// Whether this waiter was not removed yet.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        self.lock().waiting.iter().any(|waiter| waiter.number == number)
    }

    /// Whether any call waits.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// Whether any call waits for messages to `owner`.
    #[must_use]
    pub fn has_any_of(&self, owner: &PeerId) -> bool {
        self.lock().of(owner).next().is_some()
    }

    /// Whether a waiter is about to take this message to `owner`.
    #[must_use]
    pub fn is_reserved(&self, owner: &PeerId, message: &IncomingMessage) -> bool {
        let inner = self.lock();
        inner.of(owner).any(|waiter| matches!(waiter.kind, WaiterKind::Mail))
            || inner.is_awaited(owner, message)
    }

    /// Whether this message to `owner` is the reply that a waiter waits for.
    #[must_use]
    pub fn is_awaited_reply(&self, owner: &PeerId, message: &IncomingMessage) -> bool {
        self.lock().is_awaited(owner, message)
    }

    /// Notes a message to `owner` that was just stored.
    ///
    /// If it names no question and `owner` waits on several to its sender, it is the reply to none of
    /// them, and stays so when all but one of these waiters are gone.
    pub fn note_ambiguous(&self, owner: &PeerId, message: &IncomingMessage) {
        let mut inner = self.lock();
        if message.reply_to.is_some() || inner.only_question(owner, &message.sender).is_some() {
            return;
        }
        for waiter in inner.waiting.iter_mut().filter(|waiter| waiter.owner == *owner) {
            if let WaiterKind::Reply(question) | WaiterKind::Expected(question) = &mut waiter.kind
                && question.to == message.sender
            {
                question.unnamed_after = message.seq;
            }
        }
    }

    /// Returns the sequence number after which a message that names no question counts as the reply
    /// to `question`; `None` if `owner` waits on several questions to that peer.
    #[must_use]
    pub fn unnamed_replies_after(&self, owner: &PeerId, question: &Question) -> Option<i64> {
        let inner = self.lock();
        let only = inner.only_question(owner, &question.to)?;
        (only.id == question.id).then_some(only.unnamed_after)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn add(&mut self, owner: &PeerId, kind: WaiterKind) -> u64 {
        self.numbers += 1;
        self.waiting.push(Waiter { number: self.numbers, owner: owner.clone(), kind });
        self.numbers
    }

    fn stop_expecting(&mut self, question: &MessageId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(
            |waiter| !matches!(&waiter.kind, WaiterKind::Expected(expected) if expected.id == *question),
        );
        self.waiting.len() < before
    }

    fn of(&self, owner: &PeerId) -> impl Iterator<Item = &Waiter> {
        self.waiting.iter().filter(move |waiter| waiter.owner == *owner)
    }

    fn questions(&self, owner: &PeerId) -> impl Iterator<Item = &Question> {
        self.of(owner).filter_map(|waiter| match &waiter.kind {
            WaiterKind::Reply(question) | WaiterKind::Expected(question) => Some(question),
            WaiterKind::Mail => None,
        })
    }

    fn is_awaited(&self, owner: &PeerId, message: &IncomingMessage) -> bool {
        if let Some(answered) = &message.reply_to {
            return self.questions(owner).any(|question| question.id == *answered);
        }
        self.only_question(owner, &message.sender)
            .is_some_and(|only| only.unnamed_after < message.seq)
    }

    /// The question of `owner` to `to`, if there is exactly one.
    fn only_question(&self, owner: &PeerId, to: &PeerId) -> Option<&Question> {
        let mut questions = self.questions(owner).filter(|question| question.to == *to);
        let first = questions.next()?;
        // A call that is retried may wait twice for a moment, which is one question all the same.
        questions.all(|other| other.id == first.id).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::random;

    fn question(id: &str, seq: i64, to: &PeerId) -> Question {
        Question::new(MessageId::from_text(id), seq, to.clone())
    }

    fn mail(sender: &PeerId, reply_to: Option<&str>, seq: i64) -> IncomingMessage {
        IncomingMessage {
            sender: sender.clone(),
            reply_to: reply_to.map(MessageId::from_text),
            seq,
        }
    }

    #[test]
    fn a_reply_belongs_to_the_waiter_whose_question_it_names() {
        let (me, peer, other) = (random::peer_id(), random::peer_id(), random::peer_id());
        let waiters = Waiters::default();
        let first = waiters.add_for_reply(&me, question("m1", 1, &peer));
        assert!(waiters.is_reserved(&me, &mail(&peer, Some("m1"), 5)));
        assert!(waiters.is_reserved(&me, &mail(&other, Some("m1"), 5)), "from any sender");
        assert!(
            !waiters.is_reserved(&me, &mail(&peer, Some("m0"), 5)),
            "it answers something else"
        );
        assert!(
            !waiters.is_reserved(&other, &mail(&peer, Some("m1"), 5)),
            "another peer's message"
        );
        waiters.remove(first);
        assert!(!waiters.is_reserved(&me, &mail(&peer, Some("m1"), 5)));
        assert!(!waiters.is_any());
    }

    #[test]
    fn a_reply_that_names_no_question_belongs_to_the_only_waiter() {
        let (me, peer, other) = (random::peer_id(), random::peer_id(), random::peer_id());
        let waiters = Waiters::default();
        let asked = question("m1", 1, &peer);
        waiters.add_for_reply(&me, asked.clone());
        waiters.add_for_reply(&me, question("m3", 3, &other));
        assert!(waiters.is_awaited_reply(&me, &mail(&peer, None, 5)));
        assert!(!waiters.is_awaited_reply(&me, &mail(&peer, None, 1)), "written before it");
        waiters.add_for_reply(&me, asked.clone());
        assert!(waiters.is_awaited_reply(&me, &mail(&peer, None, 5)), "the same call once more");
        let second = waiters.add_for_reply(&me, question("m2", 2, &peer));
        assert!(
            !waiters.is_awaited_reply(&me, &mail(&peer, None, 5)),
            "it may be the reply to either"
        );
        assert_eq!(waiters.unnamed_replies_after(&me, &asked), None);
        waiters.note_ambiguous(&me, &mail(&peer, None, 5));
        waiters.remove(second);
        assert!(
            !waiters.is_awaited_reply(&me, &mail(&peer, None, 5)),
            "it was the reply to neither"
        );
        assert!(waiters.is_awaited_reply(&me, &mail(&peer, None, 6)));
        assert_eq!(waiters.unnamed_replies_after(&me, &asked), Some(5));
        waiters.note_ambiguous(&me, &mail(&peer, None, 6));
        assert!(
            waiters.is_awaited_reply(&me, &mail(&peer, None, 6)),
            "it is the reply to the only one"
        );
    }

    #[test]
    fn an_expected_waiter_reserves_until_it_comes_or_is_not_expected_any_more() {
        let (me, peer) = (random::peer_id(), random::peer_id());
        let waiters = Waiters::default();
        waiters.expect_waiter(&me, question("m1", 1, &peer));
        assert!(waiters.is_awaited_reply(&me, &mail(&peer, Some("m1"), 2)));
        let number = waiters.add_for_reply(&me, question("m1", 1, &peer));
        assert!(!waiters.stop_expecting(&MessageId::from_text("m1")), "it came");
        waiters.remove(number);
        assert!(!waiters.is_any());
        waiters.expect_waiter(&me, question("m2", 2, &peer));
        assert!(waiters.stop_expecting(&MessageId::from_text("m2")));
        assert!(!waiters.is_any());
    }

    #[test]
    fn a_waiter_for_any_message_reserves_all_of_them_and_awaits_no_reply() {
        let (me, peer) = (random::peer_id(), random::peer_id());
        let waiters = Waiters::default();
        waiters.add_for_mail(&me);
        let some = mail(&peer, None, 1);
        assert!(waiters.is_reserved(&me, &some) && !waiters.is_awaited_reply(&me, &some));
        assert!(waiters.has_any_of(&me) && !waiters.has_any_of(&peer));
        let other = waiters.add_for_mail(&peer);
        waiters.remove_all_of(&me);
        assert!(
            !waiters.is_reserved(&me, &some) && !waiters.has_any_of(&me) && waiters.contains(other)
        );
    }
}
