//! Mail of a test: it is sent, taken, written and replied to, by the same calls as in the API's
//! routes.

use super::{Outcome, Scope, TestPeer, World, lines};
use crate::broker::core::Tx;
use crate::broker::core::idempotency::{IdempotencyKey, run_once};
use crate::broker::mailbox::{self, Batch, BatchItem};
use crate::protocol::mailbox::{Confirm, Take, Taken, Written};
use crate::protocol::messages::{SendMessage, Sent};
use crate::protocol::messages::{SendToScope, SentToScope};
use crate::protocol::{ApiError, MessageId};

/// A message to a peer that is named by a word.
pub fn draft(to: &str, text: &str) -> SendMessage {
    SendMessage {
        to: to.to_owned(),
        text: text.to_owned(),
        reply_to: None,
        from_session: None,
        wait: false,
    }
}

impl World {
    /// Sends a text from one peer to another.
    pub fn send(&mut self, from: &TestPeer, to: &TestPeer, text: &str) -> MessageId {
        self.try_send(from, to.id.as_str(), text).unwrap().id
    }

    /// Sends each of these texts from one peer to another.
    pub fn send_all(&mut self, from: &TestPeer, to: &TestPeer, texts: &[&str]) -> Vec<MessageId> {
        texts.iter().map(|text| self.send(from, to, text)).collect()
    }

