//! Pushes, and bells to ring, that wait for their transaction's commit; and what is undone without it.

use crate::broker::live::LiveState;
use crate::protocol::mailbox::Delivery;
use crate::protocol::peers::Peer;
use crate::protocol::stream::Event;
use crate::protocol::{InstanceId, MessageId, PeerId};

struct Push {
    instance: InstanceId,
    /// The stream that it was decided for. A newer one of the instance starts from the database.
    generation: u64,
    seq: i64,
    delivery: Delivery,
}

/// A stream that has become another peer's.
struct Move {
    instance: InstanceId,
    from: PeerId,
    to: Peer,
}

/// What was decided in this transaction, in order.
#[derive(Default)]
pub struct Effects {
    moves: Vec<Move>,
    pushes: Vec<Push>,
    rings: Vec<PeerId>,
    /// Messages whose sender is expected to wait for the answer.
    questions: Vec<MessageId>,
    mark: Mark,
}

/// How far it went before the request that is under way.
#[derive(Default)]
struct Mark {
    moves: usize,
    pushes: usize,
    rings: usize,
    questions: usize,
}

impl Effects {
    pub fn mark(&mut self) {
        self.mark = Mark {
            moves: self.moves.len(),
            pushes: self.pushes.len(),
            rings: self.rings.len(),
            questions: self.questions.len(),
        };
    }

    /// Takes back what was decided since the mark.
    pub fn rollback(&mut self, live: &LiveState) {
        self.rings.truncate(self.mark.rings);
        for question in self.questions.drain(self.mark.questions..) {
            live.waiters.stop_expecting(&question);
        }
        let mut inner = live.presence.lock();
        for push in self.pushes.drain(self.mark.pushes..) {
            // The decision may have said "nothing more waits", which is not so any more.
            if let Some(stream) = inner.stream_mut(&push.instance) {
                stream.has_more = true;
            }
        }
        for undone in self.moves.drain(self.mark.moves..).rev() {
            inner.reattach(&undone.instance, &undone.from);
        }
    }

    /// Takes back all: the transaction is lost.
    pub fn clear(&mut self, live: &LiveState) {
        self.mark = Mark::default();
        self.rollback(live);
    }

    pub fn push(&mut self, instance: InstanceId, generation: u64, seq: i64, delivery: Delivery) {
        self.pushes.push(Push { instance, generation, seq, delivery });
    }

    /// The stream of `instance` was given from one peer to another: its server is told, before it
    /// is pushed anything of the other's.
    pub fn attached(&mut self, instance: InstanceId, from: PeerId, to: Peer) {
        self.moves.push(Move { instance, from, to });
    }

    /// There may be mail for `peer`.
    pub fn notify(&mut self, peer: PeerId) {
        self.rings.push(peer);
    }

    /// The sender of this message is expected to wait for the answer, if it is stored at all.
    pub fn expect_waiter(&mut self, question: MessageId) {
        self.questions.push(question);
    }

    /// What waits for this stream.
    pub fn pending(&self, instance: &InstanceId, generation: u64) -> impl Iterator<Item = i64> {
        let mine = move |p: &&Push| p.instance == *instance && p.generation == generation;
        self.pushes.iter().filter(mine).map(|push| push.seq)
    }

    /// The transaction is durable: off they go.
    pub fn deliver(&mut self, live: &LiveState) {
        self.mark = Mark::default();
        self.questions.clear();
        for peer in self.rings.drain(..) {
            live.signals.notify(&peer);
        }
        if self.pushes.is_empty() && self.moves.is_empty() {
            return;
        }
        let mut inner = live.presence.lock();
        for Move { instance, to, .. } in self.moves.drain(..) {
            if let Some(stream) = inner.stream(&instance) {
                stream.send(Event::Ready { peer: Box::new(to) });
            }
        }
        for push in self.pushes.drain(..) {
            if let Some(stream) = inner.stream_mut(&push.instance)
                && stream.generation == push.generation
            {
                stream.in_flight.insert(push.seq);
                stream.cursor = stream.cursor.max(push.seq);
                stream.send(Event::Message { delivery: Box::new(push.delivery) });
            }
        }
    }
}
