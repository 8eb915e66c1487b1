//! Claims: what calls that wait for mail are about to take.
//!
//! What a waiter is about to take is offered by no other way as long as it waits, or the message
//! would be shown twice: pushed, and in the waiter's answer. This is memory and no more. Nothing is
//! marked in the database, so a waiter that goes away, or a broker that dies, leaves the message
//! as it was: unread, and offered by the other ways. What a waiter takes is an offer with a lease
//! like any other, and read only once its answer was shown.
//!
//! An answer is the waiter's whose message it names. One that names none is the only waiter's for
//! its sender; where several wait for one sender it is nobody's, and goes the ordinary way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::protocol::{MessageId, PeerId};

/// All calls that wait now.
#[derive(Debug, Clone, Default)]
pub struct Claims(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    numbers: u64,
    waiting: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    owner: PeerId,
    what: What,
}

#[derive(Debug)]
enum What {
    Mail,
    Answer(Question),
    /// Its message is stored, and the call that waits for the answer is still to come.
    Coming(Question),
}

/// A message whose answer somebody waits for.
#[derive(Debug, Clone)]
pub struct Question {
    pub id: MessageId,
    pub seq: i64,
    pub to: PeerId,
    /// Only what was stored behind this may be its answer without naming it.
    unnamed_after: i64,
}

impl Question {
    #[must_use]
    pub const fn new(id: MessageId, seq: i64, to: PeerId) -> Self {
        Self { id, seq, to, unnamed_after: seq }
    }
}

/// What decides whose a message is.
#[derive(Debug)]
pub struct Mail {
    pub sender: PeerId,
    pub reply_to: Option<MessageId>,
    pub seq: i64,
}

impl Claims {
    /// `owner` waits for any mail. Gives the waiter's number.
    pub fn wait_for_mail(&self, owner: &PeerId) -> u64 {
        self.lock().add(owner, What::Mail)
    }

    /// `owner` waits for the answer to a message of its own.
    pub fn wait_for_answer(&self, owner: &PeerId, mut question: Question) -> u64 {
        let mut inner = self.lock();
        let known = inner.questions(owner).find(|known| known.id == question.id);
        question.unnamed_after = known.map_or(question.seq, |known| known.unnamed_after);
        inner.stop_expecting(&question.id);
        inner.add(owner, What::Answer(question))
    }

    /// `owner` is about to wait for the answer to a message that is being stored: the answer may
    /// be quicker than the next call.
    pub fn expect(&self, owner: &PeerId, question: Question) {
        self.lock().add(owner, What::Coming(question));
    }

    /// The call did not come; false if it did.
    pub fn stop_expecting(&self, question: &MessageId) -> bool {
        self.lock().stop_expecting(question)
    }

    /// This one waits no longer.
    pub fn end(&self, number: u64) {
        self.lock().waiting.retain(|waiter| waiter.number != number);
    }

    /// Nothing of this owner's is held any more.
    pub fn end_all_of(&self, owner: &PeerId) {
        self.lock().waiting.retain(|waiter| waiter.owner != *owner);
    }

    /// Whether this one still waits: what it waits for may have become somebody else's.
    #[must_use]
    pub fn has(&self, number: u64) -> bool {
        self.lock().waiting.iter().any(|waiter| waiter.number == number)
    }

