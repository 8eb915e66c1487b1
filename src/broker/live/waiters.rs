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
pub struct Waiters(Arc<Mutex<WaiterList>>);

/// The list of all waiters.
#[derive(Debug, Clone, Default)]
pub struct WaiterList {
    numbers: u64,
    waiting: Vec<Waiter>,
}

#[derive(Debug, Clone)]
struct Waiter {
    number: u64,
    owner: PeerId,
    kind: WaiterKind,
}

#[derive(Debug, Clone)]
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
#[derive(Debug, Clone)]
pub struct IncomingMessage {
    pub sender: PeerId,
    pub reply_to: Option<MessageId>,
    pub seq: i64,
}

/// A change of the waiters that a transaction makes.
#[derive(Debug)]
pub enum WaiterChange {
    /// The reply to a message of `owner` that was just stored is reserved for the call that is about
    /// to wait for it: the reply may come before that call.
    Expect { owner: PeerId, question: Question },
    /// The waiter with this number has its answer, or gives up.
    End(u64),
    /// All waiters of this owner end.
    EndAllOf(PeerId),
    /// A message to `owner` was stored that names no question while several to its sender wait: it
    /// is the reply to none of them, also when all but one of them are gone.
    NoteAmbiguous { owner: PeerId, message: IncomingMessage },
}

impl Waiters {
    /// Adds a waiter for any message to `owner`, and returns its number.
    pub fn add_for_mail(&self, owner: &PeerId) -> u64 {
        self.lock().add(owner, WaiterKind::Mail)
    }

    /// Adds a waiter for the reply to a message of `owner`, and returns its number.
    pub fn add_for_reply(&self, owner: &PeerId, mut question: Question) -> u64 {
        let mut list = self.lock();
        let known = list.questions(owner).find(|known| known.id == question.id);
        question.unnamed_after = known.map_or(question.seq, |known| known.unnamed_after);
        list.stop_expecting(&question.id);
        list.add(owner, WaiterKind::Reply(question))
    }

    /// Ends the expectation of a call. Returns false if the call has come.
    pub fn stop_expecting(&self, question: &MessageId) -> bool {
        self.lock().stop_expecting(question)
    }

    /// Removes one waiter.
    pub fn remove(&self, number: u64) {
        self.lock().apply(&WaiterChange::End(number));
    }

    /// Whether any call waits.
    #[must_use]
    pub fn is_any(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// Locks the list. A transaction reads it through its context instead, which adds its changes.
    pub fn lock(&self) -> MutexGuard<'_, WaiterList> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaiterList {
    pub fn apply(&mut self, change: &WaiterChange) {
        match change {
            WaiterChange::Expect { owner, question } => {
                self.add(owner, WaiterKind::Expected(question.clone()));
            }
            WaiterChange::End(number) => self.waiting.retain(|waiter| waiter.number != *number),
            WaiterChange::EndAllOf(owner) => self.waiting.retain(|waiter| waiter.owner != *owner),
            WaiterChange::NoteAmbiguous { owner, message } => self.note_ambiguous(owner, message),
        }
    }

    /// Returns a copy that has the waiters of `owner` only.
    #[must_use]
    pub fn copy_of(&self, owner: &PeerId) -> Self {
        Self { numbers: self.numbers, waiting: self.of(owner).cloned().collect() }
    }

    /// Whether this waiter was not removed yet.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        self.waiting.iter().any(|waiter| waiter.number == number)
    }

    /// Whether any call waits for messages to `owner`.
    #[must_use]
    pub fn has_any_of(&self, owner: &PeerId) -> bool {
        self.of(owner).next().is_some()
    }

    /// Whether a waiter is about to take this message to `owner`.
    #[must_use]
    pub fn is_reserved(&self, owner: &PeerId, message: &IncomingMessage) -> bool {
        self.of(owner).any(|waiter| matches!(waiter.kind, WaiterKind::Mail))
            || self.is_awaited_reply(owner, message)
    }

    /// Whether this message to `owner` is the reply that a waiter waits for.
    #[must_use]
    pub fn is_awaited_reply(&self, owner: &PeerId, message: &IncomingMessage) -> bool {
        if let Some(answered) = &message.reply_to {
            return self.questions(owner).any(|question| question.id == *answered);
        }
        self.only_question(owner, &message.sender)
            .is_some_and(|only| only.unnamed_after < message.seq)
    }

    /// Whether this message to `owner` names no question, and may be the reply to several.
    #[must_use]
    pub fn is_ambiguous(&self, owner: &PeerId, message: &IncomingMessage) -> bool {
        message.reply_to.is_none()
            && self.questions_to(owner, &message.sender).next().is_some()
            && self.only_question(owner, &message.sender).is_none()
    }

    /// Returns the sequence number after which a message that names no question counts as the reply
    /// to `question`; `None` if `owner` waits on several questions to that peer.
    #[must_use]
    pub fn unnamed_replies_after(&self, owner: &PeerId, question: &Question) -> Option<i64> {
        let only = self.only_question(owner, &question.to)?;
        (only.id == question.id).then_some(only.unnamed_after)
    }

    fn note_ambiguous(&mut self, owner: &PeerId, message: &IncomingMessage) {
        for waiter in self.waiting.iter_mut().filter(|waiter| waiter.owner == *owner) {
            if let WaiterKind::Reply(question) | WaiterKind::Expected(question) = &mut waiter.kind
                && question.to == message.sender
            {
                question.unnamed_after = message.seq;
            }
        }
    }

