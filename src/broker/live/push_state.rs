//! What is still to be pushed over a stream, and how a change of it is undone.
//!
//! A change is made at once, so that the rest of its transaction sees it, and undone by a rollback.

use std::collections::BTreeSet;

use crate::protocol::peers::Channel;

/// How many pushes of one stream may be without a receipt. It bounds what a client that reads
/// nothing can cost the broker, and with the time until a receipt comes, some 5 ms, how fast a burst
/// can be pushed.
pub(in crate::broker) const PUSH_WINDOW: usize = 256;

/// What is still to be pushed over a stream.
#[derive(Debug, Clone)]
pub struct PushState {
    pub channel: Channel,
    /// Sequence numbers of the pushes without a receipt.
    pub in_flight: BTreeSet<i64>,
    /// All messages up to this one have been considered for this stream.
    pub cursor: i64,
    /// Whether the database may hold more messages beyond the cursor.
    pub has_more: bool,
}

/// A change of what is still to be pushed over a stream.
#[derive(Debug, Clone, Copy)]
pub enum PushChange {
    /// The message with this sequence number is pushed.
    Pushed(i64),
    /// The receipt for this message has come.
    Written(i64),
    /// There was evidence of a push. The stream may have become the one that is pushed to.
    Proven,
    /// Messages before the cursor may be pushed now.
    Rescan,
    /// Whether the database may hold more messages beyond the cursor.
    HasMore(bool),
    /// The stream was attached to another peer: pushes to the former one count no more.
    Attached,
}

/// What undoes a [`PushChange`].
#[derive(Debug)]
pub enum PushUndo {
    /// The message is not pushed after all, and this was the cursor.
    NotPushed {
        seq: i64,
        cursor: i64,
    },
    /// This message still has no receipt.
    NotWritten(i64),
    HasMore(bool),
    /// The whole state as it was.
    Before(PushState),
}

impl PushState {
    pub(super) const fn new(channel: Channel) -> Self {
        Self { channel, in_flight: BTreeSet::new(), cursor: 0, has_more: true }
    }

    /// Returns how many more messages may be pushed before a receipt comes.
    #[must_use]
    pub fn free_window(&self) -> usize {
        PUSH_WINDOW.saturating_sub(self.in_flight.len())
    }

    /// Makes a change. Returns what undoes it; `None` if it has changed nothing.
    pub fn apply(&mut self, change: PushChange) -> Option<PushUndo> {
        match change {
            PushChange::Pushed(seq) => {
                // What is in flight is not pushed again.
                let new = self.in_flight.insert(seq);
                let cursor = self.cursor;
                self.cursor = cursor.max(seq);
                new.then_some(PushUndo::NotPushed { seq, cursor })
            }
            PushChange::Written(seq) => {
                self.in_flight.remove(&seq).then_some(PushUndo::NotWritten(seq))
            }
            PushChange::HasMore(has_more) => {
                let before = std::mem::replace(&mut self.has_more, has_more);
                (before != has_more).then_some(PushUndo::HasMore(before))
            }
            PushChange::Proven | PushChange::Rescan | PushChange::Attached => {
                let before = self.clone();
                match change {
                    PushChange::Proven => self.channel = Channel::Proven,
                    PushChange::Attached => self.in_flight.clear(),
                    _ => {}
                }
                (self.has_more, self.cursor) = (true, 0);
                Some(PushUndo::Before(before))
            }
        }
    }

    /// Undoes the last change that was not undone yet.
    pub fn undo(&mut self, undo: PushUndo) {
        match undo {
            PushUndo::NotPushed { seq, cursor } => {
                self.in_flight.remove(&seq);
                self.cursor = cursor;
            }
            PushUndo::NotWritten(seq) => {
                self.in_flight.insert(seq);
            }
            PushUndo::HasMore(has_more) => self.has_more = has_more,
            PushUndo::Before(state) => *self = state,
        }
    }
}
