//! Pushes that wait for their transaction's commit.

use crate::broker::presence::Presence;
use crate::protocol::InstanceId;
use crate::protocol::mailbox::Delivery;
use crate::protocol::stream::Event;

struct Push {
    instance: InstanceId,
    /// The stream that it was decided for. A newer one of the instance starts from the database.
    generation: u64,
    seq: i64,
    delivery: Delivery,
}

/// Pushes decided in this transaction, in order.
#[derive(Default)]
pub struct Outbox {
    pushes: Vec<Push>,
    mark: usize,
}

impl Outbox {
    pub fn mark(&mut self) {
        self.mark = self.pushes.len();
    }

    /// Takes back what was decided since the mark.
    pub fn rollback(&mut self, presence: &Presence) {
        let mut inner = presence.lock();
        for push in self.pushes.drain(self.mark..) {
            // The decision may have said "nothing more waits", which is not so any more.
            if let Some(stream) = inner.stream_mut(&push.instance) {
                stream.behind = true;
            }
        }
    }

    /// Takes back all: the transaction is lost.
    pub fn clear(&mut self, presence: &Presence) {
        self.mark = 0;
        self.rollback(presence);
    }

    pub fn push(&mut self, instance: InstanceId, generation: u64, seq: i64, delivery: Delivery) {
        self.pushes.push(Push { instance, generation, seq, delivery });
    }

    /// What waits for this stream.
    pub fn pending(&self, instance: &InstanceId, generation: u64) -> impl Iterator<Item = i64> {
        let mine = move |p: &&Push| p.instance == *instance && p.generation == generation;
        self.pushes.iter().filter(mine).map(|push| push.seq)
    }

    /// The transaction is durable: off they go.
    pub fn deliver(&mut self, presence: &Presence) {
        if self.pushes.is_empty() {
            return;
        }
        let mut inner = presence.lock();
        for push in self.pushes.drain(..) {
            if let Some(stream) = inner.stream_mut(&push.instance)
                && stream.generation == push.generation
            {
                stream.in_flight.insert(push.seq);
                stream.cursor = stream.cursor.max(push.seq);
                stream.send(Event::Message { delivery: Box::new(push.delivery) });
            }
        }
        self.mark = 0;
    }
}
