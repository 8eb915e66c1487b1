//! Waiters of a test: calls that wait for any mail, or for the reply to a message.

use super::mail::draft;
use super::{TestPeer, World, line, lines};
use crate::broker::live::waiters::Question;
use crate::broker::mailbox::{self, WaitingCall};
use crate::protocol::mailbox::{Answered, Take};
use crate::protocol::messages::{MessageState, SendMessage, Sent};
use crate::protocol::{ApiError, MessageId};

/// A call that waits.
#[derive(Debug, Clone)]
pub struct TestWaiter {
    call: WaitingCall,
    /// The message whose reply it waits for, if not for any mail.
    question: Option<Question>,
}

impl World {
    /// Makes a peer wait for any mail.
    pub fn wait(&mut self, peer: &TestPeer) -> TestWaiter {
        let identity = peer.identity();
        let caller = self.store.read(|tx| identity.authenticate(tx)).unwrap();
        let number = self.live.waiters.add_for_mail(&caller.peer);
        TestWaiter {
            call: WaitingCall::new(caller, None, number, &self.live.sources.ids),
            question: None,
        }
    }

    /// Sends a message whose sender is about to wait for the reply.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn ask(&mut self, from: &TestPeer, to: &TestPeer, text: &str) -> Result<Sent, ApiError> {
        self.send_message(from, SendMessage { wait: true, ..draft(to.id.as_str(), text) }, None)
    }

    /// Makes a peer wait for the reply to a message of its own.
    pub fn wait_for_reply(&mut self, peer: &TestPeer, id: &MessageId) -> TestWaiter {
        self.try_wait_for_reply(peer, id).unwrap()
    }

    /// The same, unless that is refused.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn try_wait_for_reply(
        &mut self,
        peer: &TestPeer,
        id: &MessageId,
    ) -> Result<TestWaiter, ApiError> {
        let identity = peer.identity();
        let (caller, question) = self.store.read(|tx| {
            let caller = identity.authenticate(tx)?;
            let question = mailbox::question(tx, &caller, id)?;
            Ok((caller, question))
        })?;
        let number = self.live.waiters.add_for_reply(&caller.peer, question.clone());
        Ok(TestWaiter {
            call: WaitingCall::new(caller, None, number, &self.live.sources.ids),
            question: Some(question),
        })
    }

    /// Has a waiter look whether there is something for it, and returns what it gets.
    pub fn look_for(&mut self, waiter: &TestWaiter) -> Option<Vec<String>> {
        self.try_look_for(waiter).unwrap()
    }

    /// The same, unless that is refused.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn try_look_for(&mut self, waiter: &TestWaiter) -> Result<Option<Vec<String>>, ApiError> {
        let TestWaiter { call, question } = waiter.clone();
        self.write(move |tx| {
            if let Some(question) = question {
                let answered = mailbox::take_answer(tx, &call, &question)?;
                return Ok(answered.map(|answered| reply_of(&answered)));
            }
            let taken = mailbox::take_if_new(tx, &call, &Take::default())?;
            Ok(taken.map(|taken| lines(&taken.messages)))
        })
    }

    /// Ends a waiter's time, and returns what it gets all the same.
    pub fn time_out(&mut self, waiter: &TestWaiter) -> Vec<String> {
        let TestWaiter { call, question } = waiter.clone();
        let ended = self.write(move |tx| match question {
            Some(question) => Ok(reply_of(&mailbox::answer_timeout(tx, &call, &question)?)),
            None => Ok(lines(&mailbox::take_at_timeout(tx, &call, &Take::default())?.messages)),
        });
        ended.unwrap()
    }

    /// Ends the time of a waiter for a reply, and returns how its question stands.
    pub fn state_at_time_out(&mut self, waiter: &TestWaiter) -> MessageState {
        let TestWaiter { call, question } = waiter.clone();
        self.write(move |tx| Ok(mailbox::answer_timeout(tx, &call, &question.unwrap())?.state))
            .unwrap()
    }

    /// Ends a waiter's connection before it gets anything.
    pub fn hang_up(&mut self, waiter: TestWaiter) {
        self.live.waiters.remove(waiter.call.waiter);
        let peer = waiter.call.caller.peer;
        self.write(move |tx| mailbox::release_reservations(tx, &peer)).unwrap();
    }

    /// Forgets an expected waiter. Returns whether there was one.
    pub fn stop_expecting(&mut self, id: &MessageId) -> bool {
        self.live.waiters.stop_expecting(id)
    }

    /// Whether any call of a peer waits, or is about to.
    pub fn waits(&self, peer: &TestPeer) -> bool {
        self.live.waiters.lock().has_any_of(&peer.id)
    }
}

fn reply_of(answered: &Answered) -> Vec<String> {
    answered.answer.iter().map(line).collect()
}