    /// Whether any call waits.
    #[must_use]
    pub fn any(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// Whether any call waits for mail of `owner`.
    #[must_use]
    pub fn any_of(&self, owner: &PeerId) -> bool {
        self.lock().of(owner).next().is_some()
    }

    /// Whether a waiter is about to take this mail of `owner`.
    #[must_use]
    pub fn hold(&self, owner: &PeerId, mail: &Mail) -> bool {
        let inner = self.lock();
        inner.of(owner).any(|waiter| matches!(waiter.what, What::Mail))
            || inner.is_awaited(owner, mail)
    }

    /// Whether this mail of `owner` is the answer that a waiter waits for.
    #[must_use]
    pub fn await_answer(&self, owner: &PeerId, mail: &Mail) -> bool {
        self.lock().is_awaited(owner, mail)
    }

    /// This mail of `owner` was just stored. If it names no question and there are several, it is
    /// nobody's answer, and stays so when all but one of them are gone.
    pub fn pass(&self, owner: &PeerId, mail: &Mail) {
        let mut inner = self.lock();
        if mail.reply_to.is_some() || inner.only_question(owner, &mail.sender).is_some() {
            return;
        }
        for waiter in inner.waiting.iter_mut().filter(|waiter| waiter.owner == *owner) {
            if let What::Answer(question) | What::Coming(question) = &mut waiter.what
                && question.to == mail.sender
            {
                question.unnamed_after = mail.seq;
            }
        }
    }

    /// Behind which place a message that names no question answers this one; `None` if there are
    /// several to that peer.
    #[must_use]
    pub fn unnamed_after(&self, owner: &PeerId, question: &Question) -> Option<i64> {
        let inner = self.lock();
        let only = inner.only_question(owner, &question.to)?;
        (only.id == question.id).then_some(only.unnamed_after)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn add(&mut self, owner: &PeerId, what: What) -> u64 {
        self.numbers += 1;
        self.waiting.push(Waiter { number: self.numbers, owner: owner.clone(), what });
        self.numbers
    }

    fn stop_expecting(&mut self, question: &MessageId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(
            |waiter| !matches!(&waiter.what, What::Coming(coming) if coming.id == *question),
        );
        self.waiting.len() < before
    }

    fn of(&self, owner: &PeerId) -> impl Iterator<Item = &Waiter> {
        self.waiting.iter().filter(move |waiter| waiter.owner == *owner)
    }

    fn questions(&self, owner: &PeerId) -> impl Iterator<Item = &Question> {
        self.of(owner).filter_map(|waiter| match &waiter.what {
            What::Answer(question) | What::Coming(question) => Some(question),
            What::Mail => None,
        })
    }

    fn is_awaited(&self, owner: &PeerId, mail: &Mail) -> bool {
        if let Some(answered) = &mail.reply_to {
            return self.questions(owner).any(|question| question.id == *answered);
        }
        self.only_question(owner, &mail.sender).is_some_and(|only| only.unnamed_after < mail.seq)
    }

    /// The question of `owner` to `to`, if there is exactly one.
    fn only_question(&self, owner: &PeerId, to: &PeerId) -> Option<&Question> {
        let mut questions = self.questions(owner).filter(|question| question.to == *to);
        let first = questions.next()?;
        // A call that is repeated may wait twice for a moment: that is one question all the same.
        questions.all(|other| other.id == first.id).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(id: &str, seq: i64, to: &PeerId) -> Question {
        Question::new(MessageId::from_text(id), seq, to.clone())
    }

    fn mail(sender: &PeerId, reply_to: Option<&str>, seq: i64) -> Mail {
        Mail { sender: sender.clone(), reply_to: reply_to.map(MessageId::from_text), seq }
    }

    #[test]
    fn an_answer_is_the_waiters_whose_message_it_names() {
        let (me, peer, other) = (PeerId::generate(), PeerId::generate(), PeerId::generate());
        let claims = Claims::default();
        let first = claims.wait_for_answer(&me, question("m1", 1, &peer));
        assert!(claims.hold(&me, &mail(&peer, Some("m1"), 5)));
        assert!(claims.hold(&me, &mail(&other, Some("m1"), 5)), "whoever answers it");
        assert!(!claims.hold(&me, &mail(&peer, Some("m0"), 5)), "it answers something else");
        assert!(!claims.hold(&other, &mail(&peer, Some("m1"), 5)), "another's mail");
        claims.end(first);
        assert!(!claims.hold(&me, &mail(&peer, Some("m1"), 5)));
        assert!(!claims.any());
    }

    #[test]
    fn an_answer_that_names_nothing_is_the_only_waiters() {
        let (me, peer, other) = (PeerId::generate(), PeerId::generate(), PeerId::generate());
        let claims = Claims::default();
        let asked = question("m1", 1, &peer);
        claims.wait_for_answer(&me, asked.clone());
        claims.wait_for_answer(&me, question("m3", 3, &other));
        assert!(claims.await_answer(&me, &mail(&peer, None, 5)));
        assert!(!claims.await_answer(&me, &mail(&peer, None, 1)), "written before it");
        claims.wait_for_answer(&me, asked.clone());
        assert!(claims.await_answer(&me, &mail(&peer, None, 5)), "the same call once more");
        let second = claims.wait_for_answer(&me, question("m2", 2, &peer));
        assert!(!claims.await_answer(&me, &mail(&peer, None, 5)), "whose is it?");
        assert_eq!(claims.unnamed_after(&me, &asked), None);
        claims.pass(&me, &mail(&peer, None, 5));
        claims.end(second);
        assert!(!claims.await_answer(&me, &mail(&peer, None, 5)), "it was nobody's");
        assert!(claims.await_answer(&me, &mail(&peer, None, 6)));
        assert_eq!(claims.unnamed_after(&me, &asked), Some(5));
        claims.pass(&me, &mail(&peer, None, 6));
        assert!(claims.await_answer(&me, &mail(&peer, None, 6)), "it is the only one's");
    }

    #[test]
    fn a_waiter_that_is_coming_holds_until_it_came_or_nobody_expects_it() {
        let (me, peer) = (PeerId::generate(), PeerId::generate());
        let claims = Claims::default();
        claims.expect(&me, question("m1", 1, &peer));
        assert!(claims.await_answer(&me, &mail(&peer, Some("m1"), 2)));
        let number = claims.wait_for_answer(&me, question("m1", 1, &peer));
        assert!(!claims.stop_expecting(&MessageId::from_text("m1")), "it came");
        claims.end(number);
        assert!(!claims.any());
        claims.expect(&me, question("m2", 2, &peer));
        assert!(claims.stop_expecting(&MessageId::from_text("m2")));
        assert!(!claims.any());
    }

    #[test]
    fn who_waits_for_any_mail_holds_all_of_it_but_awaits_no_answer() {
        let (me, peer) = (PeerId::generate(), PeerId::generate());
        let claims = Claims::default();
        claims.wait_for_mail(&me);
        let some = mail(&peer, None, 1);
        assert!(claims.hold(&me, &some) && !claims.await_answer(&me, &some));
        assert!(claims.any_of(&me) && !claims.any_of(&peer));
        let other = claims.wait_for_mail(&peer);
        claims.end_all_of(&me);
        assert!(!claims.hold(&me, &some) && !claims.any_of(&me) && claims.has(other));
    }
}