    /// Sends a text to the peer that a word means, unless that is refused.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn try_send(&mut self, from: &TestPeer, to: &str, text: &str) -> Result<Sent, ApiError> {
        self.send_message(from, draft(to, text), None)
    }

    /// Sends a text with an idempotency key.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn send_once(
        &mut self,
        from: &TestPeer,
        to: &str,
        text: &str,
        key: &str,
    ) -> Result<Sent, ApiError> {
        let fingerprint = IdempotencyKey::new(key, &[to.as_bytes(), text.as_bytes()]);
        self.send_message(from, draft(to, text), Some(fingerprint))
    }

    /// Sends texts by requests that share a transaction, and returns which were accepted.
    pub fn send_together(&mut self, all: &[(Outcome, &TestPeer, &TestPeer, &str)]) -> Vec<bool> {
        let requests = all.iter().map(|(outcome, from, to, text)| {
            let (identity, message) = (from.identity(), draft(to.id.as_str(), text));
            let send = move |tx: &mut Tx<'_>| {
                let caller = identity.authenticate(tx)?;
                mailbox::send_once(tx, &caller, None, &message)
            };
            (*outcome, send)
        });
        let answers = self.store.write_all(requests.collect());
        answers.into_iter().map(|answer| answer.is_ok()).collect()
    }

    /// Sends texts in one request: each with its key, the word that means its recipient, and itself.
    /// `again` tells that the request may have been carried out before.
    ///
    /// # Errors
    ///
    /// What the broker refuses as a whole.
    pub fn send_batch(
        &mut self,
        from: &TestPeer,
        items: &[(&str, &str, &str)],
        again: bool,
    ) -> Result<Vec<Result<Sent, ApiError>>, ApiError> {
        let identity = from.identity();
        let item = |(key, to, text): &(&str, &str, &str)| {
            let key = IdempotencyKey::new(key, &[to.as_bytes(), text.as_bytes()]);
            BatchItem { key: Ok(key), message: draft(to, text) }
        };
        let batch = Batch { items: items.iter().map(item).collect(), again };
        self.write(move |tx| {
            let caller = identity.authenticate(tx)?;
            mailbox::send_batch(tx, &caller, &batch)
        })
    }

    /// Has the database refuse each message with this text.
    pub fn fail_inserts_of(&mut self, text: &str) {
        let trigger = format!(
            "CREATE TEMP TRIGGER fails AFTER INSERT ON messages WHEN new.text = '{text}'
             BEGIN SELECT raise(ABORT, 'the test fails this'); END"
        );
        self.store.database().execute_batch(&trigger).unwrap();
    }

    /// Replies to a message.
    pub fn reply(&mut self, from: &TestPeer, to: &TestPeer, id: &MessageId) -> MessageId {
        self.try_reply(from, to, id).unwrap().id
    }

    /// Replies to a message, unless that is refused.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn try_reply(
        &mut self,
        from: &TestPeer,
        to: &TestPeer,
        id: &MessageId,
    ) -> Result<Sent, ApiError> {
        let reply_to = Some(id.clone());
        self.send_message(from, SendMessage { reply_to, ..draft(to.id.as_str(), "a reply") }, None)
    }

    /// Sends a message as it is.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn send_message(
        &mut self,
        from: &TestPeer,
        message: SendMessage,
        key: Option<IdempotencyKey>,
    ) -> Result<Sent, ApiError> {
        let identity = from.identity();
        self.write(move |tx| {
            let caller = identity.authenticate(tx)?;
            mailbox::send_once(tx, &caller, key.as_ref(), &message)
        })
    }

    /// Sends a text to all live sessions of a scope.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn broadcast(
        &mut self,
        from: &TestPeer,
        scope: Scope,
        text: &str,
    ) -> Result<SentToScope, ApiError> {
        let identity = from.identity();
        let text = text.to_owned();
        self.write(move |tx| {
            let caller = identity.authenticate(tx)?;
            let (directory, repo, from_session) = (None, None, None);
            let request = SendToScope { scope, text, directory, repo, from_session };
            mailbox::send_to_scope(tx, &caller, &request)
        })
    }

    /// Takes a peer's mail, and returns what it gets.
    pub fn take(&mut self, peer: &TestPeer) -> Vec<String> {
        lines(&self.try_take(peer, 0).unwrap().messages)
    }

    /// Takes so many bytes of a peer's mail, unless that is refused.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn try_take(&mut self, peer: &TestPeer, max_bytes: u64) -> Result<Taken, ApiError> {
        let identity = peer.identity();
        self.write(move |tx| {
            let caller = identity.authenticate(tx)?;
            mailbox::take(tx, &caller, &caller.receiver(), &Take { max_bytes })
        })
    }

    /// Takes a peer's mail with an idempotency key.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn take_once(&mut self, peer: &TestPeer, key: &str) -> Result<Taken, ApiError> {
        let (identity, key) = (peer.identity(), IdempotencyKey::new(key, &[b"take"]));
        self.write(move |tx| {
            let caller = identity.authenticate(tx)?;
            let receiver = caller.receiver();
            run_once(tx, &receiver, Some(&key), |tx| {
                mailbox::take(tx, &caller, &receiver, &Take { max_bytes: 0 })
            })
        })
    }

    /// Confirms messages of a peer. Returns how many were its own and not read yet.
    pub fn confirm(&mut self, peer: &TestPeer, ids: &[MessageId]) -> u64 {
        self.try_confirm(peer, ids).unwrap()
    }

    /// The same, unless that is refused.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn try_confirm(&mut self, peer: &TestPeer, ids: &[MessageId]) -> Result<u64, ApiError> {
        let (identity, ids) = (peer.identity(), ids.to_vec());
        self.write(move |tx| {
            let caller = identity.authenticate(tx)?;
            Ok(mailbox::confirm(tx, &caller, &Confirm { ids })?.noted)
        })
    }

    /// Reports pushes as written. Returns how many were not reported before.
    pub fn written(&mut self, peer: &TestPeer, ids: &[MessageId]) -> u64 {
        self.try_written(peer, ids).unwrap()
    }

    /// The same, unless that is refused.
    ///
    /// # Errors
    ///
    /// What the broker refuses.
    pub fn try_written(&mut self, peer: &TestPeer, ids: &[MessageId]) -> Result<u64, ApiError> {
        let (identity, ids) = (peer.identity(), ids.to_vec());
        self.write(move |tx| {
            let (caller, instance) = identity.authenticate_session(tx)?;
            Ok(mailbox::pushes_written(tx, &caller, &instance, &Written { ids })?.noted)
        })
    }
}