    fn add(&mut self, owner: &PeerId, kind: WaiterKind) -> u64 {
        self.numbers += 1;
        self.waiting.push(Waiter { number: self.numbers, owner: owner.clone(), kind });
        self.numbers
    }

    fn stop_expecting(&mut self, question: &MessageId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiter| {
            !matches!(&waiter.kind, WaiterKind::Expected(expected) if expected.id == *question)
        });
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

    fn questions_to(&self, owner: &PeerId, to: &PeerId) -> impl Iterator<Item = &Question> {
        self.questions(owner).filter(move |question| question.to == *to)
    }

    /// The question of `owner` to `to`, if there is exactly one.
    fn only_question(&self, owner: &PeerId, to: &PeerId) -> Option<&Question> {
        let mut questions = self.questions_to(owner, to);
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

    fn note(waiters: &Waiters, owner: &PeerId, message: IncomingMessage) {
        let mut list = waiters.lock();
        if list.is_ambiguous(owner, &message) {
            list.apply(&WaiterChange::NoteAmbiguous { owner: owner.clone(), message });
        }
    }

    fn expect(waiters: &Waiters, owner: &PeerId, question: Question) {
        waiters.lock().apply(&WaiterChange::Expect { owner: owner.clone(), question });
    }

    #[test]
    fn a_reply_belongs_to_the_waiter_whose_question_it_names() {
        let (me, peer, other) = (random::peer_id(), random::peer_id(), random::peer_id());
        let waiters = Waiters::default();
        let first = waiters.add_for_reply(&me, question("m1", 1, &peer));
        assert!(waiters.lock().is_reserved(&me, &mail(&peer, Some("m1"), 5)));
        assert!(waiters.lock().is_reserved(&me, &mail(&other, Some("m1"), 5)), "from any sender");
        assert!(
            !waiters.lock().is_reserved(&me, &mail(&peer, Some("m0"), 5)),
            "it answers something else"
        );
        assert!(
            !waiters.lock().is_reserved(&other, &mail(&peer, Some("m1"), 5)),
            "another peer's message"
        );
        waiters.remove(first);
        assert!(!waiters.lock().is_reserved(&me, &mail(&peer, Some("m1"), 5)));
        assert!(!waiters.is_any());
    }

    #[test]
    fn a_reply_that_names_no_question_belongs_to_the_only_waiter() {
        let (me, peer, other) = (random::peer_id(), random::peer_id(), random::peer_id());
        let waiters = Waiters::default();
        let asked = question("m1", 1, &peer);
        waiters.add_for_reply(&me, asked.clone());
        waiters.add_for_reply(&me, question("m3", 3, &other));
        assert!(waiters.lock().is_awaited_reply(&me, &mail(&peer, None, 5)));
        assert!(!waiters.lock().is_awaited_reply(&me, &mail(&peer, None, 1)), "written before it");
        waiters.add_for_reply(&me, asked.clone());
        assert!(
            waiters.lock().is_awaited_reply(&me, &mail(&peer, None, 5)),
            "the same call once more"
        );
        let second = waiters.add_for_reply(&me, question("m2", 2, &peer));
        assert!(
            !waiters.lock().is_awaited_reply(&me, &mail(&peer, None, 5)),
            "it may be the reply to either"
        );
        assert_eq!(waiters.lock().unnamed_replies_after(&me, &asked), None);
        note(&waiters, &me, mail(&peer, None, 5));
        waiters.remove(second);
        assert!(
            !waiters.lock().is_awaited_reply(&me, &mail(&peer, None, 5)),
            "it was the reply to neither"
        );
        assert!(waiters.lock().is_awaited_reply(&me, &mail(&peer, None, 6)));
        assert_eq!(waiters.lock().unnamed_replies_after(&me, &asked), Some(5));
        note(&waiters, &me, mail(&peer, None, 6));
        assert!(
            waiters.lock().is_awaited_reply(&me, &mail(&peer, None, 6)),
            "it is the reply to the only one"
        );
    }

    #[test]
    fn an_expected_waiter_reserves_until_it_comes_or_is_not_expected_any_more() {
        let (me, peer) = (random::peer_id(), random::peer_id());
        let waiters = Waiters::default();
        expect(&waiters, &me, question("m1", 1, &peer));
        assert!(waiters.lock().is_awaited_reply(&me, &mail(&peer, Some("m1"), 2)));
        let number = waiters.add_for_reply(&me, question("m1", 1, &peer));
        assert!(!waiters.stop_expecting(&MessageId::from_text("m1")), "it came");
        waiters.remove(number);
        assert!(!waiters.is_any());
        expect(&waiters, &me, question("m2", 2, &peer));
        assert!(waiters.stop_expecting(&MessageId::from_text("m2")));
        assert!(!waiters.is_any());
    }

    #[test]
    fn a_waiter_for_any_message_reserves_all_of_them_and_awaits_no_reply() {
        let (me, peer) = (random::peer_id(), random::peer_id());
        let waiters = Waiters::default();
        waiters.add_for_mail(&me);
        let some = mail(&peer, None, 1);
        assert!(
            waiters.lock().is_reserved(&me, &some) && !waiters.lock().is_awaited_reply(&me, &some)
        );
        assert!(waiters.lock().has_any_of(&me) && !waiters.lock().has_any_of(&peer));
        let other = waiters.add_for_mail(&peer);
        waiters.lock().apply(&WaiterChange::EndAllOf(me.clone()));
        assert!(
            !waiters.lock().is_reserved(&me, &some)
                && !waiters.lock().has_any_of(&me)
                && waiters.lock().contains(other)
        );
    }
}
