//! What this session was shown of its mail: by pushes, and by results of tools.
//!
//! The broker hears of both later, or never. So the server goes by its own knowledge: a result marks
//! what was pushed before it, and nothing is pushed behind a result that showed it. Whichever of the two
//! gets its place in the output first decides.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::protocol::MessageId;
use crate::protocol::mailbox::Delivery;

/// The number of pushes, and of messages that tools showed, that are remembered: some push windows. The
/// broker has the receipts of what is older, and offers nothing of it to this instance again.
const REMEMBERED: usize = 2_048;

/// The messages that this session was shown. Clones share them.
#[derive(Clone, Default)]
pub struct KnownMessages(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    pushed: Recent,
    shown: Recent,
}

/// The ids that came last.
#[derive(Default)]
struct Recent {
    ids: HashSet<MessageId>,
    order: VecDeque<MessageId>,
}

impl Recent {
    fn add(&mut self, id: &MessageId) {
        if !self.ids.insert(id.clone()) {
            return;
        }
        self.order.push_back(id.clone());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

impl KnownMessages {
    /// Records that a push of this message gets its place in the output now. Returns false if it must
    /// get none, because it was pushed or a tool has shown the message.
    pub fn begin_push(&self, id: &MessageId) -> bool {
        let mut known = self.lock();
        let is_new = !known.pushed.ids.contains(id) && !known.shown.ids.contains(id);
        if is_new {
            known.pushed.add(id);
        }
        is_new
    }

    /// Marks those of the messages that were pushed into this session.
    pub fn mark_pushed<'a>(&self, messages: impl IntoIterator<Item = &'a mut Delivery>) {
        let known = self.lock();
        for message in messages {
            message.already_pushed |= known.pushed.ids.contains(&message.id);
        }
    }

    /// Records that a tool's result shows these messages, whole or in part. They are not pushed behind
    /// it.
    pub fn note_shown<'a>(&self, ids: impl IntoIterator<Item = &'a MessageId>) {
        let mut known = self.lock();
        ids.into_iter().for_each(|id| known.shown.add(id));
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> MessageId {
        MessageId::from_text(format!("m{number}"))
    }

    #[test]
    fn what_a_tool_showed_gets_no_place_behind_it_and_what_was_pushed_none_twice() {
        let known = KnownMessages::default();
        known.note_shown([&id(1)]);
        assert!(!known.begin_push(&id(1)));
        assert!(known.begin_push(&id(2)) && !known.begin_push(&id(2)));
    }

    #[test]
    fn as_much_is_remembered_as_a_session_has_unread_at_once() {
        let known = KnownMessages::default();
        for number in 0..1_000 {
            assert!(known.begin_push(&id(number)));
            known.note_shown([&id(1_000_000 + number)]);
        }
        for number in 0..1_000 {
            assert!(!known.begin_push(&id(number)) && !known.begin_push(&id(1_000_000 + number)));
        }
    }

    #[test]
    fn what_is_remembered_has_a_bound_and_is_the_newest() {
        let known = KnownMessages::default();
        for number in 0..3 * REMEMBERED {
            assert!(known.begin_push(&id(number)));
            known.note_shown([&id(number)]);
            known.note_shown([&id(number)]);
        }
        let state = known.lock();
        for recent in [&state.pushed, &state.shown] {
            assert_eq!((recent.ids.len(), recent.order.len()), (REMEMBERED, REMEMBERED));
            assert!(recent.ids.contains(&id(2 * REMEMBERED)));
        }
    }
}
